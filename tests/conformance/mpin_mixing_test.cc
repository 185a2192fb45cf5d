// pinlock(7), sentence by sentence: what becomes of pinned pages where somebody calls mlock(2),
// munlock(2), mlock2(2), mlockall(2) or munlockall(2) besides, or pages out what lies beside them.
// Witness is the kernel.
//
// The system calls are made directly: under the sanitizers the C library's functions do nothing.

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <iostream>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "os/errno.h"
#include "os/page_range.h"
#include "pinlock/mpin.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/sanitizer.h"
#include "tests/support/test_file.h"
#include "tests/support/test_mapping.h"

namespace {

using test_support::AllResident;
using test_support::KernelEvidence;
using test_support::Limited;
using test_support::PageSize;
using test_support::RunInChild;
using test_support::TestMapping;

int Pin(const TestMapping& mapping, size_t first, size_t count) {
  return mpin(mapping.page(first), count * PageSize());
}

int Unpin(const TestMapping& mapping, size_t first, size_t count) {
  return munpin(mapping.page(first), count * PageSize());
}

int Refresh(const TestMapping& mapping, size_t first, size_t count) {
  return mpin_refresh(mapping.page(first), count * PageSize());
}

void Mlock(const TestMapping& mapping, size_t first, size_t count) {
  ASSERT_EQ(test_support::RawMlock(mapping.page(first), count * PageSize()), os::kSuccess);
}

void Munlock(const TestMapping& mapping, size_t first, size_t count) {
  ASSERT_EQ(test_support::RawMunlock(mapping.page(first), count * PageSize()), os::kSuccess);
}

void MlockOnFault(const TestMapping& mapping, size_t first, size_t count) {
  ASSERT_EQ(syscall(SYS_mlock2, mapping.page(first), count * PageSize(), MLOCK_ONFAULT), 0);
}

// The counter of every page of the range, which is the same.
uint64_t Count(const TestMapping& mapping, size_t first, size_t count) {
  mpin_info info{};
  EXPECT_EQ(mpin_query(mapping.page(first), count * PageSize(), &info), 0) << mpin_error();
  EXPECT_EQ(info.count_min, info.count_max);
  return info.count_max;
}

bool Locks(const TestMapping& mapping, size_t first, size_t count) {
  return KernelEvidence::Of(mapping.all()).Locks(mapping.range(first, count));
}

// --- pages of files -----------------------------------------------------------------------------

// Where the page cache holds several pages as one large folio, paging out those that are not locked
// splits it, and that unmaps the locked ones with them: ext4 since Linux 6.16, XFS and others before.
// Whether it does here is the kernel's affair; what mpin_refresh() promises is not.
TEST(PagesOfAFile, ThatGoWithUnlockedNeighboursAreMadeGoodByMpinRefresh) {
  constexpr size_t kPages = 64;
  constexpr size_t kPinned = 21;
  const test_support::TestFile file(test_support::Filled("data", kPages * PageSize()));
  ASSERT_EQ(fsync(file.fd()), 0);
  const TestMapping mapping(kPages);
  ASSERT_EQ(
      mmap(mapping.page(0), kPages * PageSize(), PROT_READ, MAP_PRIVATE | MAP_FIXED, file.fd(), 0),
      mapping.page(0));
  ASSERT_EQ(Pin(mapping, 0, kPinned), 0) << mpin_error();
  ASSERT_TRUE(AllResident(mapping.range(0, kPinned)));
  for (size_t page = kPinned; page < kPages; ++page) {
    // Reading makes it resident, so that there is something to page out.
    ASSERT_EQ(std::string_view(reinterpret_cast<const char*>(mapping.page(page)), 4), "data");
  }
  for (size_t page = kPinned; page < kPages; ++page) {
    ASSERT_EQ(madvise(mapping.page(page), PageSize(), MADV_PAGEOUT), 0);
  }
  std::cout << "the kernel has " << (AllResident(mapping.range(0, kPinned)) ? "kept" : "unmapped")
            << " the locked pages" << std::endl;
  EXPECT_TRUE(Locks(mapping, 0, kPinned));

  ASSERT_EQ(Refresh(mapping, 0, kPinned), 0) << mpin_error();
  EXPECT_TRUE(AllResident(mapping.range(0, kPinned)));
  EXPECT_TRUE(Locks(mapping, 0, kPinned));
  EXPECT_EQ(Count(mapping, 0, kPinned), 1u);
  ASSERT_EQ(Unpin(mapping, 0, kPinned), 0);
  EXPECT_TRUE(Locks(mapping, 0, 0));
}

// --- munlock ------------------------------------------------------------------------------------

TEST(MunlockElsewhere, DropsTheLockOfAPinnedPage) {
  const TestMapping mapping(4);
  ASSERT_EQ(Pin(mapping, 0, 4), 0);
  Munlock(mapping, 2, 2);
  EXPECT_TRUE(Locks(mapping, 0, 2));
  ASSERT_EQ(Unpin(mapping, 0, 4), 0);
}

TEST(MunlockElsewhere, LeavesTheCounters) {
  const TestMapping mapping(4);
  ASSERT_EQ(Pin(mapping, 0, 4), 0);
  ASSERT_EQ(Pin(mapping, 0, 4), 0);
  Munlock(mapping, 0, 4);
  EXPECT_EQ(Count(mapping, 0, 4), 2u);
  ASSERT_EQ(Unpin(mapping, 0, 4), 0);
  EXPECT_EQ(Count(mapping, 0, 4), 1u);
  ASSERT_EQ(Unpin(mapping, 0, 4), 0);
}

TEST(MunlockElsewhere, IsNotMadeGoodByANestedPin) {
  const TestMapping mapping(2);
  ASSERT_EQ(Pin(mapping, 0, 2), 0);
  Munlock(mapping, 0, 2);
  ASSERT_EQ(Pin(mapping, 0, 2), 0);
  EXPECT_TRUE(Locks(mapping, 0, 0));
  EXPECT_EQ(Count(mapping, 0, 2), 2u);
  ASSERT_EQ(Unpin(mapping, 0, 2), 0);
  ASSERT_EQ(Unpin(mapping, 0, 2), 0);
}

TEST(MunlockElsewhere, IsMadeGoodByMpinRefreshWithoutCounting) {
  const TestMapping mapping(4);
  ASSERT_EQ(Pin(mapping, 1, 2), 0);
  Munlock(mapping, 0, 4);
  ASSERT_EQ(madvise(mapping.page(1), PageSize(), MADV_DONTNEED), 0);  // it is gone
  ASSERT_FALSE(AllResident(mapping.range(1, 1)));
  ASSERT_EQ(Refresh(mapping, 1, 2), 0) << mpin_error();
  EXPECT_TRUE(Locks(mapping, 1, 2));
  EXPECT_TRUE(AllResident(mapping.range(1, 2)));
  EXPECT_EQ(Count(mapping, 1, 2), 1u);
  ASSERT_EQ(Unpin(mapping, 1, 2), 0);
  EXPECT_TRUE(Locks(mapping, 0, 0));
}

TEST(MunlockElsewhere, IsNoObstacleToTheLastMunpinNorToTheNextMpin) {
  const TestMapping mapping(3);
  ASSERT_EQ(Pin(mapping, 0, 3), 0);
  Munlock(mapping, 1, 1);
  ASSERT_EQ(Unpin(mapping, 0, 3), 0) << mpin_error();
  EXPECT_TRUE(Locks(mapping, 0, 0));
  EXPECT_EQ(Count(mapping, 0, 3), 0u);
  ASSERT_EQ(Pin(mapping, 0, 3), 0) << mpin_error();
  EXPECT_TRUE(Locks(mapping, 0, 3));
  ASSERT_EQ(Unpin(mapping, 0, 3), 0);
}

// --- mlock --------------------------------------------------------------------------------------

TEST(MlockBefore, MpinOfItsPagesCountsAndKeepsThemLockedAndChargedOnce) {
  const TestMapping mapping(4);
  Mlock(mapping, 0, 4);
  const KernelEvidence before = KernelEvidence::Of(mapping.all());
  ASSERT_EQ(Pin(mapping, 0, 4), 0) << mpin_error();
  EXPECT_EQ(Count(mapping, 0, 4), 1u);
  EXPECT_EQ(KernelEvidence::Of(mapping.all()), before);
  ASSERT_EQ(Unpin(mapping, 0, 4), 0);
}

TEST(MlockBefore, IsUndoneByTheLastMunpinOfThePage) {
  const TestMapping mapping(4);
  Mlock(mapping, 0, 4);
  ASSERT_EQ(Pin(mapping, 2, 2), 0);
  ASSERT_EQ(Pin(mapping, 2, 2), 0);
  ASSERT_EQ(Unpin(mapping, 2, 2), 0);
  EXPECT_TRUE(Locks(mapping, 0, 4)) << "it was not the last";
  ASSERT_EQ(Unpin(mapping, 2, 2), 0);
  EXPECT_TRUE(Locks(mapping, 0, 2)) << "pages that were never pinned stay";
}

TEST(MlockBefore, IsNoPin) {
  const TestMapping mapping(4);
  Mlock(mapping, 0, 4);
  const KernelEvidence before = KernelEvidence::Of(mapping.all());
  EXPECT_EQ(Count(mapping, 0, 4), 0u);
  EXPECT_EQ(Unpin(mapping, 0, 4), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(Refresh(mapping, 0, 4), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(KernelEvidence::Of(mapping.all()), before) << "a failed call leaves mlock's locks";
}

TEST(MlockBefore, CountsTowardsTheLimitOnce) {
  RunInChild(Limited(8 * PageSize()), [] {
    const TestMapping mapping(16);
    Mlock(mapping, 0, 6);
    EXPECT_EQ(Pin(mapping, 6, 3), -1) << "six of eight pages are used";
    EXPECT_EQ(errno, ENOMEM);
    EXPECT_TRUE(Locks(mapping, 0, 6));
    EXPECT_EQ(Pin(mapping, 0, 8), 0) << "the six are not charged again; " << mpin_error();
    EXPECT_TRUE(Locks(mapping, 0, 8));
  });
}

// From 513 pages on the library asks beforehand whether the limit allows them all.
TEST(MlockBefore, CountsTowardsTheLimitOnceInLongRangesToo) {
  constexpr size_t kPages = 1100;  // in several steps
  RunInChild(Limited((kPages + 100) * PageSize()), [] {
    const TestMapping mapping(kPages);
    Mlock(mapping, 0, kPages);
    EXPECT_EQ(Pin(mapping, 0, kPages), 0) << mpin_error();
  });
}

// An mpin that fails cannot tell them from the locks that it has made itself and has to undo.
TEST(MlockBefore, IsUndoneByAnMpinThatFailsInItsRangeOnlyAndNotForPinnedPages) {
  TestMapping mapping(8);
  Mlock(mapping, 0, 2);
  Mlock(mapping, 6, 2);
  ASSERT_EQ(Pin(mapping, 1, 1), 0) << mpin_error();
  mapping.Forbid(4, 1);
  EXPECT_EQ(Pin(mapping, 0, 6), -1);
  EXPECT_EQ(errno, EINVAL);
  const std::vector<os::PageRange> left = {mapping.range(1, 1), mapping.range(6, 2)};
  EXPECT_EQ(KernelEvidence::Of(mapping.all()).locked, left);
  ASSERT_EQ(Unpin(mapping, 1, 1), 0);
}

TEST(MlockOfPinnedPages, ChangesNothing) {
  const TestMapping mapping(4);
  ASSERT_EQ(Pin(mapping, 0, 4), 0);
  const KernelEvidence before = KernelEvidence::Of(mapping.all());
  Mlock(mapping, 0, 4);
  EXPECT_EQ(KernelEvidence::Of(mapping.all()), before);
  EXPECT_EQ(Count(mapping, 0, 4), 1u);
  ASSERT_EQ(Unpin(mapping, 0, 4), 0);
}

TEST(MlockOfPinnedPages, AndItsMunlockDropThePinsLockToo) {
  const TestMapping mapping(2);
  ASSERT_EQ(Pin(mapping, 0, 2), 0);
  Mlock(mapping, 0, 1);
  Munlock(mapping, 0, 1);
  EXPECT_TRUE(Locks(mapping, 1, 1));
  EXPECT_EQ(Count(mapping, 0, 2), 1u);
  ASSERT_EQ(Unpin(mapping, 0, 2), 0);
}

TEST(MlockOfPinnedPages, IsUndoneByTheLastMunpin) {
  const TestMapping mapping(4);
  ASSERT_EQ(Pin(mapping, 1, 1), 0);
  Mlock(mapping, 0, 2);
  ASSERT_EQ(Unpin(mapping, 1, 1), 0);
  EXPECT_TRUE(Locks(mapping, 0, 1));
}

TEST(MlockOfPinnedPages, IsUndoneByMpinForget) {
  const TestMapping mapping(2);
  ASSERT_EQ(Pin(mapping, 0, 2), 0);
  Mlock(mapping, 0, 2);
  ASSERT_EQ(mpin_forget(mapping.page(0), 2 * PageSize()), 0) << mpin_error();
  EXPECT_TRUE(Locks(mapping, 0, 0));
}

// --- mlock2 with MLOCK_ONFAULT ------------------------------------------------------------------

TEST(MlockOnFaultBefore, MpinOfItsPagesMakesThemResident) {
  const TestMapping mapping(4);
  MlockOnFault(mapping, 0, 4);
  ASSERT_TRUE(Locks(mapping, 0, 4));
  ASSERT_FALSE(AllResident(mapping.range(0, 1)));
  ASSERT_EQ(Pin(mapping, 0, 2), 0) << mpin_error();
  EXPECT_TRUE(AllResident(mapping.range(0, 2)));
  EXPECT_FALSE(AllResident(mapping.range(2, 1)));
  EXPECT_TRUE(Locks(mapping, 0, 4));
  ASSERT_EQ(Unpin(mapping, 0, 2), 0);
  EXPECT_TRUE(Locks(mapping, 2, 2)) << "the last munpin undid it";
}

TEST(MlockOnFaultOfPinnedPages, LeavesThemLockedAndResident) {
  const TestMapping mapping(4);
  ASSERT_EQ(Pin(mapping, 0, 4), 0);
  MlockOnFault(mapping, 0, 4);
  EXPECT_TRUE(Locks(mapping, 0, 4));
  EXPECT_TRUE(AllResident(mapping.all()));
  EXPECT_EQ(Count(mapping, 0, 4), 1u);
  ASSERT_EQ(Unpin(mapping, 0, 4), 0);
  EXPECT_TRUE(Locks(mapping, 0, 0));
}

// --- munlockall ---------------------------------------------------------------------------------

TEST(Munlockall, DropsTheLocksOfAllPinnedPagesAndLeavesTheCounters) {
  RunInChild([] {
    const TestMapping mapping(4), other(2);
    ASSERT_EQ(Pin(mapping, 0, 4), 0);
    ASSERT_EQ(Pin(other, 1, 1), 0);
    ASSERT_EQ(syscall(SYS_munlockall), 0);
    EXPECT_EQ(test_support::LockedBytes(), 0u);
    EXPECT_TRUE(Locks(mapping, 0, 0));
    EXPECT_TRUE(Locks(other, 0, 0));
    EXPECT_EQ(Count(mapping, 0, 4), 1u);
    EXPECT_EQ(Count(other, 1, 1), 1u);
  });
}

TEST(Munlockall, IsMadeGoodByMpinRefresh) {
  RunInChild([] {
    const TestMapping mapping(4);
    ASSERT_EQ(Pin(mapping, 1, 3), 0);
    const KernelEvidence before = KernelEvidence::Of(mapping.all());
    ASSERT_EQ(syscall(SYS_munlockall), 0);
    ASSERT_EQ(Refresh(mapping, 1, 3), 0) << mpin_error();
    EXPECT_EQ(KernelEvidence::Of(mapping.all()), before);
    EXPECT_EQ(Count(mapping, 1, 3), 1u);
    ASSERT_EQ(Unpin(mapping, 1, 3), 0);
    EXPECT_TRUE(Locks(mapping, 0, 0));
  });
}

TEST(Munlockall, IsNoObstacleToMunpin) {
  RunInChild([] {
    const TestMapping mapping(4);
    ASSERT_EQ(Pin(mapping, 0, 4), 0);
    ASSERT_EQ(syscall(SYS_munlockall), 0);
    EXPECT_EQ(Unpin(mapping, 0, 4), 0) << mpin_error();
    EXPECT_EQ(Count(mapping, 0, 4), 0u);
  });
}

// --- mlockall -----------------------------------------------------------------------------------

// Runs the body in a child that calls mlockall(2) first, or after what `before` does.
void AfterMlockall(int flags, const std::function<void(const TestMapping&)>& before,
                   const std::function<void(const TestMapping&)>& body) {
  if (test_support::kAddressSanitizer || test_support::kThreadSanitizer) {
    GTEST_SKIP() << "the sanitizer's own memory, of terabytes, would be locked as well";
  }
  RunInChild([&] {
    const TestMapping mapping(4);
    before(mapping);
    if (syscall(SYS_mlockall, flags) != 0) {
      // MCL_CURRENT without the privilege: the whole process must fit the lock limit.
      GTEST_SKIP() << "mlockall is refused here: " << os::Errno::Last().Name();
    }
    body(mapping);
  });
}

void Nothing(const TestMapping&) {}

TEST(MlockallOfFutureMappings, LocksNewMappingsWithoutPinningThem) {
  AfterMlockall(MCL_FUTURE, Nothing, [](const TestMapping& old) {
    const TestMapping mapping(4);
    EXPECT_TRUE(Locks(mapping, 0, 4));
    EXPECT_TRUE(Locks(old, 0, 0));
    EXPECT_EQ(Count(mapping, 0, 4), 0u);
    EXPECT_EQ(Unpin(mapping, 0, 4), -1);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_TRUE(Locks(mapping, 0, 4)) << "the failed call changed nothing";
  });
}

TEST(MlockallOfFutureMappings, IsUndoneForAPageByItsLastMunpin) {
  AfterMlockall(MCL_FUTURE, Nothing, [](const TestMapping&) {
    const TestMapping mapping(4);
    ASSERT_EQ(Pin(mapping, 0, 2), 0) << mpin_error();
    EXPECT_TRUE(Locks(mapping, 0, 4));
    ASSERT_EQ(Unpin(mapping, 0, 2), 0) << mpin_error();
    EXPECT_TRUE(Locks(mapping, 2, 2));
  });
}

TEST(MlockallOfFutureMappings, GoesOnAfterMunpinAndEndsWithMunlockall) {
  AfterMlockall(MCL_FUTURE, Nothing, [](const TestMapping&) {
    const TestMapping mapping(2);
    ASSERT_EQ(Pin(mapping, 0, 2), 0) << mpin_error();
    ASSERT_EQ(Unpin(mapping, 0, 2), 0);
    const TestMapping later(2);
    EXPECT_TRUE(Locks(later, 0, 2));
    ASSERT_EQ(syscall(SYS_munlockall), 0);
    const TestMapping latest(2);
    EXPECT_TRUE(Locks(latest, 0, 0));
  });
}

TEST(MlockallOfFutureMappings, OnFaultLeavesItToMpinToMakePagesResident) {
  AfterMlockall(MCL_FUTURE | MCL_ONFAULT, Nothing, [](const TestMapping&) {
    const TestMapping mapping(4);
    ASSERT_TRUE(Locks(mapping, 0, 4));
    ASSERT_FALSE(AllResident(mapping.range(0, 1)));
    ASSERT_EQ(Pin(mapping, 0, 2), 0) << mpin_error();
    EXPECT_TRUE(AllResident(mapping.range(0, 2)));
    EXPECT_FALSE(AllResident(mapping.range(2, 1)));
  });
}

TEST(MlockallOfCurrentMappings, LocksPagesWithoutPinningThem) {
  AfterMlockall(MCL_CURRENT, Nothing, [](const TestMapping& mapping) {
    EXPECT_TRUE(Locks(mapping, 0, 4));
    EXPECT_EQ(Count(mapping, 0, 4), 0u);
  });
}

TEST(MlockallOfCurrentMappings, IsUndoneForAPageByItsLastMunpin) {
  const auto pin = [](const TestMapping& mapping) { ASSERT_EQ(Pin(mapping, 0, 3), 0); };
  AfterMlockall(MCL_CURRENT, pin, [](const TestMapping& mapping) {
    EXPECT_TRUE(Locks(mapping, 0, 4));
    EXPECT_EQ(Count(mapping, 0, 3), 1u);
    ASSERT_EQ(Unpin(mapping, 0, 3), 0) << mpin_error();
    EXPECT_TRUE(Locks(mapping, 3, 1));
  });
}

TEST(MunlockallAfterMlockall, DropsPinnedPagesTooUntilMpinRefresh) {
  const auto pin = [](const TestMapping& mapping) { ASSERT_EQ(Pin(mapping, 1, 2), 0); };
  AfterMlockall(MCL_CURRENT | MCL_FUTURE, pin, [](const TestMapping& mapping) {
    ASSERT_TRUE(Locks(mapping, 0, 4));
    ASSERT_EQ(syscall(SYS_munlockall), 0);
    EXPECT_TRUE(Locks(mapping, 0, 0));
    EXPECT_EQ(Count(mapping, 1, 2), 1u);
    ASSERT_EQ(Refresh(mapping, 1, 2), 0) << mpin_error();
    EXPECT_TRUE(Locks(mapping, 1, 2));
  });
}

}  // namespace
