// PageLocker with ranges of many steps, limits, memory that goes away, and several threads.

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <optional>
#include <thread>
#include <utility>

#include "gtest/gtest.h"
#include "os/fake_limits.h"
#include "os/forwarding_memory.h"
#include "os/limits.h"
#include "pinlock/internal/page_locker.h"
#include "pinlock/internal/page_locker_fixture.h"

namespace pinlock::internal {
namespace {

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

TEST_F(RoomTest, PagesThatAreResidentButWillBeCopiedNeedIt) {
  SetRoom(20 * fake_.page_size());
  fake_.ShareZeroPage(Pages(kBig, 100));
  EXPECT_EQ(Lock(kBig, 100), Errno(EAGAIN));
  EXPECT_EQ(Lock(kBig, 30), Errno(EAGAIN)) << "it is known to be scarce";
  EXPECT_EQ(fake_.lock_calls(), 0u);
  EXPECT_TRUE(Lock(kBig, 8).ok());
}

TEST_F(RoomTest, CopiesAreMadeWithoutCountingThemWhereItIsAmple) {
  SetRoom(0);
  limits_.headroom.limit_bytes = 1024 * kMib;
  limits_.headroom.bytes = 512 * kMib;
  fake_.ShareZeroPage(Pages(kBig, 100));
  Fail(Kind::kCountNeeding, EACCES);
  EXPECT_TRUE(Lock(kBig, 100).ok());
  EXPECT_EQ(plan_.calls(Kind::kCountNeeding), 0u);
}

TEST_F(RoomTest, RefreshingWithoutItIsEagainAndTheCountsStay) {
  SetRoom(100 * fake_.page_size());
  ASSERT_TRUE(Lock(kBig, 100).ok());
  fake_.ShareZeroPage(Pages(kBig, 100));
  SetRoom(99 * fake_.page_size());
  EXPECT_EQ(locker_.Refresh(AddressOf(kBig), 100 * fake_.page_size(), failure_), Errno(EAGAIN));
  EXPECT_EQ(failure_.cause, Cause::kNoHeadroom);
  EXPECT_EQ(failure_.bytes_needed, 100 * fake_.page_size());
  EXPECT_EQ(CountAt(kBig + 50), 1);
  SetRoom(100 * fake_.page_size());
  EXPECT_TRUE(locker_.Refresh(AddressOf(kBig), 100 * fake_.page_size(), failure_).ok());
}

TEST_F(RoomTest, WithoutItForAllStepsNoneIsTried) {
  SetRoom(5 * kMib);
  EXPECT_EQ(Lock(kBig, 3 * kLeaf), Errno(EAGAIN));
  EXPECT_EQ(failure_.cause, Cause::kNoHeadroom);
  EXPECT_EQ(fake_.lock_calls(), 0u);
  EXPECT_TRUE(Lock(kBig, 2 * kLeaf).ok());
}

// Somebody else takes the room after a while.
class ShrinkingLimits final : public os::Limits {
 public:
  explicit ShrinkingLimits(const os::testing::FakeLimits& limits) : limits_(limits) {}
  os::ByteLimit Memlock() const override { return limits_.Memlock(); }
  std::optional<uint64_t> Rss() const override { return limits_.Rss(); }
  uint64_t LockedBytes() const override { return limits_.LockedBytes(); }
  bool Privileged() const override { return limits_.Privileged(); }
  os::Headroom ReadHeadroom() const override {
    os::Headroom headroom = limits_.ReadHeadroom();
    if (limits_.headroom_reads > 3) headroom.bytes = 0;
    return headroom;
  }

 private:
  const os::testing::FakeLimits& limits_;
};

TEST_F(RoomTest, StepsBeforeTheOneThatFindsNoneAreUndone) {
  ASSERT_TRUE(Lock(kBig + 5, 1).ok());
  SetRoom(60 * kMib);
  limits_.headroom_reads = 0;
  const ShrinkingLimits shrinking(limits_);
  PageLocker locker(state_, faulty_, shrinking);
  const uint64_t calls = fake_.lock_calls();
  EXPECT_EQ(locker.Lock(AddressOf(kBig), 6 * kLeaf * fake_.page_size(), failure_), Errno(EAGAIN));
  EXPECT_GT(fake_.lock_calls(), calls) << "some steps were made";
  EXPECT_EQ(fake_.locked_pages(), PageCount(1));
  EXPECT_EQ(CountAt(kBig + 5), 1);
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

// Memory that is unlocked stays where it is: a look is good for 2 MiB, pinned for good or not.
TEST_F(RoomTest, WhatIsUnlockedGivesNoRoomBack) {
  SetRoom(64 * kMib);
  limits_.headroom_reads = 0;
  for (uint64_t i = 0; i < 12; ++i) {
    ASSERT_TRUE(Lock(kBig + i * kLeaf / 2, kLeaf / 2).ok());
    ASSERT_TRUE(Unlock(kBig + i * kLeaf / 2, kLeaf / 2).ok());
  }
  EXPECT_GE(limits_.headroom_reads, 6u) << "6 MiB were made resident";
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

// The kind of the memory is remembered for a while, but not beyond a word that it is another.
TEST_F(BigRangeTest, AForgottenMappingIsLookedAtAgain) {
  using FileKind = os::testing::FakeMemory::FileKind;
  ASSERT_TRUE(Lock(kBig, 4).ok());
  ASSERT_TRUE(Unlock(kBig, 4).ok());
  fake_.AddFileMapping(Pages(kBig, 20), PageCount(20), FileKind::kSparse);
  fake_.set_free_blocks(0);
  ASSERT_TRUE(locker_.Forget(AddressOf(kBig), 20 * fake_.page_size(), failure_).ok());
  EXPECT_EQ(Lock(kBig, 4), Errno(ENOSPC));
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

// Limits that let another caller in while they are asked.
class InterruptedLimits final : public os::Limits {
 public:
  explicit InterruptedLimits(std::function<void()> other) : other_(std::move(other)) {}
  os::ByteLimit Memlock() const override { return {}; }
  std::optional<uint64_t> Rss() const override { return std::nullopt; }
  uint64_t LockedBytes() const override { return 0; }
  bool Privileged() const override { return false; }
  os::Headroom ReadHeadroom() const override {
    if (!std::exchange(asked_, true)) other_();
    return {};
  }

 private:
  std::function<void()> other_;
  mutable bool asked_ = false;
};

TEST_F(BigRangeTest, TwoCallsThatFitEachForItselfDoNotPassMaxPagesTogether) {
  locker_.SetMaxPages(3 * kLeaf);
  Errno other;
  const InterruptedLimits limits([&] { other = Lock(kBig + 3 * kLeaf, 2 * kLeaf); });
  PageLocker first(state_, faulty_, limits);
  Failure failure;
  EXPECT_TRUE(first.Lock(AddressOf(kBig), 2 * kLeaf * fake_.page_size(), failure).ok());
  EXPECT_EQ(other, Errno(ENOMEM));
  EXPECT_EQ(locker_.Stats().pages_locked, 2 * kLeaf);
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

}  // namespace
}  // namespace pinlock::internal
