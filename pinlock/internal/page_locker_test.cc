#include "pinlock/internal/page_locker.h"

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "os/fake_limits.h"
#include "os/fake_memory.h"
#include "os/fault_plan.h"
#include "os/faulty_memory.h"
#include "os/forwarding_memory.h"
#include "tests/support/table_memory.h"

namespace pinlock::internal {
namespace {

using os::Errno;
using os::PageCount;
using os::testing::FaultPlan;
using Kind = FaultPlan::Kind;
using Access = os::Memory::Access;

// A mapping of pages [kBegin, kEnd), which crosses the boundary of two leaves of the table.
constexpr uint64_t kLeaf = LockTable::kPagesPerLeaf;
constexpr uint64_t kBegin = 4 * kLeaf - 20;
constexpr uint64_t kEnd = 4 * kLeaf + 20;

os::PageRange Pages(uint64_t first, uint64_t count) {
  return os::PageRange(os::PageNumber(first), PageCount(count));
}

class PageLockerTest : public testing::Test {
 protected:
  PageLockerTest() { fake_.AddMapping(Pages(kBegin, kEnd - kBegin), Access::kReadWrite); }

  Errno Lock(uint64_t first, uint64_t count) {
    return locker_.Lock(AddressOf(first), count * fake_.page_size(), failure_);
  }
  Errno Unlock(uint64_t first, uint64_t count) {
    return locker_.Unlock(AddressOf(first), count * fake_.page_size(), failure_);
  }
  uint16_t CountAt(uint64_t page) {
    RangeInfo info;
    EXPECT_TRUE(locker_.Query(AddressOf(page), 1, info, failure_).ok());
    return info.count_min;
  }
  uintptr_t AddressOf(uint64_t page) const { return page * fake_.page_size(); }

  // The pages that are locked in the kernel.
  std::vector<uint64_t> LockedPages(uint64_t begin = kBegin, uint64_t end = kEnd) const {
    std::vector<uint64_t> locked;
    for (uint64_t page = begin; page < end; ++page) {
      if (fake_.IsLocked(os::PageNumber(page))) locked.push_back(page);
    }
    return locked;
  }
  std::vector<uint64_t> CountedPages() {
    std::vector<uint64_t> counted;
    for (uint64_t page = kBegin; page < kEnd; ++page) {
      if (CountAt(page) > 0) counted.push_back(page);
    }
    return counted;
  }
  void ExpectKernelAgrees() { EXPECT_EQ(LockedPages(), CountedPages()); }

  // The nth call of this kind from now on fails, and all after it with `forever`.
  void Fail(Kind kind, int error, bool forever = true, uint64_t nth = 1) {
    FaultPlan::Fault fault;
    fault.nth = nth;
    fault.error = Errno(error);
    fault.forever = forever;
    fault.kind = kind;
    plan_.Arm(fault);
  }

  os::testing::FakeMemory fake_;
  test_support::TableMemory tables_{fake_};
  FaultPlan plan_;
  os::testing::FaultyMemory faulty_{tables_, plan_};
  LockerState state_;
  os::testing::FakeLimits limits_;
  PageLocker locker_{state_, faulty_, limits_};
  Failure failure_;
};

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

// --- Steps --------------------------------------------------------------------------------------

constexpr uint64_t kBig = 16 * kLeaf;  // where a big mapping begins

class BigRangeTest : public PageLockerTest {
 protected:
  BigRangeTest() { fake_.AddMapping(Pages(kBig, 6 * kLeaf), Access::kReadWrite); }
};

TEST_F(BigRangeTest, IsLockedAndUnlockedLeafByLeaf) {
  ASSERT_TRUE(Lock(kBig + 10, 3 * kLeaf).ok());
  EXPECT_EQ(fake_.lock_calls(), 4u) << "up to the next leaf, two leaves, the rest";
  EXPECT_EQ(fake_.locked_pages(), PageCount(3 * kLeaf));
  ASSERT_TRUE(Unlock(kBig + 10, 3 * kLeaf).ok());
  EXPECT_EQ(fake_.unlock_calls(), 4u);
  EXPECT_EQ(fake_.locked_pages(), PageCount(0));
}

TEST_F(BigRangeTest, UpToTwoMebibytesAreOneCall) {
  ASSERT_TRUE(Lock(kBig + 10, kLeaf).ok());
  EXPECT_EQ(fake_.lock_calls(), 1u);
}

TEST_F(BigRangeTest, AStepThatFailsUndoesThoseBeforeIt) {
  ASSERT_TRUE(Lock(kBig + kLeaf, 5).ok());
  for (uint64_t nth = 1; nth <= 5; ++nth) {
    FaultPlan::Fault fault;
    fault.kind = Kind::kLock;
    fault.error = Errno(EAGAIN);
    fault.nth = nth;
    fault.half_done = true;
    plan_.Arm(fault);
    EXPECT_EQ(Lock(kBig + 10, 4 * kLeaf), Errno(EAGAIN)) << nth;
    ASSERT_TRUE(plan_.fired()) << nth;
    plan_.Disarm();
    EXPECT_EQ(fake_.locked_pages(), PageCount(5)) << nth;
    EXPECT_EQ(CountAt(kBig + kLeaf), 1) << nth;
    EXPECT_EQ(CountAt(kBig + 10), 0) << nth;
    EXPECT_EQ(locker_.Stats().pages_locked, 5u) << nth;
  }
}

TEST_F(BigRangeTest, BeyondTheLimitNoStepIsTried) {
  fake_.set_lock_limit(PageCount(4 * kLeaf));
  EXPECT_EQ(Lock(kBig, 5 * kLeaf), Errno(ENOMEM));
  EXPECT_EQ(failure_.cause, Cause::kLimit);
  EXPECT_EQ(fake_.lock_calls(), 0u);
}

// --- Room ---------------------------------------------------------------------------------------

constexpr uint64_t kMib = 1024 * 1024;

class RoomTest : public BigRangeTest {
 protected:
  // Room for so many bytes beyond what is kept free of 64 MiB.
  void SetRoom(uint64_t bytes) {
    limits_.headroom.bound = os::Headroom::Bound::kCgroupV1;
    limits_.headroom.limit_bytes = 64 * kMib;
    limits_.headroom.bytes = kMib + bytes;
    limits_.headroom.used_bytes = 63 * kMib - bytes;
  }
};

TEST_F(RoomTest, WithoutItThereIsEagainBeforeTheKernelIsAsked) {
  SetRoom(4 * fake_.page_size());
  EXPECT_EQ(Lock(kBig, 5), Errno(EAGAIN));
  EXPECT_EQ(failure_.cause, Cause::kNoHeadroom);
  EXPECT_EQ(failure_.bytes_needed, 5 * fake_.page_size());
  EXPECT_EQ(failure_.headroom.limit_bytes, 64 * kMib);
  EXPECT_EQ(fake_.lock_calls(), 0u);
  EXPECT_TRUE(Lock(kBig, 4).ok());
}

TEST_F(RoomTest, PagesThatAreResidentNeedNone) {
  SetRoom(4 * fake_.page_size());
  ASSERT_TRUE(fake_.Populate(Pages(kBig, 96)).ok());
  EXPECT_TRUE(Lock(kBig, 100).ok());
  EXPECT_EQ(Lock(kBig, 105), Errno(EAGAIN));
}

TEST_F(RoomTest, StepsBeforeTheOneThatFindsNoneAreUndone) {
  SetRoom(2 * kMib);  // for one leaf, as seen at each step
  limits_.headroom_reads = 0;
  ASSERT_TRUE(Lock(kBig, kLeaf).ok());
  SetRoom(kMib);
  EXPECT_EQ(Lock(kBig, 3 * kLeaf), Errno(EAGAIN));
  EXPECT_EQ(fake_.locked_pages(), PageCount(kLeaf));
  EXPECT_EQ(CountAt(kBig), 1);
}

TEST_F(RoomTest, IsLookedAtAgainAfterTwoMebibytes) {
  SetRoom(64 * kMib);
  ASSERT_TRUE(Lock(kBig, 4 * kLeaf).ok());
  EXPECT_GE(limits_.headroom_reads, 4u);
  const uint64_t reads = limits_.headroom_reads;
  ASSERT_TRUE(Unlock(kBig, 4 * kLeaf).ok());
  ASSERT_TRUE(Lock(kBig, 1).ok());
  EXPECT_LE(limits_.headroom_reads, reads + 1);
}

TEST_F(RoomTest, ABadRangeIsTheFirstCause) {
  SetRoom(0);
  fake_.AddMapping(Pages(kBig + 3, 1), Access::kNone);
  EXPECT_EQ(Lock(kBig, 5), Errno(EINVAL));
  EXPECT_EQ(failure_.cause, Cause::kInaccessible);
  (void)fake_.Unmap(Pages(kBig + 3, 1));
  EXPECT_EQ(Lock(kBig, 5), Errno(EINVAL));
  EXPECT_EQ(failure_.cause, Cause::kHole);
}

TEST_F(RoomTest, WithoutABoundThereIsAlwaysRoom) { EXPECT_TRUE(Lock(kBig, 6 * kLeaf).ok()); }

// --- Blocks of files ----------------------------------------------------------------------------

TEST_F(BigRangeTest, AFileWithoutBlocksForItsHolesIsEnospc) {
  using FileKind = os::testing::FakeMemory::FileKind;
  fake_.AddFileMapping(Pages(kBig, 20), PageCount(20), FileKind::kSparse);
  fake_.set_free_blocks(8);
  EXPECT_EQ(Lock(kBig, 10), Errno(ENOSPC));
  EXPECT_EQ(failure_.cause, Cause::kFileSystemFull);
  EXPECT_EQ(fake_.locked_pages(), PageCount(0));
  EXPECT_TRUE(Lock(kBig, 8).ok()) << "those that it had";
}

TEST_F(BigRangeTest, BlocksThatCannotBeToldAreFoundMissingByWriting) {
  fake_.AddFileMapping(Pages(kBig, 20), PageCount(20));
  Fail(Kind::kReserveBlocks, EFAULT);
  EXPECT_EQ(Lock(kBig, 10), Errno(ENOSPC)) << "the lock succeeded, so no page is past the end";
  EXPECT_EQ(fake_.locked_pages(), PageCount(0));
  fake_.AddFileMapping(Pages(kBig, 20), PageCount(5));
  EXPECT_EQ(Lock(kBig, 10), Errno(EINVAL));
  EXPECT_EQ(failure_.cause, Cause::kPastEndOfFile);
}

// --- Limits of our own --------------------------------------------------------------------------

TEST_F(PageLockerTest, MaxPagesCountsDistinctPages) {
  locker_.SetMaxPages(10);
  ASSERT_TRUE(Lock(kBegin, 10).ok());
  ASSERT_TRUE(Lock(kBegin, 10).ok());
  EXPECT_EQ(Lock(kBegin + 5, 6), Errno(ENOMEM));
  EXPECT_EQ(failure_.cause, Cause::kPageLimit);
  EXPECT_EQ(failure_.limit_soft, 10 * fake_.page_size());
  EXPECT_EQ(failure_.bytes_held, 10 * fake_.page_size());
  EXPECT_EQ(failure_.bytes_needed, fake_.page_size());
  limits_.privileged = true;
  EXPECT_TRUE(Lock(kBegin + 5, 6).ok());
}

TEST_F(PageLockerTest, RssIsEnforced) {
  limits_.rss = 3 * fake_.page_size();
  EXPECT_EQ(Lock(kBegin, 4), Errno(ENOMEM));
  EXPECT_EQ(failure_.cause, Cause::kRssLimit);
  EXPECT_TRUE(Lock(kBegin, 3).ok());
}

// --- Memory that goes away ----------------------------------------------------------------------

TEST_F(PageLockerTest, ForgettingWithoutMemoryForCountersChangesNothing) {
  ASSERT_TRUE(Lock(kBegin, 40).ok());
  const uint64_t leaf = 8 * kLeaf;
  fake_.AddMapping(Pages(leaf, kLeaf), Access::kReadWrite);
  ASSERT_TRUE(Lock(leaf, kLeaf).ok());
  Fail(Kind::kMap, ENOMEM);
  Errno error;
  // The chunk of table memory lasts for a while.
  for (uint64_t other = 9 * kLeaf; error.ok(); other += kLeaf) {
    fake_.AddMapping(Pages(other, kLeaf), Access::kReadWrite);
    error = Lock(other + 1, 1);
    if (error.ok()) continue;
    EXPECT_EQ(locker_.Forget(AddressOf(leaf + 3), fake_.page_size(), failure_), Errno(EAGAIN));
    EXPECT_EQ(CountAt(leaf + 3), 1);
    EXPECT_EQ(locker_.Moved({AddressOf(leaf), kLeaf * fake_.page_size()},
                            {AddressOf(100 * kLeaf + 5), kLeaf * fake_.page_size()}, failure_),
              Errno(EAGAIN));
    EXPECT_EQ(CountAt(leaf), 1);
  }
}

TEST_F(PageLockerTest, WhatCannotBeUnlockedAtAForgetIsResidual) {
  ASSERT_TRUE(Lock(kBegin, 10).ok());
  Fail(Kind::kUnlock, ENOMEM);
  EXPECT_TRUE(locker_.Forget(AddressOf(kBegin), 10 * fake_.page_size(), failure_).ok());
  EXPECT_EQ(locker_.Stats().pages_residual, 10u);
  EXPECT_EQ(locker_.Stats().pages_locked, 0u);
  plan_.Disarm();
  ASSERT_TRUE(Lock(kBegin, 0).ok());
  EXPECT_TRUE(LockedPages().empty());
}

TEST_F(PageLockerTest, NobodySeesTheCountsOfMemoryThatIsGone) {
  ASSERT_TRUE(Lock(kBegin, 10).ok());
  const ByteRange range{AddressOf(kBegin + 2), 3 * fake_.page_size()};
  EXPECT_TRUE(
      locker_.Replacing(range, false, [&] { return fake_.Unmap(Pages(kBegin + 2, 3)).ok(); }));
  EXPECT_EQ(CountAt(kBegin + 1), 1);
  EXPECT_EQ(CountAt(kBegin + 2), 0);
  EXPECT_EQ(CountAt(kBegin + 5), 1);
  EXPECT_EQ(locker_.Stats().forgotten, 3u);
}

TEST_F(PageLockerTest, ACallThatFailsHalfwayLosesTheCountsOfItsHolesOnly) {
  ASSERT_TRUE(Lock(kBegin, 10).ok());
  const ByteRange range{AddressOf(kBegin + 2), 6 * fake_.page_size()};
  EXPECT_FALSE(locker_.Replacing(range, false, [&] {
    (void)fake_.Unmap(Pages(kBegin + 2, 3));
    errno = EBADF;
    return false;
  }));
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(CountAt(kBegin + 4), 0);
  EXPECT_EQ(CountAt(kBegin + 5), 1);
}

TEST_F(PageLockerTest, OfMemoryThatHoldsNothingTheCallAloneIsMade) {
  ASSERT_TRUE(Lock(kBegin, 10).ok());
  Fail(Kind::kMap, ENOMEM);
  int calls = 0;
  EXPECT_TRUE(locker_.Replacing({AddressOf(kEnd + 100), 1}, false, [&] { return ++calls == 1; }));
  EXPECT_TRUE(locker_.Replacing({0, SIZE_MAX}, false, [&] { return ++calls == 2; }));
  EXPECT_TRUE(locker_.Replacing({AddressOf(kBegin), 0}, false, [&] { return ++calls == 3; }));
  EXPECT_EQ(calls, 3);
}

// --- Threads ------------------------------------------------------------------------------------

// A memory of which a lock takes until somebody says so.
class SlowMemory final : public os::ForwardingMemory {
 public:
  using ForwardingMemory::ForwardingMemory;
  Errno Lock(os::PageRange pages) override {
    if (pages.begin() == slow_) {
      inside_ = true;
      while (!go_on_) std::this_thread::yield();
    }
    return memory().Lock(pages);
  }
  void MakeSlow(os::PageNumber page) { slow_ = page; }
  void AwaitInside() const {
    while (!inside_) std::this_thread::yield();
  }
  void GoOn() { go_on_ = true; }

 private:
  os::PageNumber slow_;
  std::atomic<bool> inside_{false}, go_on_{false};
};

TEST_F(BigRangeTest, WhileOneThreadIsInTheKernelOthersWaitOnlyForItsLeaves) {
  SlowMemory slow(faulty_);
  PageLocker locker(state_, slow, limits_);
  Failure failure;
  const size_t page = fake_.page_size();
  ASSERT_TRUE(locker.Lock(AddressOf(kBig + 2 * kLeaf), 4 * page, failure).ok());
  slow.MakeSlow(os::PageNumber(kBig));
  std::thread first([&] {
    Failure of_first;
    EXPECT_TRUE(locker.Lock(AddressOf(kBig), 3 * page, of_first).ok());
  });
  slow.AwaitInside();
  // A first pin, a nested pin and the last unpin elsewhere.
  EXPECT_TRUE(locker.Lock(AddressOf(kBig + kLeaf), page, failure).ok());
  EXPECT_TRUE(locker.Lock(AddressOf(kBig + 2 * kLeaf), page, failure).ok());
  EXPECT_TRUE(locker.Unlock(AddressOf(kBig + kLeaf), page, failure).ok());
  std::atomic<bool> done{false};
  std::thread second([&] {
    Failure of_second;
    EXPECT_TRUE(locker.Lock(AddressOf(kBig + 1), page, of_second).ok());
    done = true;
  });
  EXPECT_EQ(CountAt(kBig + 1), 0);
  EXPECT_FALSE(done) << "it needs the same leaf";
  slow.GoOn();
  first.join();
  second.join();
  EXPECT_EQ(CountAt(kBig), 1);
  EXPECT_EQ(CountAt(kBig + 1), 2);
}

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
