// TestBlocks: memory for a LockTable under test, which can run out at a chosen call.

#ifndef TESTS_SUPPORT_TEST_BLOCKS_H_
#define TESTS_SUPPORT_TEST_BLOCKS_H_

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "pinlock/internal/lock_table.h"

namespace test_support {

// Freed blocks are overwritten, so that a use after free shows. All go at the end. Not thread-safe.
class TestBlocks final : public pinlock::internal::BlockSource {
 public:
  static constexpr uint64_t kNever = 0;

  void* Allocate(size_t bytes) override {
    if (++allocations_ == fail_at_) return nullptr;
    std::vector<void*>& unused = bytes == kNodeBytes ? unused_nodes_ : unused_counts_;
    if (unused.empty()) {
      owned_.emplace_back(std::aligned_alloc(64, bytes));
      unused.push_back(std::memset(owned_.back().get(), 0, bytes));
    }
    void* block = unused.back();
    unused.pop_back();
    ++(bytes == kNodeBytes ? nodes_ : counts_);
    return bytes == kNodeBytes ? std::memset(block, 0, bytes) : block;
  }

  void Free(void* block, size_t bytes) override {
    --(bytes == kNodeBytes ? nodes_ : counts_);
    if (bytes == kNodeBytes) {
      std::memset(block, 0xa5, bytes);
    } else {
      auto* counts = static_cast<pinlock::internal::LeafCounts*>(block);  // the latch stays
      std::memset(counts->states, 0xa5, sizeof(counts->states));
    }
    (bytes == kNodeBytes ? unused_nodes_ : unused_counts_).push_back(block);
  }

  // From now on the nth allocation fails (1 is the next), and only that one.
  void FailAt(uint64_t nth) { fail_at_ = nth == kNever ? kNever : allocations_ + nth; }
  // Whether it has come to that.
  bool failed() const { return fail_at_ != kNever && allocations_ >= fail_at_; }

  // Blocks in use.
  uint64_t nodes() const { return nodes_; }
  uint64_t counts() const { return counts_; }

 private:
  struct Deleter {
    void operator()(void* block) const { std::free(block); }
  };

  std::vector<std::unique_ptr<void, Deleter>> owned_;
  std::vector<void*> unused_nodes_;
  std::vector<void*> unused_counts_;
  uint64_t allocations_ = 0;
  uint64_t fail_at_ = kNever;
  uint64_t nodes_ = 0;
  uint64_t counts_ = 0;
};

}  // namespace test_support

#endif  // TESTS_SUPPORT_TEST_BLOCKS_H_
