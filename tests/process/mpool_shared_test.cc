// Pools that processes share by a key: what they see of each other.

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "mpool/mpool.h"
#include "mpool/page_pool.h"
#include "os/fault_count.h"
#include "tests/process/shared_pool.h"
#include "tests/support/child.h"
#include "tests/support/sanitizer.h"
#include "tests/support/test_file.h"
#include "tests/support/test_pool.h"

namespace {

using mpool::PagePool;
using test_support::ChangePage;
using test_support::FailsWith;
using test_support::Filled;
using test_support::kSharedPageSize;
using test_support::MpoolShared;
using test_support::OpenShared;
using test_support::PageIn;
using test_support::Pool;
using test_support::RunInChild;
using test_support::StatOf;
using test_support::TestFile;

TEST_F(MpoolShared, AChangeIsSeenByTheOthersBeforeAnySync) {
  const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 32);
  ASSERT_NE(pool, nullptr) << mpool_error();
  ChangePage(pool, 3, "changed ");
  RunInChild([&] {
    const Pool other = OpenShared(key_, -1, kSharedPageSize, 32);
    ASSERT_NE(other, nullptr) << mpool_error();
    EXPECT_TRUE(PageIn(other, 3) == Filled("changed ", kSharedPageSize));
    EXPECT_TRUE(PageIn(other, 4) == Filled("4.", kSharedPageSize));
    ChangePage(other, 4, "by the other ");
    EXPECT_EQ(StatOf(other).page_ins, 2u) << "page 3 was not read again";
  });
  EXPECT_TRUE(PageIn(pool, 4) == Filled("by the other ", kSharedPageSize));
  EXPECT_TRUE(file_.Page(4, kSharedPageSize) == Filled("4.", kSharedPageSize))
      << "nobody has synchronised";
  EXPECT_EQ(StatOf(pool).recoveries, 0u);
}

TEST_F(MpoolShared, ASyncByEitherWritesWhatBothHaveChanged) {
  const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 32);
  ASSERT_NE(pool, nullptr) << mpool_error();
  ChangePage(pool, 1, "one ");
  RunInChild([&] {
    const Pool other = OpenShared(key_, -1, kSharedPageSize, 32);
    ASSERT_NE(other, nullptr) << mpool_error();
    ChangePage(other, 2, "two ");
    EXPECT_EQ(mpool_sync(other.get()), 0) << mpool_error();
    ChangePage(other, 3, "three ");
  });
  EXPECT_TRUE(file_.Page(1, kSharedPageSize) == Filled("one ", kSharedPageSize));
  EXPECT_TRUE(file_.Page(2, kSharedPageSize) == Filled("two ", kSharedPageSize));
  EXPECT_EQ(mpool_sync(pool.get()), 0) << mpool_error();
  EXPECT_TRUE(file_.Page(3, kSharedPageSize) == Filled("three ", kSharedPageSize));
}

TEST_F(MpoolShared, TheLastToLeaveDiscardsDirtyPagesAndTheObject) {
  {
    const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 32);
    ASSERT_NE(pool, nullptr) << mpool_error();
    ChangePage(pool, 1, "lost ");
  }
  EXPECT_TRUE(file_.Page(1, kSharedPageSize) == Filled("1.", kSharedPageSize));
  const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 32);
  ASSERT_NE(pool, nullptr) << mpool_error();
  EXPECT_TRUE(PageIn(pool, 1) == Filled("1.", kSharedPageSize));
}

TEST_F(MpoolShared, OneProcessMayHaveItOpenMoreThanOnce) {
  const Pool one = OpenShared(key_, file_.fd(), kSharedPageSize, 8);
  const Pool two = OpenShared(key_, file_.fd(), kSharedPageSize, 16);
  ASSERT_TRUE(one != nullptr && two != nullptr) << mpool_error();
  ChangePage(one, 5, "by one ");
  EXPECT_TRUE(PageIn(two, 5) == Filled("by one ", kSharedPageSize));
}

// Those beyond the lines of a participant take the latch, and nothing else is different.
TEST_F(MpoolShared, MoreThreadsThanThereAreLinesMayUseIt) {
  const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 64);
  ASSERT_NE(pool, nullptr) << mpool_error();
  constexpr int kThreads = 40;
  std::atomic<int> ready{0}, failed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      void* const held = mpool_get(pool.get(), 1, 0);
      if (held == nullptr) ++failed;
      ++ready;
      while (ready < kThreads) std::this_thread::yield();  // each has its line, or none
      for (pgno_t page = 0; page < 64; ++page) {
        void* const bytes = mpool_get(pool.get(), page, 0);
        if (bytes == nullptr || mpool_put(pool.get(), bytes, 0) != 0) ++failed;
      }
      if (held != nullptr && mpool_put(pool.get(), held, 0) != 0) ++failed;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(StatOf(pool).pins, 0u);
  EXPECT_EQ(StatOf(pool).gets, uint64_t{kThreads} * 65);
}

TEST_F(MpoolShared, MaxcacheIsTheLargestThatWasAskedFor) {
  const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  EXPECT_EQ(pool->maxcache, 8u);
  RunInChild([&] {
    const Pool other = OpenShared(key_, -1, kSharedPageSize, 48);
    ASSERT_NE(other, nullptr) << mpool_error();
    EXPECT_EQ(other->maxcache, 48u);
    EXPECT_TRUE(test_support::CanPinAll(other, 48));
    EXPECT_EQ(StatOf(other).frames_overflow, 0u);
  });
  EXPECT_TRUE(PageIn(pool, 60) == Filled("60.", kSharedPageSize));
  EXPECT_EQ(pool->maxcache, 48u);
  EXPECT_EQ(StatOf(pool).pins, 0u);
  const Pool smaller = OpenShared(key_, -1, kSharedPageSize, 1);
  ASSERT_NE(smaller, nullptr) << mpool_error();
  EXPECT_EQ(smaller->maxcache, 48u);
}

TEST_F(MpoolShared, AnotherPageSizeIsRefusedAndBothAreNamed) {
  const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  std::string key = key_;
  DBT dbt{key.data(), key.size()};
  EXPECT_TRUE(FailsWith(EINVAL, mpool_open(&dbt, file_.fd(), 512, 8)));
  EXPECT_NE(std::string(mpool_error()).find("4096"), std::string::npos);
  EXPECT_NE(std::string(mpool_error()).find("512"), std::string::npos);
}

TEST_F(MpoolShared, KeysThatDifferOnlyAfterAZeroAreTwoPools) {
  const TestFile other_file(8, kSharedPageSize);
  std::string key = key_ + '\0' + "a", other_key = key_ + '\0' + "b";
  const Pool pool = OpenShared(key, file_.fd(), kSharedPageSize, 8);
  const Pool other = OpenShared(other_key, other_file.fd(), kSharedPageSize, 8);
  ASSERT_TRUE(pool != nullptr && other != nullptr) << mpool_error();
  EXPECT_EQ(pool->npages, 64u);
  EXPECT_EQ(other->npages, 8u);
}

TEST_F(MpoolShared, AChildIsNotAParticipantByItsParentsHandle) {
  const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  void* const page = mpool_get(pool.get(), 1, 0);
  ASSERT_NE(page, nullptr);
  RunInChild([&] {
    EXPECT_TRUE(FailsWith(EINVAL, mpool_get(pool.get(), 1, 0)));
    EXPECT_TRUE(FailsWith(EINVAL, mpool_put(pool.get(), page, 0)));
    EXPECT_TRUE(FailsWith(EINVAL, mpool_close(pool.get())));
  });
  EXPECT_EQ(StatOf(pool).pins, 1u);
  EXPECT_EQ(StatOf(pool).recoveries, 0u);
  EXPECT_EQ(mpool_put(pool.get(), page, 0), 0) << mpool_error();
}

TEST_F(MpoolShared, AChildEndsItsCopiesOfPinsAndDoesNoHarm) {
  auto pool = PagePool::Open(file_.fd(), {.key = key_, .pages_max = 8});
  ASSERT_TRUE(pool.ok()) << pool.status();
  auto shared = (*pool)->Get(1);
  auto again = (*pool)->Get(1);
  auto exclusive = (*pool)->GetForWrite(2);
  ASSERT_TRUE(shared.ok() && again.ok() && exclusive.ok());
  RunInChild([&] {
    shared->Release();
    again->Release();
    exclusive->Release();
    EXPECT_EQ((*pool)->Get(1).status().code(), absl::StatusCode::kFailedPrecondition);
  });
  EXPECT_EQ((*pool)->stats()->pins, 3u);
}

TEST_F(MpoolShared, TheHitsOfAProcessNeitherFaultNorReadAgain) {
  const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 64);
  ASSERT_NE(pool, nullptr) << mpool_error();
  EXPECT_TRUE(test_support::CanPinAll(pool, 64));
  RunInChild([&] {
    const Pool other = OpenShared(key_, -1, kSharedPageSize, 64);
    ASSERT_NE(other, nullptr) << mpool_error();
    uint64_t failed = 0;
    const auto get_all = [&] {
      for (pgno_t page = 0; page < 64; ++page) {
        auto* const bytes = static_cast<volatile char*>(mpool_get(other.get(), page, 0));
        if (bytes == nullptr) {
          ++failed;
          continue;
        }
        bytes[7] = bytes[8];
        if (mpool_put(other.get(), const_cast<char*>(bytes), 0) != 0) ++failed;
      }
    };
    get_all();  // its line
    const os::FaultCount before = os::FaultCount::OfThisThread();
    get_all();
    // The sanitizers' own memory takes faults.
    if (!test_support::kThreadSanitizer && !test_support::kAddressSanitizer) {
      EXPECT_EQ((os::FaultCount::OfThisThread() - before).total(), 0u);
    }
    EXPECT_EQ(failed, 0u);
    EXPECT_EQ(StatOf(other).page_ins, 64u);
  });
}

// The file is found by the path that it had, by the caller's descriptor, or by another process'.
TEST_F(MpoolShared, TheFileIsFoundInThreeWays) {
  const std::string path = testing::TempDir() + "shared-pool-file";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(ftruncate(fd, 16 * kSharedPageSize), 0);
  const Pool pool = OpenShared(key_, fd, kSharedPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  const auto can_open = [&](int descriptor) {
    const Pool other = OpenShared(key_, descriptor, kSharedPageSize, 8);
    if (other == nullptr) return false;
    ChangePage(other, 2, "written ");
    return mpool_sync(other.get()) == 0;
  };
  EXPECT_TRUE(can_open(-1)) << mpool_error();
  const std::string elsewhere = path + "-moved";
  ASSERT_EQ(rename(path.c_str(), elsewhere.c_str()), 0);
  EXPECT_TRUE(can_open(fd)) << mpool_error();
  EXPECT_TRUE(can_open(-1)) << mpool_error();
  EXPECT_TRUE(can_open(file_.fd())) << "not the pool's file, so it is not used";
  EXPECT_EQ(unlink(elsewhere.c_str()), 0);
  EXPECT_EQ(close(fd), 0);
  EXPECT_TRUE(can_open(-1)) << mpool_error();
}

}  // namespace
