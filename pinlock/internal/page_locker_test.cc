#include "pinlock/internal/page_locker.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "gtest/gtest.h"
#include "pinlock/internal/page_locker_fixture.h"

namespace pinlock::internal {
namespace {

// --- Success ------------------------------------------------------------------------------------

TEST_F(PageLockerTest, AFirstLockIsOneKernelCall) {
  ASSERT_TRUE(Lock(kBegin, 40).ok());
  EXPECT_EQ(plan_.calls(Kind::kLock), 1u) << "across a leaf boundary too";
  EXPECT_EQ(LockedPages().size(), 40u);
  EXPECT_TRUE(fake_.IsResident(os::PageNumber(kBegin)));
  ExpectKernelAgrees();
}

TEST_F(PageLockerTest, NestedLocksAndUnlocksMakeNoKernelCall) {
  ASSERT_TRUE(Lock(kBegin, 40).ok());
  const uint64_t calls = plan_.calls();
  ASSERT_TRUE(Lock(kBegin, 40).ok());
  ASSERT_TRUE(Lock(kBegin + 15, 10).ok());
  ASSERT_TRUE(Unlock(kBegin + 15, 10).ok());
  ASSERT_TRUE(Unlock(kBegin, 40).ok());
  EXPECT_EQ(plan_.calls(), calls) << "not for table memory either";
  EXPECT_EQ(LockedPages().size(), 40u);
}

TEST_F(PageLockerTest, LocksEachMaximalRunOfUnlockedPagesWithOneCall) {
  ASSERT_TRUE(Lock(kBegin + 5, 3).ok());
  ASSERT_TRUE(Lock(kBegin + 18, 4).ok());  // across the leaf boundary
  const uint64_t calls = plan_.calls(Kind::kLock);
  ASSERT_TRUE(Lock(kBegin, 40).ok());  // runs 0..5, 8..18, 22..40
  EXPECT_EQ(plan_.calls(Kind::kLock), calls + 3);
  ExpectKernelAgrees();
}

TEST_F(PageLockerTest, UnlocksEachMaximalRunThatGetsToZeroWithOneCall) {
  ASSERT_TRUE(Lock(kBegin, 40).ok());
  ASSERT_TRUE(Lock(kBegin + 5, 3).ok());
  ASSERT_TRUE(Lock(kBegin + 18, 4).ok());
  ASSERT_TRUE(Unlock(kBegin, 40).ok());
  EXPECT_EQ(plan_.calls(Kind::kUnlock), 3u);
  EXPECT_EQ(LockedPages().size(), 7u);
  ExpectKernelAgrees();
}

// Tries every sequence of `left` locks and legal unlocks of ranges of three pages from here on.
void TryEverySequence(const std::function<Errno(bool lock, uint64_t first, uint64_t count)>& act,
                      const std::function<void()>& check, int left) {
  check();
  if (left == 0 || testing::Test::HasFailure()) return;
  for (uint64_t first = 0; first < 3; ++first) {
    for (uint64_t count = 1; first + count <= 3; ++count) {
      for (const bool lock : {true, false}) {
        if (!act(lock, first, count).ok()) continue;
        TryEverySequence(act, check, left - 1);
        ASSERT_TRUE(act(!lock, first, count).ok());
      }
    }
  }
}

TEST_F(PageLockerTest, TheKernelAgreesAfterEverySequenceOfFourOperations) {
  int counts[3] = {};
  int sequences = 0;
  const auto act = [&](bool lock, uint64_t first, uint64_t count) {
    const uint64_t page = 4 * kLeaf - 1 + first;  // the first is the last of its leaf
    const Errno error = lock ? Lock(page, count) : Unlock(page, count);
    bool legal = true;
    for (uint64_t i = first; i < first + count; ++i) legal = legal && (lock || counts[i] > 0);
    EXPECT_EQ(error.ok(), legal);
    if (error.ok()) {
      for (uint64_t i = first; i < first + count; ++i) counts[i] += lock ? 1 : -1;
    }
    return error;
  };
  const auto check = [&] {
    ++sequences;
    for (uint64_t i = 0; i < 3; ++i) {
      ASSERT_EQ(CountAt(4 * kLeaf - 1 + i), counts[i]);
      ASSERT_EQ(fake_.IsLocked(os::PageNumber(4 * kLeaf - 1 + i)), counts[i] > 0);
    }
  };
  TryEverySequence(act, check, 4);
  EXPECT_GT(sequences, 1000);
  EXPECT_EQ(fake_.locked_pages(), PageCount(0));
}

TEST_F(PageLockerTest, AnEmptyRangeIsSuccessAndNoKernelCall) {
  EXPECT_TRUE(Lock(1, 0).ok());
  EXPECT_TRUE(Unlock(1, 0).ok());
  EXPECT_EQ(plan_.calls(), 0u);
}

// --- Failure ------------------------------------------------------------------------------------

TEST_F(PageLockerTest, AFailedLockUndoesExactlyWhatItLocked) {
  ASSERT_TRUE(Lock(kBegin + 5, 3).ok());
  ASSERT_TRUE(Lock(kBegin + 10, 3).ok());
  const auto before = LockedPages();
  (void)fake_.Unmap(Pages(kBegin + 30, 1));
  EXPECT_EQ(Lock(kBegin, 40), Errno(EINVAL));
  EXPECT_EQ(failure_.cause, Cause::kHole);
  EXPECT_EQ(failure_.where, AddressOf(kBegin + 30));
  EXPECT_EQ(LockedPages(), before);
  EXPECT_EQ(CountAt(kBegin + 5), 1);
  ExpectKernelAgrees();
  EXPECT_EQ(locker_.Stats().failures, 1u);
  EXPECT_EQ(locker_.Stats().pages_residual, 0u);
}

TEST_F(PageLockerTest, AFailedLockUndoesTheHalfDoneStep) {
  fake_.AddMapping(Pages(kBegin + 10, 2), Access::kNone);
  EXPECT_EQ(Lock(kBegin, 40), Errno(EINVAL));
  EXPECT_EQ(failure_.cause, Cause::kInaccessible);
  EXPECT_TRUE(LockedPages().empty()) << "mlock flags the whole range, inaccessible pages too";
}

TEST_F(PageLockerTest, TheLimitCountsDistinctPages) {
  fake_.set_lock_limit(PageCount(10));
  ASSERT_TRUE(Lock(kBegin, 10).ok());
  ASSERT_TRUE(Lock(kBegin, 10).ok());
  EXPECT_EQ(Lock(kBegin + 5, 6), Errno(ENOMEM));
  EXPECT_EQ(failure_.cause, Cause::kLimit);
  EXPECT_EQ(failure_.bytes_needed, fake_.page_size()) << "five of the six are locked";
  EXPECT_EQ(CountAt(kBegin + 5), 2);
  ExpectKernelAgrees();
  ASSERT_TRUE(Unlock(kBegin, 10).ok());
  ASSERT_TRUE(Unlock(kBegin, 1).ok());
  EXPECT_TRUE(Lock(kBegin + 10, 1).ok());
}

TEST_F(PageLockerTest, AFullCounterIsEagainAndNothingChanges) {
  for (int i = 0; i < LockTable::kMaxCount; ++i) ASSERT_TRUE(Lock(kBegin + 3, 1).ok());
  EXPECT_EQ(Lock(kBegin, 10), Errno(EAGAIN));
  EXPECT_EQ(failure_.cause, Cause::kCountFull);
  EXPECT_EQ(failure_.where, AddressOf(kBegin + 3));
  EXPECT_EQ(LockedPages(), (std::vector<uint64_t>{kBegin + 3}));
  EXPECT_EQ(CountAt(kBegin + 3), LockTable::kMaxCount);
  EXPECT_TRUE(Unlock(kBegin + 3, 1).ok());
  EXPECT_TRUE(Lock(kBegin, 10).ok());
}

TEST_F(PageLockerTest, ARangeBeyondTheAddressSpaceIsEinval) {
  EXPECT_EQ(locker_.Lock(AddressOf(kBegin), SIZE_MAX, failure_), Errno(EINVAL));
  EXPECT_EQ(failure_.cause, Cause::kRangeWraps);
  EXPECT_EQ(Lock(LockTable::kPageNumbers, 1), Errno(EINVAL));
  EXPECT_EQ(failure_.cause, Cause::kRangeWraps);
  EXPECT_EQ(Unlock(LockTable::kPageNumbers, 1), Errno(EINVAL));
  EXPECT_EQ(plan_.calls(), 0u);
}

TEST_F(PageLockerTest, AnAbsurdLengthIsRefusedBeforeTheTableGrows) {
  EXPECT_EQ(Lock(kBegin, uint64_t{1} << 44), Errno(EINVAL));
  EXPECT_EQ(failure_.cause, Cause::kHole);
  EXPECT_EQ(failure_.where, AddressOf(kEnd));
  EXPECT_EQ(plan_.calls(Kind::kMap), 0u);
}

TEST_F(PageLockerTest, AShortageOfTableMemoryIsEagainAndNothingChanges) {
  Fail(Kind::kMap, ENOMEM);
  EXPECT_EQ(Lock(kBegin, 10), Errno(EAGAIN));
  EXPECT_EQ(failure_.cause, Cause::kNoTableMemory);
  EXPECT_EQ(plan_.calls(Kind::kLock), 0u);
  plan_.Disarm();
  EXPECT_TRUE(Lock(kBegin, 10).ok());
  ExpectKernelAgrees();
}

TEST_F(PageLockerTest, UnlockingAPageThatIsNotLockedIsEinvalAndNothingChanges) {
  ASSERT_TRUE(Lock(kBegin, 10).ok());
  EXPECT_EQ(Unlock(kBegin + 5, 6), Errno(EINVAL));
  EXPECT_EQ(failure_.cause, Cause::kNotPinned);
  EXPECT_EQ(failure_.where, AddressOf(kBegin + 10));
  EXPECT_EQ(plan_.calls(Kind::kUnlock), 0u);
  EXPECT_EQ(CountAt(kBegin + 5), 1);
}

TEST_F(PageLockerTest, UnlockingAnUnmappedPageIsEinvalAndTheRestStaysLocked) {
  ASSERT_TRUE(Lock(kBegin, 40).ok());
  ASSERT_TRUE(Lock(kBegin + 3, 2).ok());  // two runs: one before, one with the hole
  (void)fake_.Unmap(Pages(kBegin + 20, 2));
  const auto before = LockedPages();
  const uint64_t unlock_calls = fake_.unlock_calls();
  EXPECT_EQ(Unlock(kBegin, 40), Errno(EINVAL));
  EXPECT_EQ(fake_.unlock_calls(), unlock_calls);  // found out before anything was unlocked
  EXPECT_EQ(failure_.cause, Cause::kHole);
  EXPECT_EQ(failure_.where, AddressOf(kBegin + 20));
  EXPECT_EQ(LockedPages(), before);
  EXPECT_EQ(CountAt(kBegin), 1);
  EXPECT_EQ(locker_.Stats().pages_residual, 0u);
}

// --- Residual pages -----------------------------------------------------------------------------

TEST_F(PageLockerTest, WhatTheKernelRefusesToUnlockIsResidualUntilARetrySucceeds) {
  ASSERT_TRUE(Lock(kBegin, 10).ok());
  Fail(Kind::kUnlock, ENOMEM);
  ASSERT_TRUE(Unlock(kBegin + 2, 3).ok());
  EXPECT_EQ(CountAt(kBegin + 2), 0);
  EXPECT_EQ(locker_.Stats().pages_residual, 3u);
  EXPECT_EQ(locker_.Stats().pages_locked, 7u);
  EXPECT_EQ(LockedPages().size(), 10u);
  EXPECT_TRUE(Lock(kBegin, 0).ok());
  EXPECT_EQ(locker_.Stats().pages_residual, 3u) << "refused again";
  plan_.Disarm();
  EXPECT_TRUE(Lock(kBegin, 0).ok());
  EXPECT_EQ(locker_.Stats().pages_residual, 0u);
  ExpectKernelAgrees();
}

TEST_F(PageLockerTest, AResidualPageCanBeLockedAgain) {
  ASSERT_TRUE(Lock(kBegin, 10).ok());
  Fail(Kind::kUnlock, ENOMEM);
  ASSERT_TRUE(Unlock(kBegin, 10).ok());
  ASSERT_TRUE(Lock(kBegin, 4).ok());
  EXPECT_EQ(locker_.Stats().pages_residual, 6u);
  plan_.Disarm();
  ASSERT_TRUE(Unlock(kBegin, 4).ok());
  EXPECT_EQ(locker_.Stats().pages_residual, 0u);
  EXPECT_TRUE(LockedPages().empty());
}

TEST_F(PageLockerTest, AMappingLimitLeavesAResidualPageThatIsNotLost) {
  ASSERT_TRUE(Lock(kBegin, 10).ok());
  fake_.set_max_mappings(fake_.mappings());
  ASSERT_TRUE(Unlock(kBegin + 4, 1).ok()) << "the kernel cannot split the mapping";
  EXPECT_EQ(locker_.Stats().pages_residual, 1u);
  EXPECT_EQ(LockedPages().size(), 10u);
  fake_.set_max_mappings(std::nullopt);
  ASSERT_TRUE(Unlock(kBegin, 1).ok());
  EXPECT_EQ(locker_.Stats().pages_residual, 0u);
  ExpectKernelAgrees();
}

// Another thread unmaps right after the holes were looked for: the call came before that.
TEST_F(PageLockerTest, AHoleThatComesLaterKeepsNothingLocked) {
  ASSERT_TRUE(Lock(kBegin, 40).ok());
  ASSERT_TRUE(Lock(kBegin + 3, 2).ok());
  (void)fake_.Unmap(Pages(kBegin + 20, 2));
  tables_.LetHolesComeLater();
  EXPECT_TRUE(Unlock(kBegin, 40).ok());
  EXPECT_EQ(LockedPages(), (std::vector<uint64_t>{kBegin + 3, kBegin + 4}));
  EXPECT_EQ(CountedPages(), LockedPages());
  EXPECT_EQ(locker_.Stats().pages_residual, 0u);
}

TEST_F(PageLockerTest, TheLastUnlockOfAPageThatIsNotMappedIsEinvalAndKeepsItsCount) {
  ASSERT_TRUE(Lock(kBegin, 2).ok());
  (void)fake_.Unmap(Pages(kBegin, 1));
  EXPECT_EQ(Unlock(kBegin, 1), Errno(EINVAL));
  EXPECT_EQ(failure_.cause, Cause::kHole);
  EXPECT_EQ(CountAt(kBegin), 1);
  EXPECT_EQ(locker_.Stats().pages_residual, 0u);
  fake_.AddMapping(Pages(kBegin, 1), Access::kReadWrite);
  EXPECT_TRUE(Unlock(kBegin, 1).ok());
  EXPECT_EQ(CountAt(kBegin), 0);
}

TEST_F(PageLockerTest, AHoleInResidualPagesDoesNotHideThoseBehindIt) {
  ASSERT_TRUE(Lock(kBegin, 10).ok());
  Fail(Kind::kUnlock, ENOMEM);
  ASSERT_TRUE(Unlock(kBegin, 10).ok());
  (void)fake_.Unmap(Pages(kBegin + 4, 1));
  plan_.Disarm();
  ASSERT_TRUE(Lock(kBegin, 0).ok());
  EXPECT_EQ(locker_.Stats().pages_residual, 0u);
  EXPECT_TRUE(LockedPages().empty());
}

TEST_F(PageLockerTest, ResidualPagesBehindAHoleStayMarkedWhileTheKernelRefuses) {
  ASSERT_TRUE(Lock(kBegin, 10).ok());
  Fail(Kind::kUnlock, ENOMEM);
  ASSERT_TRUE(Unlock(kBegin, 10).ok());
  (void)fake_.Unmap(Pages(kBegin + 4, 1));
  ASSERT_TRUE(Lock(kBegin, 0).ok());
  EXPECT_EQ(locker_.Stats().pages_residual, 9u) << "the page that is gone is locked no more";
  plan_.Disarm();
  ASSERT_TRUE(Lock(kBegin, 0).ok());
  EXPECT_EQ(locker_.Stats().pages_residual, 0u);
  EXPECT_TRUE(LockedPages().empty());
}

// One call makes up for no more than some of what was left behind, and asks once where it is
// refused again.
TEST_F(PageLockerTest, ResidualPagesAreRetriedAFewAtATime) {
  ASSERT_TRUE(Lock(kBegin, 40).ok());
  Fail(Kind::kUnlock, ENOMEM);
  for (uint64_t page = 0; page < 40; page += 2) {
    const uint64_t calls = plan_.calls(Kind::kUnlock);
    ASSERT_TRUE(Unlock(kBegin + page, 1).ok());
    EXPECT_LE(plan_.calls(Kind::kUnlock), calls + 3) << page;
  }
  EXPECT_EQ(locker_.Stats().pages_residual, 20u);
  plan_.Disarm();
  ASSERT_TRUE(Lock(kBegin + 1, 1).ok());
  EXPECT_EQ(locker_.Stats().pages_residual, 4u);
  ASSERT_TRUE(Lock(kBegin + 1, 1).ok());
  EXPECT_EQ(locker_.Stats().pages_residual, 0u);
  EXPECT_EQ(LockedPages().size(), 20u);
}

// A leaf that is residual as a whole has no counts for the rest of it.
TEST_F(PageLockerTest, ARetryThatBeginsAmidResidualPagesFindsTheRest) {
  constexpr uint64_t kWhole = 8 * kLeaf;
  fake_.AddMapping(Pages(kWhole - 8, kLeaf + 8), Access::kReadWrite);
  ASSERT_TRUE(Lock(kWhole - 8, kLeaf + 8).ok());
  Fail(Kind::kUnlock, ENOMEM);
  ASSERT_TRUE(Unlock(kWhole + 3, 1).ok());
  ASSERT_TRUE(Unlock(kWhole - 8, 8).ok());  // retries that one, and goes on behind it
  ASSERT_TRUE(Unlock(kWhole, 3).ok());
  ASSERT_TRUE(Unlock(kWhole + 4, kLeaf - 4).ok());
  ASSERT_EQ(locker_.Stats().pages_residual, kLeaf + 8);
  plan_.Disarm();
  ASSERT_TRUE(Unlock(kBegin, 0).ok());
  EXPECT_EQ(locker_.Stats().pages_residual, 0u);
  EXPECT_TRUE(LockedPages(kWhole - 8, kWhole + kLeaf).empty());
}

TEST_F(PageLockerTest, AnUndoThatTheKernelRefusesMarksOnlyItsOwnPages) {
  // A whole leaf, of which the first 100 pages are mapped: no page of it has a count of its own.
  const uint64_t leaf = 8 * kLeaf;
  fake_.AddMapping(Pages(leaf, 100), Access::kReadWrite);
  Fail(Kind::kUnlock, ENOMEM);
  EXPECT_EQ(Lock(leaf, kLeaf), Errno(EINVAL));
  EXPECT_EQ(failure_.cause, Cause::kHole);
  EXPECT_EQ(locker_.Stats().pages_residual, 100u);
  plan_.Disarm();
  EXPECT_TRUE(Lock(leaf, 0).ok());
  EXPECT_EQ(locker_.Stats().pages_residual, 0u);
  EXPECT_TRUE(LockedPages(leaf, leaf + kLeaf).empty());
}

// --- Queries ------------------------------------------------------------------------------------

TEST_F(PageLockerTest, QueryTellsTheCountsAndTheResidency) {
  ASSERT_TRUE(Lock(kBegin + 2, 4).ok());
  ASSERT_TRUE(Lock(kBegin + 3, 1).ok());
  RangeInfo info;
  ASSERT_TRUE(locker_.Query(AddressOf(kBegin), 10 * fake_.page_size(), info, failure_).ok());
  EXPECT_EQ(info.pages, 10u);
  EXPECT_EQ(info.pages_locked, 4u);
  EXPECT_EQ(info.pages_resident, 4u);
  EXPECT_EQ(info.count_min, 0);
  EXPECT_EQ(info.count_max, 2);
}

TEST_F(PageLockerTest, QueryReportsTheErrorOfReadingPagemap) {
  Fail(Kind::kCountPresent, EACCES);
  RangeInfo info;
  EXPECT_EQ(locker_.Query(AddressOf(kBegin), 1, info, failure_), Errno(EACCES));
  EXPECT_EQ(failure_.cause, Cause::kNoPagemap);
  EXPECT_EQ(failure_.error, Errno(EACCES));
}

TEST_F(PageLockerTest, StatsCountCallsAndKernelCalls) {
  ASSERT_TRUE(Lock(kBegin, 10).ok());
  ASSERT_TRUE(Lock(kBegin, 10).ok());
  ASSERT_TRUE(Unlock(kBegin, 10).ok());
  EXPECT_FALSE(Unlock(kBegin, 20).ok());
  const LockStats stats = locker_.Stats();
  EXPECT_EQ(stats.pages_locked, 10u);
  EXPECT_EQ(stats.pages_residual, 0u);
  EXPECT_EQ(stats.pins, 2u);
  EXPECT_EQ(stats.unpins, 1u);
  EXPECT_EQ(stats.kernel_locks, plan_.calls(Kind::kLock));
  EXPECT_EQ(stats.kernel_unlocks, plan_.calls(Kind::kUnlock));
  EXPECT_EQ(stats.failures, 1u);
}

}  // namespace
}  // namespace pinlock::internal
