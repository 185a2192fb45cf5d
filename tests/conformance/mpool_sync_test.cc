// mpool(3), sentence by sentence: filters, writing, closing, statistics.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/mpool.h"
#include "tests/support/child.h"
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
using test_support::RunInChild;
using test_support::StatOf;
using test_support::TestFile;

constexpr pgno_t kPageSize = 512;

// Writes beyond `bytes` fail with EFBIG from now on, and none with a signal.
void LimitFiles(uint64_t bytes) {
  signal(SIGXFSZ, SIG_IGN);
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
  limit.rlim_cur = bytes;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

void UnlimitFiles() {
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

// --- mpool_filter -------------------------------------------------------------------------------

// Pages are stored with every byte xored, and the calls are noted.
struct Xor {
  std::vector<pgno_t> in, out;
  static void In(void* cookie, pgno_t page, void* bytes) {
    static_cast<Xor*>(cookie)->in.push_back(page);
    Apply(bytes);
  }
  static void Out(void* cookie, pgno_t page, void* bytes) {
    static_cast<Xor*>(cookie)->out.push_back(page);
    Apply(bytes);
  }
  static void Apply(void* bytes) {
    for (pgno_t i = 0; i < kPageSize; ++i) static_cast<char*>(bytes)[i] ^= 0x55;
  }
  static std::string Of(std::string text) {
    Apply(text.data());
    return text;
  }
};

TEST(MpoolFilter, PginIsCalledOnceForEachReadBeforeAnyoneSeesThePage) {
  const TestFile file(2, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  Xor calls;
  mpool_filter(pool.get(), &Xor::In, &Xor::Out, &calls);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(PageIn(pool, 1), Xor::Of(Filled("1.", kPageSize)));
  EXPECT_EQ(calls.in, std::vector<pgno_t>{1});
  pgno_t page = 0;
  EXPECT_NE(mpool_new(pool.get(), &page, 0), nullptr);
  EXPECT_EQ(calls.in.size(), 1u);  // never for a new page
}

TEST(MpoolFilter, PginIsCalledForHolesAndForPagesPastTheEndToo) {
  TestFile file(1, kPageSize);
  file.Resize(3 * kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 4);
  Xor calls;
  mpool_filter(pool.get(), &Xor::In, nullptr, &calls);
  EXPECT_EQ(mpool_set_eof(pool.get(), MPOOL_EOF_ZERO), 0);
  EXPECT_EQ(PageIn(pool, 1), std::string(kPageSize, 0x55));
  EXPECT_EQ(PageIn(pool, 7), std::string(kPageSize, 0x55));
  EXPECT_EQ(calls.in, (std::vector<pgno_t>{1, 7}));
}

TEST(MpoolFilter, PgoutIsCalledWithACopyOfEachPageBeforeItIsWritten) {
  const TestFile file(4, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 4);
  Xor calls;
  mpool_filter(pool.get(), nullptr, &Xor::Out, &calls);
  void* pinned = mpool_get(pool.get(), 2, 0);
  for (const pgno_t page : {2u, 0u, 1u}) ChangePage(pool, page, "new ");
  EXPECT_EQ(mpool_sync(pool.get()), 0);
  EXPECT_EQ(calls.out, (std::vector<pgno_t>{0, 1, 2}));
  EXPECT_EQ(file.Page(2, kPageSize), Xor::Of(Filled("new ", kPageSize)));
  EXPECT_EQ(std::string(static_cast<char*>(pinned), kPageSize), Filled("new ", kPageSize));
  EXPECT_EQ(PageIn(pool, 0), Filled("new ", kPageSize));
}

TEST(MpoolFilter, AfterAFailedWriteThePageIsUnchanged) {
  RunInChild([] {
    const TestFile file(2, kPageSize);
    const Pool pool = OpenPool(file, kPageSize, 2);
    Xor calls;
    mpool_filter(pool.get(), &Xor::In, &Xor::Out, &calls);
    ChangePage(pool, 1, "new ");
    LimitFiles(kPageSize);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(FailsWith(EFBIG, mpool_sync(pool.get())));
    EXPECT_EQ(PageIn(pool, 1), Filled("new ", kPageSize));
    UnlimitFiles();
    EXPECT_EQ(mpool_sync(pool.get()), 0);
    EXPECT_EQ(file.Page(1, kPageSize), Xor::Of(Filled("new ", kPageSize)));
  });
}

TEST(MpoolFilter, FiltersMayUseOtherPagesOfThePoolEvenWhereItIsFull) {
  const TestFile file(6, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  struct Reader {
    MPOOL* mp;
    int depth = 0;
    std::string seen;
    static void Read(void* cookie, pgno_t, void*) {
      auto* self = static_cast<Reader*>(cookie);
      if (self->depth > 0) return;
      ++self->depth;
      void* bytes = mpool_get(self->mp, 0, 0);
      ASSERT_NE(bytes, nullptr) << mpool_error();
      self->seen.assign(static_cast<char*>(bytes), 2);
      EXPECT_EQ(mpool_put(self->mp, bytes, 0), 0);
      --self->depth;
    }
  } reader{pool.get(), 0, ""};
  mpool_filter(pool.get(), &Reader::Read, &Reader::Read, &reader);
  for (pgno_t page = 1; page < 6; ++page) {
    reader.seen.clear();
    ChangePage(pool, page, "new ");
    EXPECT_EQ(reader.seen, "0.");
  }
  reader.seen.clear();
  EXPECT_EQ(mpool_sync(pool.get()), 0);
  EXPECT_EQ(reader.seen, "0.");
}

// --- mpool_sync ---------------------------------------------------------------------------------

TEST(MpoolSync, WritesAllDirtyPagesPinnedOnesToo) {
  const TestFile file(5, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 5);
  for (const pgno_t page : {4u, 1u, 0u}) ChangePage(pool, page, "new ");
  void* pinned = mpool_get(pool.get(), 1, 0);
  EXPECT_EQ(StatOf(pool).dirty, 3u);
  EXPECT_EQ(mpool_sync(pool.get()), 0);
  for (const pgno_t page : {4u, 1u, 0u}) {
    EXPECT_EQ(file.Page(page, kPageSize), Filled("new ", kPageSize));
  }
  EXPECT_EQ(StatOf(pool).dirty, 0u);
  EXPECT_EQ(StatOf(pool).page_outs, 3u);
  EXPECT_EQ(mpool_sync(pool.get()), 0);  // nothing is left
  EXPECT_EQ(StatOf(pool).page_outs, 3u);
  EXPECT_EQ(mpool_put(pool.get(), pinned, 0), 0);
}

TEST(MpoolSync, EveryPageIsTriedAndOneThatCannotBeWrittenStaysDirty) {
  RunInChild([] {
    const TestFile file(0, kPageSize);
    const Pool pool = OpenPool(file, kPageSize, 8);
    EXPECT_EQ(mpool_set_eof(pool.get(), MPOOL_EOF_ZERO), 0);
    for (const pgno_t page : {6u, 3u, 2u, 1u, 0u}) ChangePage(pool, page, std::to_string(page));
    LimitFiles(2 * kPageSize + kPageSize / 2);  // in the midst of page 2
    EXPECT_TRUE(FailsWith(EFBIG, mpool_sync(pool.get())));
    EXPECT_NE(std::string(mpool_error()).find("page 2 "), std::string::npos) << mpool_error();
    EXPECT_EQ(file.Page(0, kPageSize), Filled("0", kPageSize));
    EXPECT_EQ(file.Page(1, kPageSize), Filled("1", kPageSize));
    EXPECT_EQ(StatOf(pool).dirty, 3u);
    LimitFiles(4 * kPageSize);
    EXPECT_TRUE(FailsWith(EFBIG, mpool_sync(pool.get())));
    EXPECT_EQ(StatOf(pool).dirty, 1u);
    UnlimitFiles();
    EXPECT_EQ(mpool_sync(pool.get()), 0);
    for (const pgno_t page : {6u, 3u, 2u}) {
      EXPECT_EQ(file.Page(page, kPageSize), Filled(std::to_string(page), kPageSize));
    }
  });
}

TEST(MpoolSync, WhereAPageThatMustGoCannotBeWrittenAnotherIsTakenElseTheErrorReturned) {
  const TestFile file(6, kPageSize);
  const int fd = file.Reopen(O_RDWR), read_only = file.Reopen(O_RDONLY);
  {
    const Pool pool(mpool_open(nullptr, fd, kPageSize, 3));
    ASSERT_NE(pool, nullptr);
    ASSERT_EQ(dup2(read_only, fd), fd);
    ChangePage(pool, 0, "zero ");
    ChangePage(pool, 1, "one ");
    // The other pages still come and go, though those that were used longest ago are dirty.
    for (const pgno_t page : {2u, 3u, 4u, 5u, 3u, 2u}) {
      EXPECT_EQ(PageIn(pool, page), Filled(std::to_string(page) + ".", kPageSize));
    }
    EXPECT_LE(StatOf(pool).frames, 4u);  // one more, for the page put last
    EXPECT_EQ(StatOf(pool).dirty, 2u);
    for (const pgno_t page : {2u, 3u}) ChangePage(pool, page, "new ");
    for (const pgno_t page : {4u, 5u}) {
      EXPECT_TRUE(FailsWith(EBADF, mpool_get(pool.get(), page, 0)));
    }
    pgno_t made = 0;
    EXPECT_TRUE(FailsWith(EBADF, mpool_new(pool.get(), &made, 0)));
    EXPECT_NE(std::string(mpool_error()).find("cannot be written"), std::string::npos);
    EXPECT_EQ(StatOf(pool).dirty, 4u);
    ASSERT_EQ(dup2(file.fd(), fd), fd);
    EXPECT_EQ(PageIn(pool, 5), Filled("5.", kPageSize));
    EXPECT_EQ(mpool_sync(pool.get()), 0);
  }
  EXPECT_EQ(file.Page(0, kPageSize), Filled("zero ", kPageSize));
  EXPECT_EQ(file.Page(1, kPageSize), Filled("one ", kPageSize));
  EXPECT_EQ(file.Page(3, kPageSize), Filled("new ", kPageSize));
  close(fd);
  close(read_only);
}

// --- mpool_close --------------------------------------------------------------------------------

TEST(MpoolClose, DiscardsDirtyPagesAndPins) {
  const TestFile file(2, kPageSize);
  {
    const Pool pool = OpenPool(file, kPageSize, 2);
    ChangePage(pool, 0, "lost ");
    EXPECT_NE(mpool_get(pool.get(), 1, 0), nullptr);
  }
  EXPECT_EQ(file.Page(0, kPageSize), Filled("0.", kPageSize));
  const Pool again = OpenPool(file, kPageSize, 2);  // the file is still open
  EXPECT_EQ(PageIn(again, 0), Filled("0.", kPageSize));
}

TEST(MpoolClose, NullIsEINVAL) {
  EXPECT_TRUE(FailsWith(EINVAL, mpool_close(nullptr)));
  EXPECT_TRUE(FailsWith(EINVAL, mpool_sync(nullptr)));
  EXPECT_TRUE(FailsWith(EINVAL, mpool_get(nullptr, 0, 0)));
}

// --- mpool_stat, mpool_get_stat -----------------------------------------------------------------

TEST(MpoolStat, PrintsTheLinesOf44BsdToStandardError) {
  const TestFile file(20, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 16);
  for (pgno_t page = 0; page < 11; ++page) (void)PageIn(pool, page);
  (void)PageIn(pool, 3);
  ChangePage(pool, 4, "new ");
  void* pinned = mpool_get(pool.get(), 5, 0);
  testing::internal::CaptureStderr();
  mpool_stat(pool.get());
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(text,
            "20 pages in the file\n"
            "page size 512, cacheing 11 pages of 16 page max cache\n"
            "13 page puts, 14 page gets, 0 page new\n"
            "16 page allocs, 0 page flushes\n"
            "21% cache hit rate (3 hits, 11 misses)\n"
            "11 page reads, 0 page writes\n"
            "0, 1, 2, 3, 4d, 5P, 6, 7, 8, 9\n"
            "10\n");
  EXPECT_EQ(mpool_put(pool.get(), pinned, 0), 0);
}

TEST(MpoolGetStat, CountsAreConsistent) {
  const TestFile file(30, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 5);
  for (pgno_t i = 0; i < 200; ++i) {
    if (i % 7 == 0) ChangePage(pool, i % 30, "new ");
    void* bytes = mpool_get(pool.get(), i * 13 % 30, 0);
    if (i % 11 == 0) {
      EXPECT_EQ(mpool_delete(pool.get(), bytes), 0);
    }
    if (i % 11 != 0) {
      EXPECT_EQ(mpool_put(pool.get(), bytes, 0), 0);
    }
    pgno_t made = 0;
    if (i % 50 == 0) {
      EXPECT_EQ(mpool_put(pool.get(), mpool_new(pool.get(), &made, 0), 0), 0);
    }
  }
  const struct mpool_stat stat = StatOf(pool);
  EXPECT_EQ(stat.gets, stat.hits + stat.misses);
  EXPECT_EQ(stat.puts, stat.gets + stat.news - stat.deletes);
  EXPECT_EQ(stat.pins, 0u);
  EXPECT_EQ(stat.page_ins, stat.misses);
  EXPECT_EQ(stat.news, 4u);
  EXPECT_EQ(stat.frames, 5u);
  EXPECT_EQ(stat.frames_locked, 5u);
  EXPECT_EQ(stat.evictions + stat.deletes + pool->curcache, stat.misses + stat.news);
  EXPECT_EQ(stat.recoveries, 0u);
  EXPECT_EQ(stat.suspects, 0u);
}

TEST(MpoolGetStat, CopiesTheFirstBytesAndSetsWhatItDoesNotKnowTo0) {
  const TestFile file(1, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 1);
  (void)PageIn(pool, 0);
  struct {
    struct mpool_stat known;
    uint64_t later;
  } larger;
  std::memset(&larger, 0xff, sizeof(larger));
  EXPECT_EQ(mpool_get_stat(pool.get(), &larger.known, sizeof(larger)), 0);
  EXPECT_EQ(larger.known.gets, 1u);
  EXPECT_EQ(larger.known.suspects, 0u);
  EXPECT_EQ(larger.later, 0u);
  std::memset(&larger, 0xff, sizeof(larger));
  EXPECT_EQ(mpool_get_stat(pool.get(), &larger.known, 2 * sizeof(uint64_t)), 0);
  EXPECT_EQ(larger.known.gets, 1u);
  EXPECT_EQ(larger.known.hits, 0u);
  EXPECT_EQ(larger.known.misses, ~uint64_t{0});  // not touched
  EXPECT_EQ(mpool_get_stat(pool.get(), &larger.known, 0), 0);
  EXPECT_TRUE(FailsWith(EINVAL, mpool_get_stat(pool.get(), nullptr, 8)));
}

// --- mpool_error --------------------------------------------------------------------------------

TEST(MpoolError, IsThisThreadsLastFailureAndEmptyBeforeTheFirst) {
  const TestFile file(4, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 1);
  EXPECT_EQ(mpool_get(pool.get(), 4, 0), nullptr);
  const std::string text = mpool_error();
  EXPECT_NE(text.find("page 4 "), std::string::npos) << text;
  std::thread([&pool] {
    EXPECT_STREQ(mpool_error(), "");
    EXPECT_EQ(mpool_get(pool.get(), 5, 0), nullptr);
  }).join();
  EXPECT_EQ(mpool_error(), text);
  EXPECT_TRUE(CanPinAll(pool, 4));
  EXPECT_EQ(mpool_error(), text);  // successes leave it
}

TEST(MpoolError, ACallThatGetsByAnErrorDoesNotChangeIt) {
  RunInChild(test_support::Limited(64 << 10), [] {
    const TestFile file(64, 4096);
    const Pool pool = OpenPool(file, 4096, 1000);
    const std::string before = mpool_error();
    for (pgno_t page = 0; page < 64; ++page) {
      EXPECT_EQ(PageIn(pool, page), Filled(std::to_string(page) + ".", 4096));
    }
    EXPECT_LT(StatOf(pool).frames, 16u);  // growth was refused on the way
    EXPECT_EQ(mpool_error(), before);
  });
}

}  // namespace
