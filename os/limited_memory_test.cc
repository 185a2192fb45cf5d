#include "os/limited_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "os/fake_memory.h"
#include "os/memory.h"
#include "tests/support/child.h"

namespace os::testing {
namespace {

using Access = Memory::Access;
using Fork = Memory::Fork;

// On pages that lead nowhere: what is locked, and what the limit says.
class LimitedMemoryTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kPages = 16;

  LimitedMemoryTest() : pages_(*fake_.Map(PageCount(kPages), Access::kReadWrite, Fork::kInherit)) {}

  PageRange Range(uint64_t first, uint64_t count) const {
    return PageRange(pages_.begin() + PageCount(first), PageCount(count));
  }
  // The numbers of the pages that count as locked.
  std::vector<uint64_t> Locked() const {
    std::vector<uint64_t> locked;
    for (uint64_t page = 0; page < kPages; ++page) {
      if (*memory_.AllLocked(Range(page, 1))) locked.push_back(page);
    }
    EXPECT_EQ(memory_.locked_bytes(), locked.size() * fake_.page_size());
    return locked;
  }
  uint64_t Bytes(uint64_t pages) const { return pages * fake_.page_size(); }

  FakeMemory fake_;
  const PageRange pages_;
  LimitedMemory memory_{fake_, 8 * 4096};
};

TEST_F(LimitedMemoryTest, LocksWithoutTheMemoryBeneath) {
  EXPECT_EQ(memory_.Lock(Range(1, 2)), kSuccess);
  EXPECT_EQ(Locked(), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(fake_.CountPresent(Range(1, 2)).value(), PageCount(2));
  EXPECT_FALSE(fake_.AllLocked(Range(1, 2)).value());
  EXPECT_EQ(memory_.Unlock(Range(1, 2)), kSuccess);
  EXPECT_EQ(Locked(), std::vector<uint64_t>());
}

TEST_F(LimitedMemoryTest, LocksDoNotNestAndCountOnce) {
  EXPECT_EQ(memory_.Lock(Range(0, 8)), kSuccess);
  EXPECT_EQ(memory_.Lock(Range(4, 4)), kSuccess) << "locked already, so no more than the limit";
  EXPECT_EQ(memory_.Unlock(Range(4, 4)), kSuccess);
  EXPECT_EQ(Locked(), (std::vector<uint64_t>{0, 1, 2, 3}));
}

TEST_F(LimitedMemoryTest, EverySequenceOfThreeCallsLeavesWhatAListOfPagesSays) {
  constexpr uint64_t kFew = 4;
  std::vector<std::pair<bool, PageRange>> calls;
  for (uint64_t first = 0; first < kFew; ++first) {
    for (uint64_t count = 1; first + count <= kFew; ++count) {
      calls.emplace_back(true, Range(first, count));
      calls.emplace_back(false, Range(first, count));
    }
  }
  for (size_t i = 0; i < calls.size() * calls.size() * calls.size(); ++i) {
    LimitedMemory memory(fake_, Bytes(kFew));
    std::vector<bool> model(kFew);
    size_t rest = i;
    for (int step = 0; step < 3; ++step, rest /= calls.size()) {
      const auto [lock, range] = calls[rest % calls.size()];
      ASSERT_EQ(lock ? memory.Lock(range) : memory.Unlock(range), kSuccess);
      for (uint64_t page = 0; page < kFew; ++page) {
        if (range.contains(Range(page, 1).begin())) model[page] = lock;
      }
    }
    uint64_t locked = 0;
    for (uint64_t page = 0; page < kFew; ++page) {
      ASSERT_EQ(memory.AllLocked(Range(page, 1)).value(), model[page]) << "sequence " << i;
      if (model[page]) ++locked;
    }
    ASSERT_EQ(memory.locked_bytes(), Bytes(locked));
    ASSERT_EQ(memory.AllLocked(Range(0, kFew)).value(), locked == kFew);
  }
}

TEST_F(LimitedMemoryTest, BeyondTheLimitNothingChanges) {
  EXPECT_EQ(memory_.Lock(Range(0, 5)), kSuccess);
  EXPECT_EQ(memory_.Lock(Range(8, 4)), Errno(ENOMEM));
  EXPECT_EQ(Locked(), (std::vector<uint64_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(fake_.CountPresent(Range(8, 4)).value(), PageCount(0));
  EXPECT_EQ(memory_.CheckLockLimit(PageCount(3)), kSuccess);
  EXPECT_EQ(memory_.CheckLockLimit(PageCount(4)), Errno(ENOMEM));
  EXPECT_EQ(memory_.CheckLockLimit(PageCount(~uint64_t{0} >> 12)), Errno(ENOMEM));
  EXPECT_EQ(memory_.Lock(Range(8, 3)), kSuccess);
}

TEST_F(LimitedMemoryTest, APartOfAPageIsNoPage) {
  LimitedMemory memory(fake_, 4095);
  EXPECT_EQ(memory.Lock(Range(0, 1)), Errno(ENOMEM));
}

TEST_F(LimitedMemoryTest, ALimitOfZeroForbidsAllLocksAndNoUnlock) {
  EXPECT_EQ(memory_.Lock(Range(0, 2)), kSuccess);
  memory_.SetLimit(0);
  EXPECT_EQ(memory_.limit_bytes(), 0u);
  EXPECT_EQ(memory_.Lock(Range(0, 1)), Errno(EPERM)) << "a nested one, too";
  EXPECT_EQ(memory_.CheckLockLimit(PageCount(1)), Errno(EPERM));
  EXPECT_EQ(memory_.CheckLockLimit(PageCount(0)), kSuccess);
  EXPECT_EQ(memory_.Lock(Range(0, 0)), kSuccess);
  EXPECT_EQ(Locked(), (std::vector<uint64_t>{0, 1}));
  EXPECT_EQ(memory_.Unlock(Range(0, 2)), kSuccess);
}

TEST_F(LimitedMemoryTest, WhatCannotBeResidentIsNotLocked) {
  ASSERT_EQ(fake_.Unmap(Range(2, 1)), kSuccess);
  EXPECT_EQ(memory_.Lock(Range(0, 4)), Errno(ENOMEM));
  EXPECT_EQ(Locked(), std::vector<uint64_t>());
  const PageRange reserved = *fake_.Map(PageCount(1), Access::kNone, Fork::kInherit);
  EXPECT_EQ(memory_.Lock(reserved), Errno(ENOMEM));
}

TEST_F(LimitedMemoryTest, UnlockStopsAtAHole) {
  ASSERT_EQ(memory_.Lock(Range(0, 6)), kSuccess);
  ASSERT_EQ(fake_.Unmap(Range(2, 1)), kSuccess);
  EXPECT_EQ(memory_.Unlock(Range(0, 6)), Errno(ENOMEM));
  EXPECT_FALSE(memory_.AllLocked(Range(0, 1)).value());
  EXPECT_FALSE(memory_.AllLocked(Range(2, 1)).value()) << "it is not mapped";
  EXPECT_TRUE(memory_.AllLocked(Range(3, 3)).value());
}

TEST_F(LimitedMemoryTest, UnmappedAndDecommittedPagesAreNotLocked) {
  ASSERT_EQ(memory_.Lock(Range(0, 6)), kSuccess);
  EXPECT_EQ(memory_.Unmap(Range(1, 1)), kSuccess);
  EXPECT_EQ(memory_.Decommit(Range(4, 1)), kSuccess);
  EXPECT_EQ(Locked(), (std::vector<uint64_t>{0, 2, 3, 5}));
}

TEST_F(LimitedMemoryTest, LockedPagesAreNotPagedOut) {
  ASSERT_EQ(memory_.Lock(Range(0, 2)), kSuccess);
  EXPECT_EQ(memory_.PageOut(Range(1, 2)), Errno(EINVAL));
  EXPECT_EQ(memory_.PageOut(Range(2, 2)), kSuccess);
}

TEST_F(LimitedMemoryTest, MappingsEndWhereLocksDo) {
  ASSERT_EQ(memory_.Lock(Range(3, 2)), kSuccess);
  ASSERT_EQ(memory_.Lock(Range(8, 1)), kSuccess);
  std::vector<PageRange> pieces;
  for (PageNumber page = pages_.begin(); page < pages_.end();) {
    pieces.push_back((*memory_.MappingAt(page))->pages);
    page = pieces.back().end();
  }
  EXPECT_EQ(pieces, (std::vector<PageRange>{Range(0, 3), Range(3, 2), Range(5, 3), Range(8, 1),
                                            Range(9, kPages - 9)}));
  EXPECT_EQ((*memory_.MappingAt(Range(4, 1).begin()))->pages, Range(3, 2));
}

TEST_F(LimitedMemoryTest, APieceOfAFileKeepsItsPlaceInTheFile) {
  const PageRange pages = *fake_.Map(PageCount(4), Access::kReadWrite, Fork::kInherit);
  fake_.AddFileMapping(pages, PageCount(4));
  ASSERT_EQ(memory_.Lock(PageRange(pages.begin() + PageCount(2), PageCount(1))), kSuccess);
  EXPECT_EQ((*memory_.MappingAt(pages.begin() + PageCount(3)))->file_offset, Bytes(3));
}

TEST_F(LimitedMemoryTest, ThreadsShareTheLimit) {
  std::atomic<uint64_t> granted{0};
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (uint64_t page = i * 4; page < i * 4 + 4; ++page) {
        if (memory_.Lock(Range(page, 1)).ok()) ++granted;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(granted, 8u);
  EXPECT_EQ(memory_.locked_bytes(), Bytes(8));
}

TEST_F(LimitedMemoryTest, AChildHasTheLimitButNoLocks) {
  ASSERT_EQ(memory_.Lock(Range(0, 8)), kSuccess);
  test_support::RunInChild([&] {
    EXPECT_EQ(memory_.locked_bytes(), 0u);
    EXPECT_EQ(memory_.Lock(Range(8, 8)), kSuccess);
    EXPECT_EQ(memory_.Lock(Range(0, 1)), Errno(ENOMEM));
  });
  EXPECT_EQ(memory_.locked_bytes(), Bytes(8));
}

TEST(LimitedMemoryOnTheKernel, MakesPagesResidentAndDoesNotLockThem) {
  Memory& kernel = RealMemory();
  const size_t page_size = kernel.page_size();
  const PageRange pages = *kernel.Map(PageCount(4), Access::kReadWrite, Fork::kInherit);
  (void)madvise(pages.address(page_size), pages.bytes(page_size), MADV_NOHUGEPAGE);
  LimitedMemory memory(kernel, 2 * page_size);
  const PageRange two(pages.begin(), PageCount(2));
  ASSERT_EQ(kernel.CountPresent(pages).value(), PageCount(0));
  EXPECT_EQ(memory.Lock(two), kSuccess);
  EXPECT_EQ(kernel.CountPresent(pages).value(), PageCount(2));
  EXPECT_TRUE(memory.AllLocked(two).value());
  EXPECT_FALSE(kernel.AllLocked(two).value());
  EXPECT_EQ(memory.Unlock(two), kSuccess);
  EXPECT_EQ(memory.Lock(pages), Errno(ENOMEM));
  // A page that is only read, and one that nobody may touch.
  ASSERT_EQ(mprotect(pages.address(page_size), page_size, PROT_READ), 0);
  EXPECT_EQ(memory.Lock(two), kSuccess);
  ASSERT_EQ(mprotect(pages.address(page_size), page_size, PROT_NONE), 0);
  EXPECT_EQ(memory.Lock(two), Errno(ENOMEM));
  EXPECT_EQ(memory.Unmap(pages), kSuccess);
  EXPECT_EQ(memory.locked_bytes(), 0u);
}

}  // namespace
}  // namespace os::testing
