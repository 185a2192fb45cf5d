// mpool(3), sentence by sentence: making and deleting pages, and what is past the end.

#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/mpool.h"
#include "tests/support/test_file.h"
#include "tests/support/test_pool.h"

namespace {

using test_support::CanPinAll;
using test_support::ChangePage;
using test_support::FailsWith;
using test_support::Filled;
using test_support::OpenPool;
using test_support::PageIn;
using test_support::Pool;
using test_support::StatOf;
using test_support::TestFile;

constexpr pgno_t kPageSize = 512;
const std::string kZeros(kPageSize, '\0');

// Makes the page with this number; NULL with errno as of mpool_new().
void* Request(const Pool& pool, pgno_t page) {
  pgno_t number = page;
  void* bytes = mpool_new(pool.get(), &number, MPOOL_PAGE_REQUEST);
  if (bytes != nullptr) {
    EXPECT_EQ(number, page);
  }
  return bytes;
}

std::string TextOf(const void* page) { return {static_cast<const char*>(page), kPageSize}; }

// --- mpool_new ----------------------------------------------------------------------------------

TEST(MpoolNew, NextIsTheNumberOfPagesSoFarAlsoIfTheFlagsAre0) {
  const TestFile file(2, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 4);
  for (const unsigned flags : {0u, unsigned{MPOOL_PAGE_NEXT}, 0u}) {
    const pgno_t expected = pool->npages;
    pgno_t page = 0;
    ASSERT_NE(mpool_new(pool.get(), &page, flags), nullptr);
    EXPECT_EQ(page, expected);
    EXPECT_EQ(pool->npages, expected + 1);
  }
}

TEST(MpoolNew, ThePageIsZeroedAndPinned) {
  const TestFile file(0, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  pgno_t page = 7;
  void* bytes = mpool_new(pool.get(), &page, 0);
  ASSERT_NE(bytes, nullptr);
  EXPECT_EQ(page, 0u);
  EXPECT_EQ(TextOf(bytes), kZeros);
  EXPECT_EQ(StatOf(pool).pins, 1u);
  EXPECT_EQ(mpool_get(pool.get(), 0, 0), bytes);
}

TEST(MpoolNew, ThePageIsZeroedWhereItsFrameHeldAnother) {
  const TestFile file(8, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  for (pgno_t page = 0; page < 8; ++page) (void)PageIn(pool, page);
  for (int i = 0; i < 4; ++i) {
    pgno_t page = 0;
    void* bytes = mpool_new(pool.get(), &page, 0);
    EXPECT_EQ(TextOf(bytes), kZeros);
    std::memset(bytes, 'x', kPageSize);
    EXPECT_EQ(mpool_put(pool.get(), bytes, 0), 0);
  }
  EXPECT_GT(StatOf(pool).evictions, 0u);
}

TEST(MpoolNew, ItIsNotDirtyUntilItIsPutSo) {
  const TestFile file(0, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 4);
  pgno_t page = 0;
  void* bytes = mpool_new(pool.get(), &page, 0);
  EXPECT_EQ(StatOf(pool).dirty, 0u);
  EXPECT_EQ(mpool_put(pool.get(), bytes, 0), 0);
  EXPECT_EQ(mpool_sync(pool.get()), 0);
  EXPECT_EQ(file.size(), 0u);
  EXPECT_EQ(mpool_get(pool.get(), 0, 0), bytes);
  EXPECT_EQ(mpool_put(pool.get(), bytes, MPOOL_DIRTY), 0);
  EXPECT_EQ(mpool_sync(pool.get()), 0);
  EXPECT_EQ(file.size(), kPageSize);
}

TEST(MpoolNew, ANumberOfNextIsNeverUsedTwice) {
  const TestFile file(0, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  std::vector<pgno_t> numbers;
  for (int i = 0; i < 10; ++i) {
    pgno_t page = 0;
    void* bytes = mpool_new(pool.get(), &page, 0);
    numbers.push_back(page);
    if (i % 3 == 0) {
      EXPECT_EQ(mpool_delete(pool.get(), bytes), 0);
    }
    if (i % 3 == 1) {
      EXPECT_EQ(mpool_put(pool.get(), bytes, 0), 0);
    }
    if (i % 3 == 2) {
      EXPECT_EQ(mpool_put(pool.get(), bytes, MPOOL_DIRTY), 0);
    }
  }
  for (pgno_t i = 0; i < 10; ++i) EXPECT_EQ(numbers[i], i);
}

TEST(MpoolNew, RequestTakesTheNumberExactly) {
  const TestFile file(2, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 8);
  void* bytes = Request(pool, 5);
  ASSERT_NE(bytes, nullptr) << mpool_error();
  EXPECT_EQ(TextOf(bytes), kZeros);
  EXPECT_EQ(pool->npages, 6u);  // one more than the number
  ASSERT_NE(Request(pool, 3), nullptr) << mpool_error();
  EXPECT_EQ(pool->npages, 6u);  // as it was
  pgno_t next = 0;
  ASSERT_NE(mpool_new(pool.get(), &next, MPOOL_PAGE_NEXT), nullptr);
  EXPECT_EQ(next, 6u);
}

TEST(MpoolNew, EEXISTIsARequestedPageInTheFileOrInThePool) {
  const TestFile file(2, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 4);
  EXPECT_TRUE(FailsWith(EEXIST, Request(pool, 1)));
  void* bytes = Request(pool, 4);
  EXPECT_TRUE(FailsWith(EEXIST, Request(pool, 4)));
  EXPECT_EQ(mpool_put(pool.get(), bytes, MPOOL_DIRTY), 0);
  EXPECT_TRUE(FailsWith(EEXIST, Request(pool, 4)));
  EXPECT_EQ(mpool_sync(pool.get()), 0);
  EXPECT_TRUE(FailsWith(EEXIST, Request(pool, 3)));  // in the file now, as a hole
  EXPECT_EQ(StatOf(pool).pins, 0u);
  EXPECT_EQ(StatOf(pool).news, 1u);
}

TEST(MpoolNew, EFBIGIsThatThereIsNoHigherPageNumber) {
  const TestFile file(0, 1);
  const Pool pool = OpenPool(file, 1, 4);
  EXPECT_TRUE(FailsWith(EFBIG, Request(pool, 0xffffffff)));
  pgno_t page = 0xfffffffe;
  void* last = mpool_new(pool.get(), &page, MPOOL_PAGE_REQUEST);
  ASSERT_NE(last, nullptr) << mpool_error();
  EXPECT_EQ(page, 0xfffffffeu);
  EXPECT_EQ(pool->npages, 0xffffffffu);
  EXPECT_TRUE(FailsWith(EFBIG, mpool_new(pool.get(), &page, MPOOL_PAGE_NEXT)));
  static_cast<char*>(last)[0] = 'L';
  EXPECT_EQ(mpool_put(pool.get(), last, MPOOL_DIRTY), 0);
  EXPECT_EQ(mpool_sync(pool.get()), 0) << mpool_error();
  EXPECT_EQ(file.size(), 0xffffffffu);
  EXPECT_EQ(file.Read(0xfffffffe, 2), "L");
}

TEST(MpoolNew, OtherFlagsOrNoPointerAreEINVAL) {
  const TestFile file(0, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 1);
  pgno_t page = 0;
  EXPECT_TRUE(FailsWith(EINVAL, mpool_new(pool.get(), &page, 3)));
  EXPECT_TRUE(FailsWith(EINVAL, mpool_new(pool.get(), &page, 4)));
  EXPECT_TRUE(FailsWith(EINVAL, mpool_new(pool.get(), nullptr, 0)));
  EXPECT_EQ(pool->npages, 0u);
}

TEST(MpoolNew, APageThatIsInNeitherFileNorPoolReadsAsAHole) {
  const TestFile file(1, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  void* bytes = Request(pool, 9);
  std::memset(bytes, 'x', kPageSize);
  EXPECT_EQ(mpool_put(pool.get(), bytes, 0), 0);                             // never written
  for (const pgno_t page : {4u, 0u, 5u}) (void)PageIn(pool, page);           // drives it out
  for (const pgno_t page : {9u, 5u}) EXPECT_EQ(PageIn(pool, page), kZeros);  // it, and a gap
}

TEST(MpoolNew, APageBelowAPartialTailTakesItsPlaceOnceItIsWritten) {
  TestFile file(1, kPageSize);
  file.Write(kPageSize, "tail");
  const Pool pool = OpenPool(file, kPageSize, 2);
  pgno_t page = 0;
  void* bytes = mpool_new(pool.get(), &page, 0);
  EXPECT_EQ(page, 1u);
  EXPECT_EQ(mpool_delete(pool.get(), bytes), 0);
  EXPECT_EQ(PageIn(pool, 1), kZeros);  // a tail is no page
  EXPECT_EQ(file.Read(kPageSize, 10), "tail");
  ChangePage(pool, 1, "whole ");
  EXPECT_EQ(mpool_sync(pool.get()), 0);
  EXPECT_EQ(file.Page(1, kPageSize), Filled("whole ", kPageSize));
}

// --- mpool_delete -------------------------------------------------------------------------------

TEST(MpoolDelete, DropsAPageWithoutWritingItAndConsumesThePin) {
  const TestFile file(2, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  ChangePage(pool, 1, "lost ");
  void* bytes = mpool_get(pool.get(), 1, 0);
  EXPECT_EQ(mpool_delete(pool.get(), bytes), 0);
  EXPECT_EQ(StatOf(pool).pins, 0u);
  EXPECT_EQ(StatOf(pool).dirty, 0u);
  EXPECT_EQ(pool->curcache, 0u);
  EXPECT_EQ(mpool_sync(pool.get()), 0);
  EXPECT_EQ(file.Page(1, kPageSize), Filled("1.", kPageSize));
  EXPECT_TRUE(FailsWith(EINVAL, mpool_put(pool.get(), bytes, 0)));
  EXPECT_EQ(PageIn(pool, 1), Filled("1.", kPageSize));  // read anew
}

TEST(MpoolDelete, TheFileIsNotChangedAndItsPageCountStays) {
  const TestFile file(2, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  EXPECT_EQ(mpool_delete(pool.get(), mpool_get(pool.get(), 1, 0)), 0);
  pgno_t page = 0;
  EXPECT_EQ(mpool_delete(pool.get(), mpool_new(pool.get(), &page, 0)), 0);
  EXPECT_EQ(pool->npages, 3u);
  EXPECT_EQ(file.size(), 2 * kPageSize);
  EXPECT_EQ(PageIn(pool, 2), kZeros);  // deleted before it was written: a hole
  EXPECT_EQ(mpool_sync(pool.get()), 0);
  EXPECT_EQ(file.size(), 2 * kPageSize);
}

TEST(MpoolDelete, EBUSYIsAPageThatIsPinnedMoreThanOnce) {
  const TestFile file(1, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 1);
  void* bytes = mpool_get(pool.get(), 0, 0);
  EXPECT_EQ(mpool_get(pool.get(), 0, 0), bytes);
  EXPECT_TRUE(FailsWith(EBUSY, mpool_delete(pool.get(), bytes)));
  EXPECT_EQ(StatOf(pool).pins, 2u);
  EXPECT_EQ(mpool_put(pool.get(), bytes, 0), 0);
  EXPECT_EQ(mpool_delete(pool.get(), bytes), 0);
}

TEST(MpoolDelete, EINVALIsAPageThatIsNotPinned) {
  const TestFile file(1, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 1);
  void* bytes = mpool_get(pool.get(), 0, 0);
  EXPECT_EQ(mpool_put(pool.get(), bytes, 0), 0);
  EXPECT_TRUE(FailsWith(EINVAL, mpool_delete(pool.get(), bytes)));
  EXPECT_EQ(mpool_get(pool.get(), 0, 0), bytes);  // still there
}

TEST(MpoolDelete, ADeletedPageCanBeRequestedAgainIfItIsNotInTheFile) {
  const TestFile file(1, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  EXPECT_EQ(mpool_delete(pool.get(), Request(pool, 3)), 0);
  EXPECT_NE(Request(pool, 3), nullptr) << mpool_error();
}

TEST(MpoolDelete, ItsFrameIsNoLongerThatOfThePagePutLast) {
  const TestFile file(3, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 1);
  (void)PageIn(pool, 0);
  EXPECT_EQ(mpool_delete(pool.get(), mpool_get(pool.get(), 0, 0)), 0);
  EXPECT_NE(mpool_get(pool.get(), 1, MPOOL_IGNOREPIN), nullptr);
  EXPECT_NE(mpool_get(pool.get(), 2, 0), nullptr);
  EXPECT_EQ(StatOf(pool).frames, 1u);  // nothing had to be spared
}

TEST(MpoolDelete, AGrowthFrameGoesBackAtOnce) {
  const TestFile file(3, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 1);
  void* first = mpool_get(pool.get(), 0, 0);
  void* second = mpool_get(pool.get(), 1, 0);
  EXPECT_EQ(StatOf(pool).frames_overflow, 1u);
  EXPECT_EQ(mpool_delete(pool.get(), second), 0);
  EXPECT_EQ(StatOf(pool).frames_overflow, 0u);
  EXPECT_TRUE(FailsWith(EINVAL, mpool_put(pool.get(), second, 0)));
  EXPECT_EQ(mpool_put(pool.get(), first, 0), 0);
}

// --- mpool_set_eof ------------------------------------------------------------------------------

TEST(MpoolSetEof, ZeroMakesAPagePastTheEndReadAsZerosAndNpagesStays) {
  const TestFile file(2, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 4);
  ASSERT_EQ(mpool_set_eof(pool.get(), MPOOL_EOF_ZERO), 0);
  EXPECT_EQ(PageIn(pool, 2), kZeros);
  EXPECT_EQ(PageIn(pool, 100), kZeros);
  EXPECT_EQ(pool->npages, 2u);
  EXPECT_EQ(mpool_sync(pool.get()), 0);
  EXPECT_EQ(file.size(), 2 * kPageSize);
}

TEST(MpoolSetEof, SuchAPageExtendsTheFileOnceItIsWritten) {
  const TestFile file(2, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 4);
  ASSERT_EQ(mpool_set_eof(pool.get(), MPOOL_EOF_ZERO), 0);
  ChangePage(pool, 4, "far ");
  EXPECT_EQ(pool->npages, 2u);
  EXPECT_EQ(mpool_sync(pool.get()), 0);
  EXPECT_EQ(pool->npages, 5u);
  EXPECT_EQ(file.size(), 5 * kPageSize);
  EXPECT_EQ(file.Page(4, kPageSize), Filled("far ", kPageSize));
  pgno_t next = 0;
  ASSERT_NE(mpool_new(pool.get(), &next, 0), nullptr);
  EXPECT_EQ(next, 5u);
}

TEST(MpoolSetEof, NextDoesNotTakeTheNumberOfAPageThatWasReadAsZeros) {
  const TestFile file(2, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 4);
  ASSERT_EQ(mpool_set_eof(pool.get(), MPOOL_EOF_ZERO), 0);
  void* past = mpool_get(pool.get(), 2, 0);
  pgno_t next = 0;
  void* made = mpool_new(pool.get(), &next, 0);
  EXPECT_EQ(next, 3u);
  EXPECT_NE(made, past);
  EXPECT_TRUE(FailsWith(EEXIST, Request(pool, 2)));
}

TEST(MpoolSetEof, ErrorIsTheDefaultAndComesBack) {
  const TestFile file(2, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  ASSERT_EQ(mpool_set_eof(pool.get(), MPOOL_EOF_ZERO), 0);
  EXPECT_EQ(PageIn(pool, 7), kZeros);
  ASSERT_EQ(mpool_set_eof(pool.get(), MPOOL_EOF_ERROR), 0);
  EXPECT_TRUE(FailsWith(EINVAL, mpool_get(pool.get(), 8, 0)));
}

TEST(MpoolSetEof, ThereIsNoPageBeyondTheLastNumber) {
  const TestFile file(2, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  ASSERT_EQ(mpool_set_eof(pool.get(), MPOOL_EOF_ZERO), 0);
  EXPECT_EQ(PageIn(pool, 0xfffffffe), kZeros);
  EXPECT_TRUE(FailsWith(EINVAL, mpool_get(pool.get(), 0xffffffff, 0)));
}

TEST(MpoolSetEof, OtherModesAreEINVAL) {
  const TestFile file(2, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  EXPECT_TRUE(FailsWith(EINVAL, mpool_set_eof(pool.get(), 2)));
  EXPECT_TRUE(FailsWith(EINVAL, mpool_set_eof(pool.get(), -1)));
  EXPECT_TRUE(FailsWith(EINVAL, mpool_set_overflow(pool.get(), 2)));
}

// --- mpool_prefetch -----------------------------------------------------------------------------

TEST(MpoolPrefetch, ReadsThePagesThatAreNotThereWithoutPinningThem) {
  const TestFile file(10, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 8);
  (void)PageIn(pool, 3);
  const std::vector<pgno_t> pages = {2, 3, 5, 2};
  EXPECT_EQ(mpool_prefetch(pool.get(), pages.data(), pages.size()), 2);
  EXPECT_EQ(StatOf(pool).page_ins, 3u);
  EXPECT_EQ(StatOf(pool).pins, 0u);
  EXPECT_EQ(StatOf(pool).gets, 1u);  // it is no get
  EXPECT_EQ(PageIn(pool, 5), Filled("5.", kPageSize));
  EXPECT_EQ(StatOf(pool).hits, 1u);
}

TEST(MpoolPrefetch, SkipsNumbersPastTheEnd) {
  const TestFile file(4, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 8);
  const std::vector<pgno_t> pages = {9, 1, 0xffffffff, 3};
  EXPECT_EQ(mpool_prefetch(pool.get(), pages.data(), pages.size()), 2);
  EXPECT_EQ(mpool_prefetch(pool.get(), nullptr, 0), 0);
  EXPECT_TRUE(FailsWith(EINVAL, mpool_prefetch(pool.get(), nullptr, 1)));
}

TEST(MpoolPrefetch, StartsNoMoreThanThePoolCanHold) {
  const TestFile file(20, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 4);
  void* pinned = mpool_get(pool.get(), 19, 0);
  std::vector<pgno_t> pages;
  for (pgno_t page = 0; page < 16; ++page) pages.push_back(page);
  EXPECT_LE(mpool_prefetch(pool.get(), pages.data(), pages.size()), 4);
  EXPECT_EQ(StatOf(pool).frames, 4u);
  EXPECT_EQ(mpool_get(pool.get(), 19, 0), pinned);
  std::vector<void*> all = {pinned, pinned};
  for (pgno_t page = 16; page < 19; ++page) all.push_back(mpool_get(pool.get(), page, 0));
  EXPECT_EQ(mpool_prefetch(pool.get(), pages.data(), pages.size()), 0);  // everything is pinned
  EXPECT_EQ(StatOf(pool).frames, 4u);
  for (void* page : all) EXPECT_EQ(mpool_put(pool.get(), page, 0), 0);
}

}  // namespace
