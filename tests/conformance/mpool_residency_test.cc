// mpool(3): whatever the pool hands out is locked and present, under any lock limit.

#include <algorithm>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/mpool.h"
#include "os/fault_count.h"
#include "pinlock/mpin.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/test_file.h"
#include "tests/support/test_pool.h"

namespace {

using test_support::AllResident;
using test_support::CanPinAll;
using test_support::ChangePage;
using test_support::FailsWith;
using test_support::Filled;
using test_support::KernelEvidence;
using test_support::Limited;
using test_support::LockedBytes;
using test_support::OpenPool;
using test_support::PageIn;
using test_support::Pool;
using test_support::RunInChild;
using test_support::StatOf;
using test_support::TestFile;

constexpr pgno_t kPageSize = 4096;
constexpr uint64_t kKiB = 1024, kMiB = 1024 * kKiB;

// A page-sized page of a sparse file holds its number in its first bytes.
void NumberPages(TestFile& file, pgno_t pages) {
  file.Resize(uint64_t{pages} * kPageSize);
  for (pgno_t page = 0; page < pages; ++page) {
    file.Write(uint64_t{page} * kPageSize, {reinterpret_cast<const char*>(&page), sizeof(page)});
  }
}

pgno_t NumberIn(const void* page) {
  pgno_t number = 0;
  std::memcpy(&number, page, sizeof(number));
  return number;
}

os::PageRange RangeOf(const void* begin, size_t bytes) {
  return *os::PageRange::Covering(reinterpret_cast<uintptr_t>(begin), bytes, 4096);
}

testing::AssertionResult IsLockedAndPresent(const void* begin, size_t bytes) {
  const os::PageRange range = RangeOf(begin, bytes);
  const KernelEvidence evidence = KernelEvidence::Of(range);
  if (!evidence.Locks(range)) return testing::AssertionFailure() << "not locked: " << evidence;
  if (!AllResident(range)) return testing::AssertionFailure() << "not resident";
  return testing::AssertionSuccess();
}

uint64_t PagesPinned() {
  mpin_stat stat{};
  EXPECT_EQ(mpin_get_stat(&stat, sizeof(stat)), 0);
  return stat.pages_locked;
}

TEST(MpoolResidency, EveryPageIsLockedAndPresentWhenItIsHandedOut) {
  TestFile file;
  NumberPages(file, 64);
  const Pool pool = OpenPool(file, kPageSize, 16);
  for (int round = 0; round < 2; ++round) {
    for (pgno_t page = 0; page < 64; ++page) {
      void* bytes = mpool_get(pool.get(), page, 0);
      ASSERT_NE(bytes, nullptr);
      ASSERT_TRUE(IsLockedAndPresent(bytes, kPageSize)) << page;
      ASSERT_EQ(mpool_put(pool.get(), bytes, 0), 0);
    }
  }
  pgno_t page = 0;
  void* made = mpool_new(pool.get(), &page, 0);
  EXPECT_TRUE(IsLockedAndPresent(made, kPageSize));
}

TEST(MpoolResidency, GrowthFramesAreLockedLikeAllOthersAndNoLongerOnceTheyAreBack) {
  TestFile file;
  NumberPages(file, 15);
  const Pool pool = OpenPool(file, kPageSize, 2);
  std::vector<void*> pages;
  const uint64_t before = LockedBytes();
  for (pgno_t page = 0; page < 12; ++page) {
    pages.push_back(mpool_get(pool.get(), page, 0));
    ASSERT_NE(pages.back(), nullptr);
    EXPECT_TRUE(IsLockedAndPresent(pages.back(), kPageSize));
  }
  EXPECT_GE(LockedBytes(), before + 10 * kPageSize);
  for (void* page : pages) EXPECT_EQ(mpool_put(pool.get(), page, 0), 0);
  for (const pgno_t page : {12u, 13u, 14u}) (void)PageIn(pool, page);
  EXPECT_EQ(StatOf(pool).frames, 2u);
  EXPECT_LE(LockedBytes(), before + 2 * kPageSize);  // the table has grown
}

TEST(MpoolResidency, TheBookkeepingIsLockedToo) {
  TestFile file;
  NumberPages(file, 64);
  const uint64_t before = PagesPinned();
  const Pool pool = OpenPool(file, kPageSize, 64);
  for (pgno_t page = 0; page < 64; ++page) (void)PageIn(pool, page);
  EXPECT_TRUE(IsLockedAndPresent(pool.get(), sizeof(MPOOL)));
  EXPECT_GT(PagesPinned() - before, 64u);       // more than the frames
  EXPECT_LE(PagesPinned() - before, 64u + 16);  // but little
}

TEST(MpoolResidency, GettingACachedPageNeitherFaultsNorWaits) {
  TestFile file;
  NumberPages(file, 512);
  const Pool pool = OpenPool(file, kPageSize, 512);
  for (pgno_t page = 0; page < 512; ++page) (void)PageIn(pool, page);
  uint64_t right = 0;
  // Once without counting, so that code and stack have been touched.
  os::FaultCount before, after;
  for (int round = 0; round < 2; ++round) {
    std::minstd_rand random(1);
    before = os::FaultCount::OfThisThread();
    for (int i = 0; i < 200'000; ++i) {
      const pgno_t page = static_cast<pgno_t>(random() % 512);
      void* bytes = mpool_get(pool.get(), page, 0);
      if (NumberIn(bytes) == page) ++right;
      mpool_put(pool.get(), bytes, i % 8 == 0 ? MPOOL_DIRTY : 0);
    }
    after = os::FaultCount::OfThisThread();
  }
  EXPECT_EQ(right, 400'000u);
  EXPECT_EQ((after - before).minor, 0u);
  EXPECT_EQ((after - before).major, 0u);
}

TEST(MpoolResidency, ClosingLeavesTheLocksExactlyAsTheyWere) {
  TestFile file;
  NumberPages(file, 40);
  const uint64_t pinned = PagesPinned(), locked = LockedBytes();
  for (const pgno_t size : {1u, 3u, 1000u, 4096u, 5000u, 65536u}) {
    const Pool pool = OpenPool(file, size, 7);
    std::vector<void*> pages;
    for (pgno_t page = 0; page < std::min<pgno_t>(pool->npages, 20); ++page) {
      pages.push_back(mpool_get(pool.get(), page, 0));
      ASSERT_NE(pages.back(), nullptr);
    }
    if (pages.size() > 2) {
      EXPECT_EQ(mpool_put(pool.get(), pages[1], MPOOL_DIRTY), 0);
    }
    EXPECT_GT(LockedBytes(), locked);
    EXPECT_EQ(LockedBytes() - locked, (PagesPinned() - pinned) * 4096);
  }
  EXPECT_EQ(PagesPinned(), pinned);
  EXPECT_EQ(LockedBytes(), locked);
}

TEST(MpoolResidency, APoolOf65536PagesWorksUnderALimitOf8MiB) {
  RunInChild(Limited(8 * kMiB), [] {
    constexpr pgno_t kPages = 6000;
    TestFile file;
    NumberPages(file, kPages);
    const Pool pool = OpenPool(file, kPageSize, 65'536);
    std::set<const void*> seen;
    for (pgno_t page = 0; page < kPages; ++page) {
      void* bytes = mpool_get(pool.get(), page, 0);
      ASSERT_NE(bytes, nullptr) << mpool_error();
      ASSERT_EQ(NumberIn(bytes), page);
      if (seen.insert(bytes).second) {
        ASSERT_TRUE(AllResident(RangeOf(bytes, kPageSize))) << page;
      }
      ASSERT_EQ(mpool_put(pool.get(), bytes, 0), 0);
    }
    for (const void* bytes : seen) ASSERT_TRUE(AllResident(RangeOf(bytes, kPageSize)));
    // The frames are all locked, and take most of the limit.
    EXPECT_EQ(StatOf(pool).frames_locked, StatOf(pool).frames);
    EXPECT_GT(StatOf(pool).frames * kPageSize, 7 * kMiB);
    const uint64_t frames_begin = reinterpret_cast<uintptr_t>(*seen.begin());
    EXPECT_TRUE(
        IsLockedAndPresent(reinterpret_cast<void*>(frames_begin), StatOf(pool).frames * kPageSize));
    EXPECT_GT(StatOf(pool).evictions, 0u);
  });
}

TEST(MpoolResidency, MetadataAndFramesFitALimitOf4MiBWith64PagesCached) {
  RunInChild(Limited(4 * kMiB), [] {
    TestFile file;
    NumberPages(file, 64);
    const Pool pool = OpenPool(file, kPageSize, 64);
    EXPECT_TRUE(CanPinAll(pool, 64));
    EXPECT_EQ(pool->curcache, 64u);
    EXPECT_EQ(StatOf(pool).frames_overflow, 0u);
    EXPECT_LT(LockedBytes(), kMiB);
  });
}

TEST(MpoolResidency, APoolWorksUnderALimitOf64KiB) {
  RunInChild(Limited(64 * kKiB), [] {
    TestFile file;
    NumberPages(file, 100);
    const Pool pool = OpenPool(file, kPageSize, 64);
    for (pgno_t page = 0; page < 100; ++page) {
      void* bytes = mpool_get(pool.get(), page, 0);
      ASSERT_NE(bytes, nullptr) << mpool_error();
      EXPECT_EQ(NumberIn(bytes), page);
      EXPECT_EQ(mpool_put(pool.get(), bytes, 0), 0);
    }
    EXPECT_GE(StatOf(pool).frames, 8u);
  });
}

TEST(MpoolResidency, APageLargerThanTheLimitIsENOMEMAtOpenAndLeavesNothingLocked) {
  RunInChild(Limited(kMiB), [] {
    TestFile file;
    file.Resize(4 * kMiB);
    EXPECT_TRUE(FailsWith(ENOMEM, mpool_open(nullptr, file.fd(), 2 * kMiB, 1)));
    EXPECT_NE(std::string(mpool_error()).find("RLIMIT_MEMLOCK"), std::string::npos)
        << mpool_error();
    EXPECT_EQ(LockedBytes(), 0u);
    const Pool pool = OpenPool(file, 512 * kKiB, 1);
    EXPECT_EQ(PageIn(pool, 7), std::string(512 * kKiB, '\0'));
  });
}

// One frame more than the limit allows is the page put last: with nothing else to take, that goes.
TEST(MpoolResidency, ASingleLockedFrameIsEnough) {
  RunInChild(Limited(4 * 4096), [] {
    TestFile file;
    NumberPages(file, 5);
    const Pool pool = OpenPool(file, kPageSize, 64);
    for (pgno_t page = 0; page < 5; ++page) {
      void* bytes = mpool_get(pool.get(), page, 0);
      ASSERT_NE(bytes, nullptr) << mpool_error();
      EXPECT_EQ(NumberIn(bytes), page);
      EXPECT_EQ(mpool_put(pool.get(), bytes, MPOOL_DIRTY), 0);
    }
    EXPECT_EQ(StatOf(pool).frames, 1u);
  });
}

// Pins the pages [0, count) until no more can be had, and returns them.
std::vector<void*> PinUntilRefused(const Pool& pool, pgno_t count) {
  std::vector<void*> pages;
  for (pgno_t page = 0; page < count; ++page) {
    void* bytes = mpool_get(pool.get(), page, 0);
    if (bytes == nullptr) break;
    pages.push_back(bytes);
  }
  return pages;
}

TEST(MpoolResidency, WhereEveryPageIsPinnedAndTheLimitAllowsNoMoreGetAndNewAreENOMEM) {
  RunInChild(Limited(kMiB), [] {
    TestFile file;
    NumberPages(file, 400);
    const Pool pool = OpenPool(file, kPageSize, 16);
    const std::vector<void*> pages = PinUntilRefused(pool, 400);
    const pgno_t pinned = static_cast<pgno_t>(pages.size());
    ASSERT_GT(pinned, 200u);
    ASSERT_LT(pinned, 256u);
    EXPECT_TRUE(FailsWith(ENOMEM, mpool_get(pool.get(), 399, 0)));
    EXPECT_NE(std::string(mpool_error()).find("RLIMIT_MEMLOCK"), std::string::npos)
        << mpool_error();
    pgno_t made = 0;
    EXPECT_TRUE(FailsWith(ENOMEM, mpool_new(pool.get(), &made, 0)));
    EXPECT_EQ(pool->npages, 400u);
    EXPECT_EQ(StatOf(pool).frames_locked, StatOf(pool).frames);
    EXPECT_EQ(StatOf(pool).pins, pinned);
    EXPECT_EQ(mpool_put(pool.get(), pages[100], 0), 0);
    void* other = mpool_get(pool.get(), 399, 0);
    ASSERT_NE(other, nullptr) << mpool_error();
    EXPECT_TRUE(IsLockedAndPresent(other, kPageSize));
  });
}

TEST(MpoolResidency, WithOverflowUnlockedItGoesOnAndTheStatisticsTell) {
  RunInChild(Limited(kMiB), [] {
    TestFile file;
    NumberPages(file, 403);
    const Pool pool = OpenPool(file, kPageSize, 16);
    ASSERT_EQ(mpool_set_overflow(pool.get(), MPOOL_OVERFLOW_UNLOCKED), 0);
    const std::vector<void*> pages = PinUntilRefused(pool, 400);
    ASSERT_EQ(pages.size(), 400u);
    for (pgno_t page = 0; page < 400; ++page) EXPECT_EQ(NumberIn(pages[page]), page);
    const struct mpool_stat stat = StatOf(pool);
    EXPECT_EQ(stat.frames, 400u);
    EXPECT_EQ(stat.frames_overflow, 384u);
    EXPECT_GT(stat.frames - stat.frames_locked, 144u);
    EXPECT_LT(stat.frames - stat.frames_locked, 200u);
    for (void* bytes : pages) EXPECT_EQ(mpool_put(pool.get(), bytes, MPOOL_DIRTY), 0);
    EXPECT_EQ(mpool_set_overflow(pool.get(), MPOOL_OVERFLOW_FAIL), 0);
    for (const pgno_t page : {400u, 401u, 402u}) (void)PageIn(pool, page);
    EXPECT_EQ(StatOf(pool).frames, 16u);  // all growth frames are back
    EXPECT_EQ(StatOf(pool).frames_locked, 16u);
  });
}

TEST(MpoolResidency, APageThatThePoolCouldNotLockIsNotHandedOutByDefault) {
  RunInChild(Limited(256 * kKiB), [] {
    TestFile file;
    NumberPages(file, 100);
    const Pool pool = OpenPool(file, kPageSize, 1000);
    const std::vector<void*> pages = PinUntilRefused(pool, 100);
    EXPECT_LT(pages.size(), 64u);
    for (void* bytes : pages) EXPECT_TRUE(IsLockedAndPresent(bytes, kPageSize));
    EXPECT_EQ(StatOf(pool).frames_locked, StatOf(pool).frames);
  });
}

}  // namespace
