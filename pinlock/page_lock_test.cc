#include "pinlock/page_lock.h"

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "pinlock/mpin.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/test_mapping.h"

namespace pinlock {
namespace {

using test_support::KernelEvidence;
using test_support::PageSize;
using test_support::TestMapping;

static_assert(std::is_nothrow_move_constructible_v<PageLock>);
static_assert(std::is_nothrow_move_assignable_v<PageLock>);
static_assert(!std::is_copy_constructible_v<PageLock>);
static_assert(!std::is_copy_assignable_v<PageLock>);

absl::Span<std::byte> Bytes(const TestMapping& mapping, size_t first, size_t count) {
  return absl::MakeSpan(mapping.page(first), count * PageSize());
}

uint64_t CountAt(const TestMapping& mapping, size_t page) {
  mpin_info info;
  EXPECT_EQ(mpin_query(mapping.page(page), 1, &info), 0);
  return info.count_max;
}

PageLock MustLock(absl::Span<std::byte> bytes) {
  absl::StatusOr<PageLock> lock = LockPages(bytes);
  EXPECT_TRUE(lock.ok()) << lock.status();
  return lock.ok() ? *std::move(lock) : PageLock();
}

TEST(LockPages, LocksUntilTheEndOfTheScope) {
  TestMapping mapping(4);
  const KernelEvidence before = KernelEvidence::Of(mapping.all());
  {
    const PageLock lock = MustLock(Bytes(mapping, 1, 2));
    EXPECT_EQ(lock.bytes().data(), mapping.page(1));
    EXPECT_EQ(lock.bytes().size(), 2 * PageSize());
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.range(1, 2)));
    EXPECT_TRUE(test_support::AllResident(mapping.range(1, 2)));
  }
  EXPECT_EQ(KernelEvidence::Of(mapping.all()), before);
  EXPECT_EQ(CountAt(mapping, 1), 0u);
}

TEST(LockPages, AnEmptySpanHoldsNothing) {
  const PageLock lock = MustLock({});
  EXPECT_TRUE(lock.bytes().empty());
}

TEST(LockPages, TwoLocksOverOnePageAreIndependent) {
  TestMapping mapping(3);
  PageLock first = MustLock(Bytes(mapping, 0, 2));
  PageLock second = MustLock(Bytes(mapping, 1, 2));
  EXPECT_EQ(CountAt(mapping, 1), 2u);
  first.Release();
  EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.range(1, 2)));
  second.Release();
  EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks({}));
}

TEST(LockPages, SharesTheCountersOfMpin) {
  TestMapping mapping(1);
  ASSERT_EQ(mpin(mapping.page(0), PageSize()), 0);
  { const PageLock lock = MustLock(Bytes(mapping, 0, 1)); }
  EXPECT_EQ(CountAt(mapping, 0), 1u);
  EXPECT_EQ(munpin(mapping.page(0), PageSize()), 0);
}

TEST(LockPages, ABadRangeIsInvalidArgumentWithTheTextOfMpinError) {
  TestMapping mapping(3);
  mapping.Unmap(1, 1);
  const absl::StatusOr<PageLock> lock = LockPages(Bytes(mapping, 0, 3));
  EXPECT_EQ(lock.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(lock.status().message()).find("is not mapped"), std::string::npos)
      << lock.status();
  EXPECT_NE(std::string(lock.status().message()).find(mpin_error()), std::string::npos);
  EXPECT_EQ(CountAt(mapping, 0), 0u);
}

TEST(LockPages, OverTheLimitIsResourceExhausted) {
  test_support::RunInChild(test_support::Limited(2 * PageSize()), [] {
    TestMapping mapping(3);
    const absl::StatusOr<PageLock> lock = LockPages(Bytes(mapping, 0, 3));
    EXPECT_EQ(lock.status().code(), absl::StatusCode::kResourceExhausted) << lock.status();
    EXPECT_NE(std::string(lock.status().message()).find("RLIMIT_MEMLOCK"), std::string::npos)
        << lock.status();
    EXPECT_TRUE(LockPages(Bytes(mapping, 0, 2)).ok());
  });
}

TEST(LockPages, AFullCounterIsUnavailable) {
  TestMapping mapping(1);
  int pins = 0;
  while (mpin(mapping.page(0), 1) == 0) ++pins;
  EXPECT_EQ(pins, 32767);
  EXPECT_EQ(LockPages(Bytes(mapping, 0, 1)).status().code(), absl::StatusCode::kUnavailable);
  for (; pins > 0; --pins) ASSERT_EQ(munpin(mapping.page(0), 1), 0);
}

TEST(PageLock, HoldsNothingByDefault) {
  PageLock lock;
  EXPECT_TRUE(lock.bytes().empty());
  lock.Release();
}

TEST(PageLock, ReleasesOnce) {
  TestMapping mapping(1);
  ASSERT_EQ(mpin(mapping.page(0), 1), 0);
  {
    PageLock lock = MustLock(Bytes(mapping, 0, 1));
    lock.Release();
    EXPECT_TRUE(lock.bytes().empty());
    lock.Release();
  }
  EXPECT_EQ(CountAt(mapping, 0), 1u);
  EXPECT_EQ(munpin(mapping.page(0), 1), 0);
}

TEST(PageLock, MovingHandsTheLockOver) {
  TestMapping mapping(1);
  PageLock from = MustLock(Bytes(mapping, 0, 1));
  {
    const PageLock to = std::move(from);
    EXPECT_TRUE(from.bytes().empty());  // NOLINT(bugprone-use-after-move): that is what is tested
    EXPECT_EQ(to.bytes().size(), PageSize());
    EXPECT_EQ(CountAt(mapping, 0), 1u);
  }
  EXPECT_EQ(CountAt(mapping, 0), 0u);
}

TEST(PageLock, MoveAssignmentReleasesWhatWasHeld) {
  TestMapping mapping(2);
  PageLock lock = MustLock(Bytes(mapping, 0, 1));
  lock = MustLock(Bytes(mapping, 1, 1));
  EXPECT_EQ(CountAt(mapping, 0), 0u);
  EXPECT_EQ(CountAt(mapping, 1), 1u);
  lock = PageLock();
  EXPECT_EQ(CountAt(mapping, 1), 0u);
}

TEST(PageLock, SelfMoveChangesNothing) {
  TestMapping mapping(1);
  PageLock lock = MustLock(Bytes(mapping, 0, 1));
  PageLock& same = lock;
  lock = std::move(same);
  EXPECT_EQ(lock.bytes().size(), PageSize());
  EXPECT_EQ(CountAt(mapping, 0), 1u);
}

TEST(PageLock, OutlivesItsMemoryWithoutHarm) {
  TestMapping mapping(2);
  const PageLock other = MustLock(Bytes(mapping, 1, 1));
  {
    const PageLock lock = MustLock(Bytes(mapping, 0, 2));
    mapping.Unmap(0, 1);
  }
  EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.range(1, 1)));
  // All or nothing: the counts of both pages are still there.
  mapping.MapAgain(0, 1);
  EXPECT_EQ(munpin(mapping.page(0), 2 * PageSize()), 0);
}

TEST(PageLock, InheritedByAChildDoesNothingThere) {
  TestMapping mapping(1);
  PageLock lock = MustLock(Bytes(mapping, 0, 1));
  test_support::RunInChild([&] {
    EXPECT_EQ(lock.bytes().size(), PageSize());
    const PageLock own = MustLock(Bytes(mapping, 0, 1));
    lock.Release();
    EXPECT_TRUE(lock.bytes().empty());
    EXPECT_EQ(CountAt(mapping, 0), 1u) << "the child's own";
  });
  EXPECT_EQ(CountAt(mapping, 0), 1u);
}

}  // namespace
}  // namespace pinlock
