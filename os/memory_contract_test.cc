// The contract of Memory: mapping, locking, and the lock limit.

#include "os/memory_contract.h"

namespace os {
namespace {

INSTANTIATE_TEST_SUITE_P(Of, MemoryContract, ::testing::Values("Kernel", "Fake"),
                         [](const auto& subject) { return subject.param; });

TEST_P(MemoryContract, PageSizeIsAPowerOfTwo) {
  const size_t size = memory().page_size();
  EXPECT_GE(size, 4096u);
  EXPECT_EQ(size & (size - 1), 0u);
}

TEST_P(MemoryContract, EmptyRangesSucceedAndDoNothing) {
  const PageRange mapped = Map(1);
  for (const PageNumber at : {mapped.begin(), PageNumber(0), PageNumber(1)}) {
    const PageRange empty(at, at);
    EXPECT_EQ(memory().Lock(empty), kSuccess);
    EXPECT_EQ(memory().Unlock(empty), kSuccess);
    EXPECT_EQ(memory().Commit(empty), kSuccess);
    EXPECT_EQ(memory().CommitHugePages(empty), kSuccess);
    EXPECT_EQ(memory().DecommitHugePages(empty), kSuccess);
    EXPECT_EQ(memory().Decommit(empty), kSuccess);
    EXPECT_EQ(memory().Populate(empty), kSuccess);
    EXPECT_EQ(memory().PopulateForWriting(empty), kSuccess);
    EXPECT_EQ(memory().ReserveBlocks(empty), kSuccess);
    EXPECT_EQ(memory().OmitFromDumps(empty), kSuccess);
    EXPECT_EQ(memory().OmitFromFork(empty), kSuccess);
    EXPECT_EQ(memory().AdviseHugePages(empty, Memory::HugePages::kMakeNow), kSuccess);
    EXPECT_TRUE(*memory().AllLocked(empty));
    EXPECT_EQ(memory().PageOut(empty), kSuccess);
    EXPECT_EQ(memory().Unmap(empty), kSuccess);
    EXPECT_EQ(Present(empty), 0u);
  }
  EXPECT_EQ(memory().CheckLockLimit(PageCount(0)), kSuccess);
  EXPECT_FALSE(AreLocked(mapped));
}

TEST_P(MemoryContract, MapGivesFreshAlignedPages) {
  for (const uint64_t alignment : {1u, 2u, 16u, 512u}) {
    for (const uint64_t count : {1u, 3u, 600u}) {
      const Result<PageRange> pages =
          memory().Map(PageCount(count), Access::kReadWrite, Fork::kInherit, PageCount(alignment));
      ASSERT_TRUE(pages.ok());
      EXPECT_EQ(pages->count(), PageCount(count));
      EXPECT_EQ(pages->begin().value() % alignment, 0u);
      EXPECT_EQ(Present(*pages), 0u);
      const Mapping mapping = MappingAt(pages->begin());
      EXPECT_TRUE(mapping.readable && mapping.writable);
      EXPECT_FALSE(mapping.shared || mapping.file_backed || mapping.executable);
      EXPECT_EQ(memory().Unmap(*pages), kSuccess);
    }
  }
}

TEST_P(MemoryContract, MapRefusesWhatCannotBe) {
  const uint64_t page = memory().page_size();
  for (const uint64_t alignment : {1u, 512u}) {
    const auto map = [&](uint64_t count) {
      return memory()
          .Map(PageCount(count), Access::kNone, Fork::kInherit, PageCount(alignment))
          .error();
    };
    EXPECT_EQ(map(0), Errno(EINVAL));
    EXPECT_EQ(map((uint64_t{1} << 60) / page), Errno(ENOMEM));
    EXPECT_EQ(map(SIZE_MAX / page), Errno(ENOMEM));
    EXPECT_EQ(map(SIZE_MAX / page + 1), Errno(ENOMEM));  // bytes would wrap to 0
    EXPECT_EQ(map(SIZE_MAX / page + 2), Errno(ENOMEM));
    EXPECT_EQ(map(UINT64_MAX), Errno(ENOMEM));
  }
}

TEST_P(MemoryContract, LockMakesEveryPageResident) {
  const PageRange pages = Map(16);
  ASSERT_EQ(Present(pages), 0u);
  EXPECT_EQ(memory().Lock(Part(pages, 4, 8)), kSuccess);
  EXPECT_EQ(Present(pages), 8u);
  EXPECT_EQ(Present(Part(pages, 4, 8)), 8u);
  EXPECT_TRUE(AreLocked(Part(pages, 4, 8)));
  EXPECT_FALSE(AreLocked(Part(pages, 0, 4)));
  EXPECT_FALSE(AreLocked(Part(pages, 12, 4)));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, LocksDoNotNest) {
  const PageRange pages = Map(4);
  EXPECT_EQ(memory().Lock(pages), kSuccess);
  EXPECT_EQ(memory().Lock(pages), kSuccess);
  EXPECT_EQ(memory().Lock(Part(pages, 1, 2)), kSuccess);
  EXPECT_EQ(memory().Unlock(pages), kSuccess);
  EXPECT_FALSE(AreLocked(pages));
  EXPECT_EQ(memory().Unlock(pages), kSuccess);  // of pages that are not locked
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, UnlockOfAPartLeavesTheRest) {
  const PageRange pages = Map(8);
  EXPECT_EQ(memory().Lock(pages), kSuccess);
  EXPECT_EQ(memory().Unlock(Part(pages, 2, 3)), kSuccess);
  EXPECT_TRUE(AreLocked(Part(pages, 0, 2)));
  EXPECT_FALSE(AreLocked(Part(pages, 2, 3)));
  EXPECT_TRUE(AreLocked(Part(pages, 5, 3)));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, LockOverAHoleLocksThePartBeforeItWithoutReadingItIn) {
  const PageRange pages = Map(6);
  ASSERT_EQ(memory().Unmap(Part(pages, 3, 1)), kSuccess);
  EXPECT_EQ(memory().Lock(pages), Errno(ENOMEM));
  EXPECT_TRUE(AreLocked(Part(pages, 0, 3)));
  EXPECT_EQ(Present(Part(pages, 0, 3)), 0u);
  EXPECT_FALSE(AreLocked(Part(pages, 4, 2)));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, LockOfAHoleLocksNothing) {
  const PageRange pages = Map(4);
  ASSERT_EQ(memory().Unmap(Part(pages, 0, 2)), kSuccess);
  EXPECT_EQ(memory().Lock(Part(pages, 0, 1)), Errno(ENOMEM));
  EXPECT_EQ(memory().Lock(pages), Errno(ENOMEM));
  EXPECT_FALSE(AreLocked(Part(pages, 2, 2)));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, LockWithAnInaccessiblePageLocksAllAndStopsReadingInThere) {
  const PageRange pages = Map(6, Access::kNone);
  ASSERT_EQ(memory().Commit(Part(pages, 0, 3)), kSuccess);
  ASSERT_EQ(memory().Commit(Part(pages, 4, 2)), kSuccess);
  EXPECT_EQ(memory().Lock(pages), Errno(ENOMEM));
  EXPECT_TRUE(AreLocked(pages));
  EXPECT_EQ(Present(Part(pages, 0, 3)), 3u);
  EXPECT_EQ(Present(Part(pages, 3, 3)), 0u);
  EXPECT_EQ(memory().Unlock(pages), kSuccess);
  EXPECT_FALSE(AreLocked(pages));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, LockPastTheEndOfAFileLocksAllAndReadsInTheFile) {
  const PageRange pages = subject_->MapFile(PageCount(5), PageCount(2));
  EXPECT_EQ(memory().Lock(pages), Errno(ENOMEM));
  EXPECT_TRUE(AreLocked(pages));
  EXPECT_EQ(Present(Part(pages, 0, 2)), 2u);
  EXPECT_EQ(Present(Part(pages, 2, 3)), 0u);
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, LockOfAFileWithinItsEndSucceeds) {
  const PageRange pages = subject_->MapFile(PageCount(5), PageCount(2));
  EXPECT_EQ(memory().Lock(Part(pages, 0, 2)), kSuccess);
  EXPECT_EQ(Present(Part(pages, 0, 2)), 2u);
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, UnlockOverAHoleUnlocksThePartBeforeIt) {
  const PageRange pages = Map(6);
  ASSERT_EQ(memory().Lock(pages), kSuccess);
  ASSERT_EQ(memory().Unmap(Part(pages, 3, 1)), kSuccess);
  EXPECT_EQ(memory().Unlock(pages), Errno(ENOMEM));
  EXPECT_FALSE(AreLocked(Part(pages, 0, 3)));
  EXPECT_TRUE(AreLocked(Part(pages, 4, 2)));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, ARangeThatWrapsIsInvalid) {
  const PageRange pages(PageNumber(SIZE_MAX / memory().page_size()), PageCount(2));
  EXPECT_EQ(memory().Lock(pages), Errno(EINVAL));
  EXPECT_EQ(memory().Unlock(pages), Errno(EINVAL));
  EXPECT_EQ(memory().Unmap(pages), Errno(EINVAL));
  EXPECT_EQ(memory().Populate(pages), Errno(EINVAL));
  EXPECT_EQ(memory().PopulateForWriting(pages), Errno(EINVAL));
  EXPECT_EQ(memory().ReserveBlocks(pages), Errno(ENOMEM));
  EXPECT_FALSE(*memory().AllLocked(pages));
  EXPECT_EQ(memory().CountPresent(pages).error(), Errno(EINVAL));
}

TEST_P(MemoryContract, PagesThatAreNotPresentNeedMemory) {
  const PageRange pages = Map(6);
  EXPECT_EQ(memory().CountNeedingMemory(pages).value(), PageCount(6));
  ASSERT_EQ(memory().Lock(Part(pages, 1, 2)), kSuccess);
  EXPECT_EQ(memory().CountNeedingMemory(pages).value(), PageCount(4));
  ASSERT_EQ(memory().Unmap(Part(pages, 4, 1)), kSuccess);
  EXPECT_EQ(memory().CountNeedingMemory(pages).error(), Errno(ENOMEM));
  EXPECT_EQ(memory().CountNeedingMemory(Part(pages, 0, 0)).value(), PageCount(0));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, CommitMakesReservedPagesUsable) {
  const PageRange pages = Map(4, Access::kNone);
  EXPECT_FALSE(MappingAt(pages.begin()).accessible());
  EXPECT_EQ(memory().Populate(pages), Errno(EINVAL));
  EXPECT_EQ(memory().Commit(Part(pages, 1, 2)), kSuccess);
  EXPECT_EQ(MappingAt(Part(pages, 1, 1).begin()).pages, Part(pages, 1, 2));
  EXPECT_TRUE(MappingAt(Part(pages, 1, 1).begin()).writable);
  EXPECT_EQ(memory().Lock(Part(pages, 1, 2)), kSuccess);
  EXPECT_EQ(Present(pages), 2u);
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
  EXPECT_EQ(memory().Commit(Part(pages, 0, 1)), Errno(ENOMEM));
}

// Whether the machine has any is not said here: tests/conformance/mpool_hugetlb_test sets some aside.
TEST_P(MemoryContract, HugePagesComeWholeOrNotAtAll) {
  const uint64_t huge = Memory::kHugePageBytes / memory().page_size();
  const Result<PageRange> mapped =
      memory().Map(PageCount(2 * huge), Access::kNone, Memory::Fork::kOmit, PageCount(huge));
  ASSERT_TRUE(mapped.ok());
  EXPECT_EQ(memory().CommitHugePages(Part(*mapped, 0, huge - 1)), Errno(EINVAL));
  EXPECT_EQ(memory().CommitHugePages(Part(*mapped, 1, huge)), Errno(EINVAL));
  const PageRange first = Part(*mapped, 0, huge);
  if (const Errno error = memory().CommitHugePages(first); error.ok()) {
    EXPECT_TRUE(MappingAt(first.begin()).writable);
    EXPECT_EQ(memory().DecommitHugePages(first), kSuccess);
  } else {
    EXPECT_EQ(error, Errno(ENOMEM));
  }
  EXPECT_EQ(memory().CheckMapped(*mapped), kSuccess);
  EXPECT_FALSE(MappingAt(first.begin()).accessible());
  EXPECT_EQ(memory().Unmap(*mapped), kSuccess);
}

TEST_P(MemoryContract, DecommitGivesMemoryAndLocksBack) {
  const PageRange pages = Map(4, Access::kNone);
  ASSERT_EQ(memory().Commit(pages), kSuccess);
  ASSERT_EQ(memory().Lock(Part(pages, 0, 2)), kSuccess);
  ASSERT_EQ(memory().Populate(Part(pages, 2, 2)), kSuccess);
  ASSERT_EQ(Present(pages), 4u);
  EXPECT_EQ(memory().Decommit(Part(pages, 1, 2)), kSuccess);
  EXPECT_TRUE(AreLocked(Part(pages, 0, 1)));
  EXPECT_FALSE(AreLocked(Part(pages, 1, 3)));
  EXPECT_EQ(Present(Part(pages, 1, 2)), 0u);
  EXPECT_FALSE(MappingAt(Part(pages, 1, 1).begin()).accessible());
  EXPECT_EQ(memory().Commit(Part(pages, 1, 2)), kSuccess);
  EXPECT_EQ(memory().Populate(Part(pages, 1, 2)), kSuccess);
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
  EXPECT_EQ(memory().Decommit(pages), Errno(ENOMEM));
}

TEST_P(MemoryContract, CheckMappedFindsAHoleAndChangesNothing) {
  const PageRange pages = Map(5);
  EXPECT_EQ(memory().CheckMapped(pages), kSuccess);
  EXPECT_EQ(memory().Unmap(Part(pages, 2, 1)), kSuccess);
  EXPECT_EQ(memory().Lock(Part(pages, 3, 2)), kSuccess);
  EXPECT_EQ(memory().CheckMapped(pages), Errno(ENOMEM));
  EXPECT_EQ(memory().CheckMapped(Part(pages, 2, 1)), Errno(ENOMEM));
  EXPECT_EQ(memory().CheckMapped(Part(pages, 0, 2)), kSuccess);
  EXPECT_EQ(memory().CheckMapped(Part(pages, 3, 2)), kSuccess);
  EXPECT_FALSE(AreLocked(Part(pages, 0, 2)));
  EXPECT_TRUE(AreLocked(Part(pages, 3, 2)));
  EXPECT_EQ(Present(Part(pages, 0, 2)), 0u);
}

// ---- The lock limit. The body may run in a child.

TEST_P(MemoryContract, CheckLockLimitIsExact) {
  subject_->RunUnprivileged([this] {
    const PageRange pages = Map(8);
    subject_->SetLockLimit(PageCount(8));
    for (uint64_t held = 0; held <= 8; ++held) {
      ASSERT_EQ(memory().Lock(Part(pages, 0, held)), kSuccess);
      for (uint64_t more = 0; more <= 10; ++more) {
        EXPECT_EQ(memory().CheckLockLimit(PageCount(more)),
                  more <= 8 - held ? kSuccess : Errno(ENOMEM))
            << more << " on top of " << held;
      }
    }
    const uint64_t wraps = SIZE_MAX / memory().page_size() + 1;
    for (const uint64_t more : {wraps - 1, wraps, wraps + 1, UINT64_MAX}) {
      EXPECT_EQ(memory().CheckLockLimit(PageCount(more)), Errno(ENOMEM)) << more;
    }
    EXPECT_EQ(memory().Unlock(pages), kSuccess);
    EXPECT_EQ(memory().CheckLockLimit(PageCount(8)), kSuccess);
  });
}

TEST_P(MemoryContract, LockBeyondTheLimitTouchesNothing) {
  subject_->RunUnprivileged([this] {
    const PageRange pages = Map(9);
    subject_->SetLockLimit(PageCount(8));
    EXPECT_EQ(memory().Lock(pages), Errno(ENOMEM));
    EXPECT_FALSE(AreLocked(pages));
    EXPECT_EQ(Present(pages), 0u);
    EXPECT_EQ(memory().Lock(Part(pages, 0, 8)), kSuccess);
    EXPECT_EQ(memory().Lock(Part(pages, 2, 6)), kSuccess);  // not charged a second time
    EXPECT_EQ(memory().Lock(Part(pages, 8, 1)), Errno(ENOMEM));
    EXPECT_EQ(memory().Lock(pages), Errno(ENOMEM));
    EXPECT_FALSE(IsLocked(Part(pages, 8, 1).begin()));
  });
}

TEST_P(MemoryContract, HalfDoneLocksAreCharged) {
  subject_->RunUnprivileged([this] {
    const PageRange hole = Map(6);
    const PageRange none = Map(4, Access::kNone);
    const PageRange file = subject_->MapFile(PageCount(3), PageCount(1));
    ASSERT_EQ(memory().Unmap(Part(hole, 3, 1)), kSuccess);
    subject_->SetLockLimit(PageCount(16));
    const auto expect_left = [this](uint64_t pages) {
      EXPECT_EQ(memory().CheckLockLimit(PageCount(pages)), kSuccess) << pages;
      EXPECT_EQ(memory().CheckLockLimit(PageCount(pages + 1)), Errno(ENOMEM)) << pages;
    };
    expect_left(16);
    EXPECT_NE(memory().Lock(hole), kSuccess);
    expect_left(13);
    EXPECT_NE(memory().Lock(none), kSuccess);
    expect_left(9);
    EXPECT_NE(memory().Lock(file), kSuccess);
    expect_left(6);
    EXPECT_NE(memory().Unlock(hole), kSuccess);
    expect_left(9);
    EXPECT_EQ(memory().Unmap(file), kSuccess);
    expect_left(12);
    EXPECT_EQ(memory().Decommit(Part(none, 0, 1)), kSuccess);
    expect_left(13);
    EXPECT_EQ(memory().Unlock(none), kSuccess);
    expect_left(16);
  });
}

TEST_P(MemoryContract, WithoutALimitToSpeakOfLockIsForbidden) {
  subject_->RunUnprivileged([this] {
    const PageRange pages = Map(4);
    ASSERT_EQ(memory().Lock(Part(pages, 0, 2)), kSuccess);
    subject_->SetLockLimit(PageCount(0));
    EXPECT_EQ(memory().CheckLockLimit(PageCount(1)), Errno(EPERM));
    EXPECT_EQ(memory().Lock(Part(pages, 2, 1)), Errno(EPERM));
    EXPECT_EQ(memory().Lock(Part(pages, 0, 2)), Errno(EPERM));  // nested
    EXPECT_TRUE(AreLocked(Part(pages, 0, 2)));
    EXPECT_EQ(memory().Unlock(pages), kSuccess);
    EXPECT_FALSE(AreLocked(pages));
  });
}

}  // namespace
}  // namespace os
