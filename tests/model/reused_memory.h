// ReusedMemory: RealMemory whose mappings are kept for the next pool, and nothing is locked. Both are
// most of the cost of opening one.

#ifndef TESTS_MODEL_REUSED_MEMORY_H_
#define TESTS_MODEL_REUSED_MEMORY_H_

#include <cstdlib>
#include <cstring>
#include <vector>

#include "os/forwarding_memory.h"
#include "os/memory.h"

namespace test_model {

class ReusedMemory final : public os::ForwardingMemory {
 public:
  ReusedMemory() : ForwardingMemory(os::RealMemory()) {}
  ~ReusedMemory() override {
    for (const Kept& kept : kept_) (void)memory().Unmap(kept.pages);
  }
  os::Result<os::PageRange> Map(os::PageCount count, Access access, Fork fork,
                                os::PageCount alignment) override {
    for (Kept& kept : kept_) {
      if (kept.used || kept.pages.count() != count || kept.access != access) continue;
      kept.used = true;
      for (const os::PageRange& dirty : kept.committed) {
        std::memset(dirty.address(page_size()), 0, dirty.bytes(page_size()));
      }
      return kept.pages;
    }
    const os::Result<os::PageRange> mapped = memory().Map(count, access, fork, alignment);
    if (!mapped.ok()) return mapped.error();
    kept_.push_back({*mapped, access, true, {}});
    if (access == Access::kReadWrite) kept_.back().committed.push_back(*mapped);
    return mapped;
  }
  os::Errno Commit(os::PageRange pages) override {
    Kept& kept = Holding(pages);
    for (const os::PageRange& committed : kept.committed) {
      if (committed.Intersection(pages) == pages) return os::kSuccess;
    }
    kept.committed.push_back(pages);
    return memory().Commit(pages);
  }
  os::Errno Decommit(os::PageRange) override { return os::kSuccess; }
  os::Errno Unmap(os::PageRange pages) override {
    if (!pages.empty()) Holding(pages).used = false;
    return os::kSuccess;
  }
  os::Errno Lock(os::PageRange) override { return os::kSuccess; }
  os::Errno Unlock(os::PageRange) override { return os::kSuccess; }

 private:
  struct Kept {
    os::PageRange pages;
    Access access;
    bool used;
    std::vector<os::PageRange> committed;
  };
  Kept& Holding(os::PageRange pages) {
    for (Kept& kept : kept_) {
      if (kept.pages.contains(pages.begin())) return kept;
    }
    std::abort();
  }

  std::vector<Kept> kept_;
};

}  // namespace test_model

#endif  // TESTS_MODEL_REUSED_MEMORY_H_
