// Pools that processes share by a key: what they see of each other, and who may come.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "mpool/internal/shared_region.h"
#include "mpool/mpool.h"
#include "mpool/page_pool.h"
#include "os/fault_count.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/test_file.h"
#include "tests/support/test_pool.h"

namespace {

using mpool::PagePool;
using mpool::internal::SharedRegion;
using test_support::ChangePage;
using test_support::FailsWith;
using test_support::Filled;
using test_support::PageIn;
using test_support::Pool;
using test_support::RunInChild;
using test_support::StatOf;
using test_support::TestFile;

constexpr pgno_t kPageSize = 4096;

// One for each test and run, with zeros in it.
std::string MakeKey() {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  return std::string("\0key\0", 5) + test->test_suite_name() + test->name() +
         std::to_string(getpid());
}

Pool OpenShared(std::string key, int fd, pgno_t page_size, pgno_t maxcache) {
  DBT dbt{key.data(), key.size()};
  return Pool(mpool_open(&dbt, fd, page_size, maxcache));
}

size_t ObjectsLeft() {
  const auto all = SharedRegion::List();
  EXPECT_TRUE(all.ok());
  size_t count = 0;
  for (const auto& one : *all) {
    if (one.participants == 0 || one.key.ends_with(std::to_string(getpid()))) ++count;
  }
  return count;
}

// Of the pool of this key; "": there is none.
std::string PathOf(const std::string& key) {
  const auto all = SharedRegion::List();
  EXPECT_TRUE(all.ok());
  for (const auto& one : *all) {
    if (one.key == key) return std::string(SharedRegion::kFolder) + "/" + one.name;
  }
  return "";
}

class MpoolShared : public testing::Test {
 protected:
  void SetUp() override { before_ = ObjectsLeft(); }
  void TearDown() override { EXPECT_EQ(ObjectsLeft(), before_) << "an object was left behind"; }

  const std::string key_ = MakeKey();
  const TestFile file_{64, kPageSize};
  size_t before_ = 0;
};

TEST_F(MpoolShared, AChangeIsSeenByTheOthersBeforeAnySync) {
  const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 32);
  ASSERT_NE(pool, nullptr) << mpool_error();
  ChangePage(pool, 3, "changed ");
  RunInChild([&] {
    const Pool other = OpenShared(key_, -1, kPageSize, 32);
    ASSERT_NE(other, nullptr) << mpool_error();
    EXPECT_EQ(PageIn(other, 3), Filled("changed ", kPageSize));
    EXPECT_EQ(PageIn(other, 4), Filled("4.", kPageSize));
    ChangePage(other, 4, "by the other ");
    EXPECT_EQ(StatOf(other).page_ins, 2u) << "page 3 was not read again";
  });
  EXPECT_EQ(PageIn(pool, 4), Filled("by the other ", kPageSize));
  EXPECT_EQ(file_.Page(4, kPageSize), Filled("4.", kPageSize)) << "nobody has synchronised";
  EXPECT_EQ(StatOf(pool).recoveries, 0u);
}

TEST_F(MpoolShared, ASyncByEitherWritesWhatBothHaveChanged) {
  const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 32);
  ASSERT_NE(pool, nullptr) << mpool_error();
  ChangePage(pool, 1, "one ");
  RunInChild([&] {
    const Pool other = OpenShared(key_, -1, kPageSize, 32);
    ASSERT_NE(other, nullptr) << mpool_error();
    ChangePage(other, 2, "two ");
    EXPECT_EQ(mpool_sync(other.get()), 0) << mpool_error();
    ChangePage(other, 3, "three ");
  });
  EXPECT_EQ(file_.Page(1, kPageSize), Filled("one ", kPageSize));
  EXPECT_EQ(file_.Page(2, kPageSize), Filled("two ", kPageSize));
  EXPECT_EQ(mpool_sync(pool.get()), 0) << mpool_error();
  EXPECT_EQ(file_.Page(3, kPageSize), Filled("three ", kPageSize));
}

TEST_F(MpoolShared, TheLastToLeaveDiscardsDirtyPagesAndTheObject) {
  {
    const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 32);
    ASSERT_NE(pool, nullptr) << mpool_error();
    ChangePage(pool, 1, "lost ");
  }
  EXPECT_EQ(file_.Page(1, kPageSize), Filled("1.", kPageSize));
  const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 32);
  ASSERT_NE(pool, nullptr) << mpool_error();
  EXPECT_EQ(PageIn(pool, 1), Filled("1.", kPageSize));
}

TEST_F(MpoolShared, OneProcessMayHaveItOpenMoreThanOnce) {
  const Pool one = OpenShared(key_, file_.fd(), kPageSize, 8);
  const Pool two = OpenShared(key_, file_.fd(), kPageSize, 16);
  ASSERT_TRUE(one != nullptr && two != nullptr) << mpool_error();
  ChangePage(one, 5, "by one ");
  EXPECT_EQ(PageIn(two, 5), Filled("by one ", kPageSize));
}

TEST_F(MpoolShared, MaxcacheIsTheLargestThatWasAskedFor) {
  const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  EXPECT_EQ(pool->maxcache, 8u);
  RunInChild([&] {
    const Pool other = OpenShared(key_, -1, kPageSize, 48);
    ASSERT_NE(other, nullptr) << mpool_error();
    EXPECT_EQ(other->maxcache, 48u);
    EXPECT_TRUE(test_support::CanPinAll(other, 48));
    EXPECT_EQ(StatOf(other).frames_overflow, 0u);
  });
  EXPECT_EQ(PageIn(pool, 60), Filled("60.", kPageSize));
  EXPECT_EQ(pool->maxcache, 48u);
  EXPECT_EQ(StatOf(pool).pins, 0u);
  const Pool smaller = OpenShared(key_, -1, kPageSize, 1);
  ASSERT_NE(smaller, nullptr) << mpool_error();
  EXPECT_EQ(smaller->maxcache, 48u);
}

TEST_F(MpoolShared, AnotherPageSizeIsRefusedAndBothAreNamed) {
  const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  std::string key = key_;
  DBT dbt{key.data(), key.size()};
  EXPECT_TRUE(FailsWith(EINVAL, mpool_open(&dbt, file_.fd(), 512, 8)));
  EXPECT_NE(std::string(mpool_error()).find("4096"), std::string::npos);
  EXPECT_NE(std::string(mpool_error()).find("512"), std::string::npos);
}

TEST_F(MpoolShared, KeysThatDifferOnlyAfterAZeroAreTwoPools) {
  const TestFile other_file(8, kPageSize);
  std::string key = key_ + '\0' + "a", other_key = key_ + '\0' + "b";
  const Pool pool = OpenShared(key, file_.fd(), kPageSize, 8);
  const Pool other = OpenShared(other_key, other_file.fd(), kPageSize, 8);
  ASSERT_TRUE(pool != nullptr && other != nullptr) << mpool_error();
  EXPECT_EQ(pool->npages, 64u);
  EXPECT_EQ(other->npages, 8u);
}

TEST_F(MpoolShared, AChildIsNotAParticipantByItsParentsHandle) {
  const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 8);
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
  const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 64);
  ASSERT_NE(pool, nullptr) << mpool_error();
  EXPECT_TRUE(test_support::CanPinAll(pool, 64));
  RunInChild([&] {
    const Pool other = OpenShared(key_, -1, kPageSize, 64);
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
    EXPECT_EQ((os::FaultCount::OfThisThread() - before).total(), 0u);
    EXPECT_EQ(failed, 0u);
    EXPECT_EQ(StatOf(other).page_ins, 64u);
  });
}

// The file is found by the path that it had, by the caller's descriptor, or by another process'.
TEST_F(MpoolShared, TheFileIsFoundInThreeWays) {
  const std::string path = testing::TempDir() + "shared-pool-file";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(ftruncate(fd, 16 * kPageSize), 0);
  const Pool pool = OpenShared(key_, fd, kPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  const auto can_open = [&](int descriptor) {
    const Pool other = OpenShared(key_, descriptor, kPageSize, 8);
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

TEST_F(MpoolShared, AProcessThatMayLockLessIsToldSo) {
  const TestFile file(1024, kPageSize);
  const Pool pool = OpenShared(key_, file.fd(), kPageSize, 1024);
  ASSERT_NE(pool, nullptr) << mpool_error();
  ASSERT_TRUE(test_support::CanPinAll(pool, 1024));
  RunInChild(test_support::Limited(1 << 20), [&] {
    const Pool other = OpenShared(key_, file.fd(), kPageSize, 16);
    EXPECT_EQ(other, nullptr);
    EXPECT_EQ(errno, ENOMEM);
    EXPECT_NE(std::string(mpool_error()).find("RLIMIT_MEMLOCK"), std::string::npos)
        << mpool_error();
  });
  EXPECT_EQ(StatOf(pool).recoveries, 0u);
}

TEST_F(MpoolShared, ALimitOf64KiBIsEnoughForASmallOne) {
  RunInChild(test_support::Limited(64 << 10), [&] {
    const Pool pool = OpenShared(key_, file_.fd(), 512, 16);
    ASSERT_NE(pool, nullptr) << mpool_error();
    EXPECT_TRUE(test_support::CanPinAll(pool, 16));
  });
}

TEST_F(MpoolShared, UnlockedPagesAreNotHandedOut) {
  const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  EXPECT_TRUE(FailsWith(ENOTSUP, mpool_set_overflow(pool.get(), MPOOL_OVERFLOW_UNLOCKED)));
  EXPECT_EQ(mpool_set_overflow(pool.get(), MPOOL_OVERFLOW_FAIL), 0);
}

TEST_F(MpoolShared, ADamagedObjectIsAnErrorAndNoSignal) {
  const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  const std::string path = PathOf(key_);
  ASSERT_FALSE(path.empty());
  struct stat status {};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  const auto refused = [&] {
    std::string key = key_;
    DBT dbt{key.data(), key.size()};
    return FailsWith(EPROTO, mpool_open(&dbt, -1, kPageSize, 8));
  };
  // Longer, and as it was.
  ASSERT_EQ(truncate(path.c_str(), status.st_size + 4096), 0);
  EXPECT_TRUE(refused());
  ASSERT_EQ(truncate(path.c_str(), status.st_size), 0);
  const Pool other = OpenShared(key_, -1, kPageSize, 8);
  EXPECT_NE(other, nullptr) << mpool_error();
  // Each byte of the first line, changed and put back.
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  for (off_t i = 0; i < 16; ++i) {
    char byte = 0;
    ASSERT_EQ(pread(fd, &byte, 1, i), 1);
    const char changed = static_cast<char>(byte ^ 0x40);
    ASSERT_EQ(pwrite(fd, &changed, 1, i), 1);
    EXPECT_TRUE(refused()) << i;
    ASSERT_EQ(pwrite(fd, &byte, 1, i), 1);
  }
  EXPECT_EQ(close(fd), 0);
}

TEST_F(MpoolShared, ATruncatedObjectIsAnErrorForWhoComes) {
  RunInChild([&] {
    // Not closed: to touch it now is SIGBUS, whatever the library does.
    MPOOL* const pool = OpenShared(key_, file_.fd(), kPageSize, 8).release();
    ASSERT_NE(pool, nullptr) << mpool_error();
    const std::string path = PathOf(key_);
    ASSERT_EQ(truncate(path.c_str(), 4096), 0);
    RunInChild([&] {
      std::string key = key_;
      DBT dbt{key.data(), key.size()};
      EXPECT_TRUE(FailsWith(EPROTO, mpool_open(&dbt, -1, kPageSize, 8)));
    });
    EXPECT_EQ(unlink(path.c_str()), 0);
  });
}

// What lies under the pool's name, made by somebody else or for others to use, is passed over.
TEST_F(MpoolShared, AnObjectThatIsNotOursAloneIsNotUsed) {
  std::string path;
  {
    const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 8);
    ASSERT_NE(pool, nullptr) << mpool_error();
    path = PathOf(key_);
  }
  ASSERT_FALSE(path.empty());
  const auto works = [&] {
    const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 8);
    if (pool == nullptr) return false;
    return PageIn(pool, 1) == Filled("1.", kPageSize);
  };
  {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL, 0666);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(fchmod(fd, 0666), 0);
    EXPECT_TRUE(works()) << mpool_error();
    struct stat status {};
    EXPECT_EQ(fstat(fd, &status), 0);
    EXPECT_EQ(status.st_size, 0) << "it was used";
    EXPECT_EQ(close(fd), 0);
    EXPECT_EQ(unlink(path.c_str()), 0);
  }
  ASSERT_EQ(symlink("/etc/passwd", path.c_str()), 0);
  EXPECT_TRUE(works()) << mpool_error();
  EXPECT_EQ(unlink(path.c_str()), 0);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_TRUE(works()) << mpool_error();
  EXPECT_EQ(unlink(path.c_str()), 0);
}

}  // namespace
