// A test of a program that locks memory: that its memory is resident and locked, that using it
// takes neither a page fault nor a system call, and that it copes where locks are refused.
//
// With GoogleTest and @mpool//pinlock:testing: see docs/testing-residency.md.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pinlock/page_lock.h"
#include "pinlock/testing.h"

using pinlock::testing::FakeLockLimit;
using pinlock::testing::IsLocked;
using pinlock::testing::IsResident;

// What is tested: a table of squares that is locked as long as it lives, or else is not fast.
class Squares {
 public:
  explicit Squares(size_t count) : values_(count) {
    for (size_t i = 0; i < count; ++i) values_[i] = uint64_t{i} * i;
    auto* bytes = reinterpret_cast<std::byte*>(values_.data());
    lock_ = pinlock::LockPages(absl::MakeSpan(bytes, count * sizeof(uint64_t)));
  }
  uint64_t Of(size_t i) const { return values_[i]; }
  bool fast() const { return lock_.ok(); }
  const std::vector<uint64_t>& values() const { return values_; }

 private:
  std::vector<uint64_t> values_;
  absl::StatusOr<pinlock::PageLock> lock_;  // ends before the memory does
};

TEST(Squares, AreResidentAndLocked) {
  const Squares squares(100'000);
  ASSERT_TRUE(squares.fast());
  EXPECT_THAT(squares.values(), IsResident());
  EXPECT_THAT(squares.values(), IsLocked());
}

TEST(Squares, AreLookedUpWithoutFaultsAndSystemCalls) {
  const Squares squares(100'000);
  uint64_t sum = 0;
  const auto look_up = [&] {
    for (size_t i = 0; i < 100'000; i += 100) sum += squares.Of(i);
  };
  look_up();  // once before, for the code itself
  EXPECT_NO_PAGE_FAULTS(look_up());
  EXPECT_NO_SYSCALLS(look_up());
  EXPECT_GT(sum, 0u);
}

TEST(Squares, WorkWhereLocksAreRefused) {
  const FakeLockLimit limit(64 * 1024);  // bytes
  EXPECT_TRUE(Squares(1'000).fast());
  const Squares squares(100'000);
  EXPECT_FALSE(squares.fast());
  EXPECT_EQ(squares.Of(5), 25u);
}
