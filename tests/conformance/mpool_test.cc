// mpool(3), sentence by sentence: opening, getting and putting pages. The rest is beside it.

#include "mpool/mpool.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/child.h"
#include "tests/support/test_file.h"
#include "tests/support/test_pool.h"

extern "C" int MakeAPageFromC(int fd, pgno_t pagesize);
extern "C" int KeyIsUnderstoodAfterDbHInC(int fd);
extern "C" int KeyIsUnderstoodAfterDbHInCxx(int fd);

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

// --- The header ---------------------------------------------------------------------------------

TEST(Mpool, OldCallersCompileUnchangedAsC11) {
  const TestFile file;
  ASSERT_EQ(MakeAPageFromC(file.fd(), kPageSize), 0) << mpool_error();
  EXPECT_EQ(file.Read(0, 2), "fn");
}

TEST(Mpool, ADbHThatHasDBTMayComeFirstInCAndInCxx) {
  const TestFile file;
  EXPECT_TRUE(KeyIsUnderstoodAfterDbHInC(file.fd()));
  EXPECT_TRUE(KeyIsUnderstoodAfterDbHInCxx(file.fd()));
}

// --- mpool_open ---------------------------------------------------------------------------------

TEST(MpoolOpen, OpensAPoolOverASeekableFile) {
  const TestFile file(3, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 8);
  EXPECT_EQ(PageIn(pool, 2), Filled("2.", kPageSize));
}

TEST(MpoolOpen, TheFirstFourMembersMayBeRead) {
  const TestFile file(3, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 8);
  EXPECT_EQ(pool->npages, 3u);
  EXPECT_EQ(pool->pagesize, kPageSize);
  EXPECT_EQ(pool->curcache, 0u);
  EXPECT_EQ(pool->maxcache, 8u);
  EXPECT_EQ(PageIn(pool, 0), Filled("0.", kPageSize));
  EXPECT_EQ(pool->curcache, 1u);
  pgno_t made = 0;
  ASSERT_NE(mpool_new(pool.get(), &made, 0), nullptr);
  EXPECT_EQ(pool->npages, 4u);
  EXPECT_EQ(pool->curcache, 2u);
}

TEST(MpoolOpen, TheFdStaysTheCallersAndItsPositionWhereItWas) {
  const TestFile file(2, kPageSize);
  ASSERT_EQ(lseek(file.fd(), 7, SEEK_SET), 7);
  {
    const Pool pool = OpenPool(file, kPageSize, 2);
    ChangePage(pool, 1, "new ");
    EXPECT_EQ(mpool_sync(pool.get()), 0);
  }
  EXPECT_EQ(lseek(file.fd(), 0, SEEK_CUR), 7);
  EXPECT_EQ(file.Page(1, kPageSize), Filled("new ", kPageSize));
}

TEST(MpoolOpen, AKeyHasBytesButNotTooMany) {
  const TestFile file;
  std::string name(1025, 'x');
  DBT key{name.data(), name.size()};
  EXPECT_TRUE(FailsWith(EINVAL, mpool_open(&key, file.fd(), kPageSize, 1)));
  key.size = 0;
  EXPECT_TRUE(FailsWith(EINVAL, mpool_open(&key, file.fd(), kPageSize, 1)));
  key.size = 5;
  key.data = nullptr;
  EXPECT_TRUE(FailsWith(EINVAL, mpool_open(&key, file.fd(), kPageSize, 1)));
}

TEST(MpoolOpen, PagesizeIsAnyNumberFrom1On) {
  for (const pgno_t size : {1u, 3u, 512u, 1000u, 4096u, 5000u, 65536u, 1u << 20}) {
    const TestFile file(3, size);
    const Pool pool = OpenPool(file, size, 2);
    EXPECT_EQ(pool->npages, 3u);
    ChangePage(pool, 1, "changed ");
    for (const pgno_t page : {2u, 0u}) {
      EXPECT_EQ(PageIn(pool, page), Filled(std::to_string(page) + ".", size)) << size;
    }
    EXPECT_EQ(PageIn(pool, 1), Filled("changed ", size)) << size;
    EXPECT_EQ(mpool_sync(pool.get()), 0);
    EXPECT_EQ(file.Page(1, size), Filled("changed ", size)) << size;
    EXPECT_EQ(file.size(), uint64_t{3} * size);
  }
}

TEST(MpoolOpen, Pagesize0IsEINVAL) {
  const TestFile file(1, kPageSize);
  EXPECT_TRUE(FailsWith(EINVAL, mpool_open(nullptr, file.fd(), 0, 1)));
}

TEST(MpoolOpen, Maxcache0Is1) {
  const TestFile file(3, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 0);
  EXPECT_EQ(pool->maxcache, 1u);
  EXPECT_EQ(PageIn(pool, 0), Filled("0.", kPageSize));
  EXPECT_EQ(PageIn(pool, 1), Filled("1.", kPageSize));
  EXPECT_TRUE(CanPinAll(pool, 3));  // and it grows
}

TEST(MpoolOpen, PagesAreTheSizeDividedByPagesizeRoundedDownAndATailIsLeftAsItIs) {
  TestFile file(2, kPageSize);
  file.Write(2 * kPageSize, "tail");
  {
    const Pool pool = OpenPool(file, kPageSize, 2);
    EXPECT_EQ(pool->npages, 2u);
    EXPECT_TRUE(FailsWith(EINVAL, mpool_get(pool.get(), 2, 0)));
    ChangePage(pool, 1, "new ");
    EXPECT_EQ(mpool_sync(pool.get()), 0);
  }
  EXPECT_EQ(file.size(), 2 * kPageSize + 4);
  EXPECT_EQ(file.Read(2 * kPageSize, 10), "tail");
}

TEST(MpoolOpen, EBADFIsAnFdThatIsNotOpenOrNotForReading) {
  const TestFile file(1, kPageSize);
  EXPECT_TRUE(FailsWith(EBADF, mpool_open(nullptr, -1, kPageSize, 1)));
  EXPECT_TRUE(FailsWith(EBADF, mpool_open(nullptr, 1'000'000, kPageSize, 1)));
  const int write_only = file.Reopen(O_WRONLY);
  EXPECT_TRUE(FailsWith(EBADF, mpool_open(nullptr, write_only, kPageSize, 1)));
  close(write_only);
}

TEST(MpoolOpen, ESPIPEIsAnFdThatIsNotARegularFile) {
  std::array<int, 2> pipe_ends;
  ASSERT_EQ(pipe(pipe_ends.data()), 0);
  EXPECT_TRUE(FailsWith(ESPIPE, mpool_open(nullptr, pipe_ends[0], kPageSize, 1)));
  for (const int end : pipe_ends) close(end);
  for (const char* path : {"/", "/dev/zero"}) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0) << path;
    EXPECT_TRUE(FailsWith(ESPIPE, mpool_open(nullptr, fd, kPageSize, 1))) << path;
    close(fd);
  }
}

TEST(MpoolOpen, EINVALIsAnFdOpenedWithOAppend) {
  const TestFile file(1, kPageSize);
  const int appending = file.Reopen(O_RDWR | O_APPEND);
  EXPECT_TRUE(FailsWith(EINVAL, mpool_open(nullptr, appending, kPageSize, 1)));
  close(appending);
}

TEST(MpoolOpen, EFBIGIsAFileOfMorePagesThanAPgnoCounts) {
  TestFile file;
  file.Resize(uint64_t{1} << 32);
  EXPECT_TRUE(FailsWith(EFBIG, mpool_open(nullptr, file.fd(), 1, 1)));
  file.Resize((uint64_t{1} << 32) - 1);
  const Pool pool = OpenPool(file, 1, 1);
  EXPECT_EQ(pool->npages, 0xffffffffu);
  EXPECT_EQ(PageIn(pool, 0xfffffffe), std::string(1, '\0'));
  EXPECT_TRUE(FailsWith(EINVAL, mpool_get(pool.get(), 0xffffffff, 0)));
}

TEST(MpoolOpen, ENOMEMIsThatNotEvenOnePageCanBeLockedAndTheTextSaysWhy) {
  test_support::RunInChild(test_support::Limited(0), [] {
    const TestFile file(1, kPageSize);
    EXPECT_TRUE(FailsWith(ENOMEM, mpool_open(nullptr, file.fd(), kPageSize, 1)));
    EXPECT_NE(std::string(mpool_error()).find("RLIMIT_MEMLOCK is 0"), std::string::npos)
        << mpool_error();
  });
}

TEST(MpoolOpen, AReadOnlyFdOpensAndItsFirstWriteBackFailsWithEBADFAndLosesNothing) {
  const TestFile file(3, kPageSize);
  const int read_only = file.Reopen(O_RDONLY);
  {
    const Pool pool(mpool_open(nullptr, read_only, kPageSize, 1));
    ASSERT_NE(pool, nullptr) << mpool_error();
    ChangePage(pool, 0, "new ");
    EXPECT_TRUE(FailsWith(EBADF, mpool_sync(pool.get())));
    EXPECT_EQ(PageIn(pool, 1), Filled("1.", kPageSize));
    EXPECT_TRUE(CanPinAll(pool, 3));
    EXPECT_EQ(PageIn(pool, 0), Filled("new ", kPageSize));
    EXPECT_EQ(StatOf(pool).dirty, 1u);
  }
  close(read_only);
  EXPECT_EQ(file.Page(0, kPageSize), Filled("0.", kPageSize));
}

TEST(MpoolOpen, TwoPoolsOverTwoFilesAreIndependent) {
  const TestFile one(2, kPageSize), other(2, 3);
  const Pool first = OpenPool(one, kPageSize, 4);
  const Pool second = OpenPool(other, 3, 4);
  EXPECT_EQ(PageIn(first, 1), Filled("1.", kPageSize));
  EXPECT_EQ(PageIn(second, 1), "1.1");
  EXPECT_EQ(StatOf(second).gets, 1u);
}

// --- mpool_get ----------------------------------------------------------------------------------

TEST(MpoolGet, PinsAPageAndReturnsItAfterReadingItIfItIsNotInThePool) {
  const TestFile file(2, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  void* page = mpool_get(pool.get(), 1, 0);
  ASSERT_NE(page, nullptr);
  EXPECT_EQ(std::string(static_cast<char*>(page), kPageSize), Filled("1.", kPageSize));
  EXPECT_EQ(StatOf(pool).pins, 1u);
  EXPECT_EQ(StatOf(pool).misses, 1u);
  EXPECT_EQ(mpool_get(pool.get(), 1, 0), page);  // the same pointer
  EXPECT_EQ(StatOf(pool).hits, 1u);
  EXPECT_EQ(StatOf(pool).page_ins, 1u);
}

TEST(MpoolGet, PinsAreCountedEachNeedsAPutOfItsOwn) {
  const TestFile file(1, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 1);
  void* page = mpool_get(pool.get(), 0, 0);
  for (int i = 1; i < 65'534; ++i) ASSERT_EQ(mpool_get(pool.get(), 0, 0), page) << i;
  EXPECT_EQ(StatOf(pool).pins, 65'534u);
  for (int i = 0; i < 65'534; ++i) ASSERT_EQ(mpool_put(pool.get(), page, 0), 0) << i;
  EXPECT_EQ(StatOf(pool).pins, 0u);
  EXPECT_TRUE(FailsWith(EINVAL, mpool_put(pool.get(), page, 0)));
}

TEST(MpoolGet, EAGAINIsThatThePageIsPinned65535Times) {
  const TestFile file(1, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 1);
  void* page = nullptr;
  for (int i = 0; i < 65'535; ++i) ASSERT_NE(page = mpool_get(pool.get(), 0, 0), nullptr) << i;
  EXPECT_TRUE(FailsWith(EAGAIN, mpool_get(pool.get(), 0, 0)));
  EXPECT_EQ(StatOf(pool).pins, 65'535u);
  EXPECT_EQ(mpool_put(pool.get(), page, 0), 0);
  EXPECT_EQ(mpool_get(pool.get(), 0, 0), page);
}

TEST(MpoolGet, ThePointerIsGoodWhileThePageIsPinned) {
  const TestFile file(100, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 4);
  const char* page = static_cast<char*>(mpool_get(pool.get(), 7, 0));
  for (pgno_t other = 0; other < 100; ++other) (void)PageIn(pool, other);
  EXPECT_EQ(std::string(page, kPageSize), Filled("7.", kPageSize));
  EXPECT_EQ(mpool_get(pool.get(), 7, 0), page);
}

TEST(MpoolGet, IgnorepinLeavesThePinsAlone) {
  const TestFile file(2, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  void* page = mpool_get(pool.get(), 0, MPOOL_IGNOREPIN);  // a miss
  ASSERT_NE(page, nullptr);
  EXPECT_EQ(static_cast<char*>(page)[0], '0');
  EXPECT_EQ(StatOf(pool).pins, 0u);
  EXPECT_TRUE(FailsWith(EINVAL, mpool_put(pool.get(), page, 0)));
  EXPECT_EQ(mpool_get(pool.get(), 0, MPOOL_IGNOREPIN), page);  // a hit
  EXPECT_EQ(StatOf(pool).pins, 0u);
  EXPECT_EQ(mpool_get(pool.get(), 0, 0), page);
  EXPECT_EQ(mpool_get(pool.get(), 0, MPOOL_IGNOREPIN), page);  // a hit of a pinned page
  EXPECT_EQ(StatOf(pool).pins, 1u);
  EXPECT_EQ(mpool_put(pool.get(), page, 0), 0);
}

TEST(MpoolGet, OtherFlagsAreEINVAL) {
  const TestFile file(1, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 1);
  EXPECT_TRUE(FailsWith(EINVAL, mpool_get(pool.get(), 0, 2)));
  EXPECT_TRUE(FailsWith(EINVAL, mpool_get(pool.get(), 0, 0x80000001)));
  EXPECT_EQ(StatOf(pool).pins, 0u);
}

TEST(MpoolGet, APagePastTheEndIsEINVAL) {
  const TestFile file(2, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 1);
  for (const pgno_t page : {2u, 1000u, 0xffffffffu}) {
    EXPECT_TRUE(FailsWith(EINVAL, mpool_get(pool.get(), page, 0))) << page;
  }
  EXPECT_EQ(pool->npages, 2u);
  EXPECT_TRUE(CanPinAll(pool, 2));
}

TEST(MpoolGet, AHoleInTheFileReadsAsZeros) {
  TestFile file;
  file.Resize(10 * kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  EXPECT_EQ(PageIn(pool, 4), std::string(kPageSize, '\0'));
}

TEST(MpoolGet, AFileTruncatedUnderThePoolIsEINVALAndNothingLeaks) {
  TestFile file(8, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  file.Resize(2 * kPageSize + 17);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(FailsWith(EINVAL, mpool_get(pool.get(), i % 2 == 0 ? 5 : 2, 0)));
  }
  EXPECT_EQ(StatOf(pool).pins, 0u);
  EXPECT_EQ(StatOf(pool).frames, 2u);
  EXPECT_EQ(pool->npages, 8u);
  EXPECT_TRUE(CanPinAll(pool, 2));
  file.Resize(8 * kPageSize);
  EXPECT_EQ(PageIn(pool, 5), std::string(kPageSize, '\0'));  // back again
}

TEST(MpoolGet, AReadErrorIsItsErrnoAndTheNextGetTriesAgain) {
  const TestFile file(3, kPageSize);
  const int fd = file.Reopen(O_RDWR), write_only = file.Reopen(O_WRONLY);
  {
    const Pool pool(mpool_open(nullptr, fd, kPageSize, 2));
    ASSERT_NE(pool, nullptr);
    ASSERT_EQ(dup2(write_only, fd), fd);
    for (int i = 0; i < 10; ++i) {
      EXPECT_TRUE(FailsWith(EBADF, mpool_get(pool.get(), 1, 0)));
    }
    EXPECT_EQ(StatOf(pool).pins, 0u);
    EXPECT_EQ(pool->curcache, 0u);
    ASSERT_EQ(dup2(file.fd(), fd), fd);
    EXPECT_EQ(PageIn(pool, 1), Filled("1.", kPageSize));
    EXPECT_TRUE(CanPinAll(pool, 3));
  }
  close(fd);
  close(write_only);
}

TEST(MpoolGet, WhereAllPagesArePinnedThePoolGrowsPastMaxcacheAndTheGrowthGoesBack) {
  const TestFile file(30, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 4);
  std::set<void*> pages;
  for (pgno_t page = 0; page < 20; ++page) {
    void* bytes = mpool_get(pool.get(), page, 0);
    ASSERT_NE(bytes, nullptr) << mpool_error();
    EXPECT_TRUE(pages.insert(bytes).second);
  }
  EXPECT_EQ(StatOf(pool).frames, 20u);
  EXPECT_EQ(StatOf(pool).frames_locked, 20u);
  EXPECT_EQ(StatOf(pool).frames_overflow, 16u);
  EXPECT_EQ(pool->curcache, 20u);
  EXPECT_EQ(pool->maxcache, 4u);
  for (void* bytes : pages) EXPECT_EQ(mpool_put(pool.get(), bytes, 0), 0);
  // At the next miss, all but the page put last; then that too.
  (void)PageIn(pool, 20);
  EXPECT_LE(StatOf(pool).frames_overflow, 1u);
  (void)PageIn(pool, 21);
  EXPECT_EQ(StatOf(pool).frames, 4u);
  EXPECT_EQ(StatOf(pool).frames_overflow, 0u);
  EXPECT_EQ(pool->curcache, 4u);
}

// --- mpool_put ----------------------------------------------------------------------------------

TEST(MpoolPut, TakesOnePinFromAPage) {
  const TestFile file(1, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 1);
  void* page = mpool_get(pool.get(), 0, 0);
  EXPECT_EQ(mpool_get(pool.get(), 0, 0), page);
  EXPECT_EQ(mpool_put(pool.get(), page, 0), 0);
  EXPECT_EQ(StatOf(pool).pins, 1u);
  EXPECT_EQ(mpool_put(pool.get(), page, 0), 0);
  EXPECT_EQ(StatOf(pool).pins, 0u);
}

TEST(MpoolPut, WithMpoolDirtyThePageIsToBeWritten) {
  const TestFile file(2, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  void* page = mpool_get(pool.get(), 0, 0);
  std::memset(page, 'x', kPageSize);
  EXPECT_EQ(mpool_put(pool.get(), page, 0), 0);
  EXPECT_EQ(mpool_sync(pool.get()), 0);
  EXPECT_EQ(file.Page(0, kPageSize), Filled("0.", kPageSize));  // it was not put dirty
  EXPECT_EQ(mpool_get(pool.get(), 0, 0), page);
  EXPECT_EQ(mpool_put(pool.get(), page, MPOOL_DIRTY), 0);
  EXPECT_EQ(mpool_sync(pool.get()), 0);
  EXPECT_EQ(file.Page(0, kPageSize), Filled("x", kPageSize));
}

TEST(MpoolPut, APageThatIsNotPinnedIsEINVAL) {
  const TestFile file(1, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 1);
  void* page = mpool_get(pool.get(), 0, 0);
  EXPECT_EQ(mpool_put(pool.get(), page, 0), 0);
  EXPECT_TRUE(FailsWith(EINVAL, mpool_put(pool.get(), page, MPOOL_DIRTY)));
  EXPECT_EQ(StatOf(pool).dirty, 0u);
}

TEST(MpoolPut, WhatIsNotTheAddressOfAPageIsEINVAL) {
  const TestFile file(1, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 1), other = OpenPool(file, kPageSize, 1);
  char foreign[kPageSize];
  char* page = static_cast<char*>(mpool_get(pool.get(), 0, 0));
  void* theirs = mpool_get(other.get(), 0, 0);
  for (void* address : {static_cast<void*>(foreign), static_cast<void*>(nullptr), theirs,
                        static_cast<void*>(page + 1), static_cast<void*>(page + kPageSize)}) {
    EXPECT_TRUE(FailsWith(EINVAL, mpool_put(pool.get(), address, 0)));
    EXPECT_TRUE(FailsWith(EINVAL, mpool_delete(pool.get(), address)));
  }
  EXPECT_EQ(mpool_put(pool.get(), page, 0), 0);
}

TEST(MpoolPut, OtherFlagsAreEINVALAndThePinStays) {
  const TestFile file(1, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 1);
  void* page = mpool_get(pool.get(), 0, 0);
  EXPECT_TRUE(FailsWith(EINVAL, mpool_put(pool.get(), page, 2)));
  EXPECT_TRUE(FailsWith(EINVAL, mpool_put(pool.get(), page, MPOOL_DIRTY | 4)));
  EXPECT_EQ(StatOf(pool).pins, 1u);
  EXPECT_EQ(StatOf(pool).dirty, 0u);
}

TEST(MpoolPut, AfterTheLastPutThePageStaysAsItIsUntilThisThreadHasAskedForAnother) {
  for (const pgno_t maxcache : {1u, 2u, 8u}) {
    const TestFile file(50, kPageSize);
    const Pool pool = OpenPool(file, kPageSize, maxcache);
    for (pgno_t page = 0; page < 49; ++page) {
      char* put = static_cast<char*>(mpool_get(pool.get(), page, 0));
      ASSERT_NE(put, nullptr);
      EXPECT_EQ(mpool_put(pool.get(), put, 0), 0);
      void* next = mpool_get(pool.get(), page + 1, 0);  // does not take the page put last
      EXPECT_NE(next, put);
      EXPECT_EQ(std::string(put, kPageSize), Filled(std::to_string(page) + ".", kPageSize));
      EXPECT_EQ(mpool_put(pool.get(), next, 0), 0);
    }
    EXPECT_LE(StatOf(pool).frames, std::max<uint64_t>(maxcache, 2));
  }
}

}  // namespace
