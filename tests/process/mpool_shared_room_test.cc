// Pools that processes share: where there is no room, the object is damaged, or somebody else wants it.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "mpool/internal/shared_region.h"
#include "mpool/mpool.h"
#include "mpool/page_pool.h"
#include "pinlock/testing.h"
#include "tests/process/shared_pool.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/sanitizer.h"
#include "tests/support/small_disk.h"
#include "tests/support/test_file.h"
#include "tests/support/test_pool.h"

namespace {

using mpool::PagePool;
using mpool::internal::SharedRegion;
using test_support::FailsWith;
using test_support::Filled;
using test_support::kSharedPageSize;
using test_support::MpoolShared;
using test_support::ObjectsLeft;
using test_support::OpenShared;
using test_support::PageIn;
using test_support::PathOf;
using test_support::Pool;
using test_support::RunInChild;
using test_support::StatOf;
using test_support::TestFile;

// --- The lock limit -----------------------------------------------------------------------------

TEST_F(MpoolShared, AProcessThatMayLockLessIsToldSoWhenItNeedsMore) {
  const TestFile file(1024, kSharedPageSize);
  const Pool pool = OpenShared(key_, file.fd(), kSharedPageSize, 1024);
  ASSERT_NE(pool, nullptr) << mpool_error();
  ASSERT_TRUE(test_support::CanPinAll(pool, 1024));
  RunInChild(test_support::Limited(1 << 20), [&] {
    const Pool other = OpenShared(key_, file.fd(), kSharedPageSize, 16);
    ASSERT_NE(other, nullptr) << mpool_error();
    pgno_t page = 0;
    for (void* bytes = &page; bytes != nullptr && page < 1024; ++page) {
      bytes = mpool_get(other.get(), page, 0);
      if (bytes == nullptr) break;
      EXPECT_EQ(mpool_put(other.get(), bytes, 0), 0);
    }
    EXPECT_GT(page, 100u) << "what it may lock it can use";
    EXPECT_LT(page, 1024u);
    EXPECT_EQ(errno, ENOMEM);
    const std::string text = mpool_error();
    EXPECT_NE(text.find("another process has made the pool larger"), text.npos) << text;
    EXPECT_NE(text.find("RLIMIT_MEMLOCK"), text.npos) << text;
    EXPECT_LE(test_support::LockedBytes(), uint64_t{1} << 20);
  });
  EXPECT_EQ(StatOf(pool).recoveries, 0u);
  EXPECT_EQ(StatOf(pool).pins, 0u);
}

TEST_F(MpoolShared, AProcessThatAsksForItHasAllLockedWhenItJoins) {
  const TestFile file(1024, kSharedPageSize);
  const Pool pool = OpenShared(key_, file.fd(), kSharedPageSize, 1024);
  ASSERT_NE(pool, nullptr) << mpool_error();
  ASSERT_TRUE(test_support::CanPinAll(pool, 1024));
  RunInChild([&] {
    const mpool::Options options{.key = key_, .pages_max = 1024, .prelock = true};
    auto other = PagePool::Open(-1, options);
    ASSERT_TRUE(other.ok()) << other.status();
    EXPECT_GE(test_support::LockedBytes(), uint64_t{1024} * kSharedPageSize);
    // A line for this thread; then all are hits, and none enters the kernel.
    ASSERT_TRUE((*other)->Get(0).ok());
    uint64_t failed = 0;
    if (!pinlock::testing::CanCountSyscalls() || test_support::kThreadSanitizer) return;
    EXPECT_NO_SYSCALLS({
      for (mpool::PageNumber page = 0; page < 1024; ++page) {
        if (!(*other)->Get(page).ok()) ++failed;
      }
    });
    EXPECT_EQ(failed, 0u);
    EXPECT_EQ((*other)->stats()->page_ins, 1024u);
  });
  RunInChild(test_support::Limited(2 << 20), [&] {
    const mpool::Options options{.key = key_, .pages_max = 1024, .prelock = true};
    EXPECT_EQ(PagePool::Open(file.fd(), options).status().code(),
              absl::StatusCode::kResourceExhausted);
  });
}

TEST_F(MpoolShared, ALimitOf64KiBIsEnoughForASmallOne) {
  RunInChild(test_support::Limited(64 << 10), [&] {
    const Pool pool = OpenShared(key_, file_.fd(), 512, 16);
    ASSERT_NE(pool, nullptr) << mpool_error();
    EXPECT_TRUE(test_support::CanPinAll(pool, 16));
  });
}

TEST_F(MpoolShared, UnlockedPagesAreNotHandedOut) {
  const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  EXPECT_TRUE(FailsWith(ENOTSUP, mpool_set_overflow(pool.get(), MPOOL_OVERFLOW_UNLOCKED)));
  EXPECT_EQ(mpool_set_overflow(pool.get(), MPOOL_OVERFLOW_FAIL), 0);
}

// --- Damage -------------------------------------------------------------------------------------

TEST_F(MpoolShared, ADamagedObjectIsAnErrorAndNoSignal) {
  const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  const std::string path = PathOf(key_);
  ASSERT_FALSE(path.empty());
  struct stat status {};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  const auto refused = [&] {
    std::string key = key_;
    DBT dbt{key.data(), key.size()};
    return FailsWith(EPROTO, mpool_open(&dbt, -1, kSharedPageSize, 8));
  };
  // Longer, and as it was.
  ASSERT_EQ(truncate(path.c_str(), status.st_size + 4096), 0);
  EXPECT_TRUE(refused());
  ASSERT_EQ(truncate(path.c_str(), status.st_size), 0);
  const Pool other = OpenShared(key_, -1, kSharedPageSize, 8);
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
    MPOOL* const pool = OpenShared(key_, file_.fd(), kSharedPageSize, 8).release();
    ASSERT_NE(pool, nullptr) << mpool_error();
    const std::string path = PathOf(key_);
    ASSERT_EQ(truncate(path.c_str(), 4096), 0);
    RunInChild([&] {
      std::string key = key_;
      DBT dbt{key.data(), key.size()};
      EXPECT_TRUE(FailsWith(EPROTO, mpool_open(&dbt, -1, kSharedPageSize, 8)));
    });
    EXPECT_EQ(unlink(path.c_str()), 0);
  });
}

// --- No room ------------------------------------------------------------------------------------

// A full /dev/shm is an error where the pool is made, and an end of its growth later. Nothing is ever
// touched that has no memory.
TEST_F(MpoolShared, WhereSharedMemoryIsFullThePoolEvictsOrFails) {
  test_support::OnSmallDisk(test_support::DiskKind::kTmpfs, [&](test_support::SmallDisk& disk) {
    const char* const place = SharedRegion::kFolder;
    if (mount(disk.directory().c_str(), place, nullptr, MS_BIND, nullptr) != 0) {
      GTEST_SKIP() << "no other file system can be mounted at " << place;
    }
    disk.LeaveBlocks(2);
    std::string key = key_;
    DBT dbt{key.data(), key.size()};
    EXPECT_TRUE(FailsWith(ENOSPC, mpool_open(&dbt, file_.fd(), kSharedPageSize, 64)));
    EXPECT_EQ(ObjectsLeft(), 0u);
    disk.LeaveBlocks(40);
    const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 64);
    ASSERT_NE(pool, nullptr) << mpool_error();
    for (pgno_t page = 0; page < 64; ++page) {
      EXPECT_TRUE(PageIn(pool, page) == Filled(std::to_string(page) + ".", kSharedPageSize))
          << page;
    }
    EXPECT_LT(StatOf(pool).frames, 64u);
    EXPECT_GT(StatOf(pool).evictions, 0u);
    // All that there are, and one more.
    std::vector<void*> pinned;
    for (pgno_t page = 0; page < 64; ++page) {
      void* const bytes = mpool_get(pool.get(), page, 0);
      if (bytes == nullptr) break;
      pinned.push_back(bytes);
    }
    EXPECT_LT(pinned.size(), 64u);
    EXPECT_EQ(errno, ENOSPC);
    EXPECT_NE(std::string(mpool_error()).find("/dev/shm"), std::string::npos) << mpool_error();
    for (void* bytes : pinned) EXPECT_EQ(mpool_put(pool.get(), bytes, 0), 0);
    disk.LeaveBlocks(100);
    EXPECT_TRUE(test_support::CanPinAll(pool, 64)) << mpool_error();
  });
}

TEST_F(MpoolShared, ALimitOnFilesIsAnErrorAndNoSignal) {
  RunInChild([&] {
    const rlimit limit{1 << 20, 1 << 20};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    std::string key = key_;
    DBT dbt{key.data(), key.size()};
    EXPECT_TRUE(FailsWith(EFBIG, mpool_open(&dbt, file_.fd(), kSharedPageSize, 8)));
    EXPECT_NE(std::string(mpool_error()).find("RLIMIT_FSIZE"), std::string::npos);
  });
}

// --- Strangers ----------------------------------------------------------------------------------

// Another user cannot open, shorten or occupy the pool of this one.
TEST_F(MpoolShared, AnotherUserCannotTouchIt) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  const std::string path = PathOf(key_);
  ASSERT_FALSE(path.empty());
  RunInChild([&] {
    constexpr uid_t kNobody = 65534;
    if (setresgid(kNobody, kNobody, kNobody) != 0 || setresuid(kNobody, kNobody, kNobody) != 0) {
      GTEST_SKIP() << "cannot become another user here";
    }
    EXPECT_EQ(open(path.c_str(), O_RDWR), -1);
    EXPECT_EQ(errno, EACCES);
    EXPECT_EQ(open(path.c_str(), O_RDONLY), -1);
    EXPECT_EQ(truncate(path.c_str(), 0), -1);
    EXPECT_NE(unlink(path.c_str()), 0);
    // All names but one, which is the last: it is found all the same.
    for (char name = '1'; name <= '9'; ++name) {
      const int fd =
          open((path.substr(0, path.size() - 1) + name).c_str(), O_RDWR | O_CREAT | O_EXCL, 0666);
      EXPECT_GE(fd, 0);
      close(fd);
    }
  });
  const Pool other = OpenShared(key_, -1, kSharedPageSize, 8);
  EXPECT_NE(other, nullptr) << mpool_error();
  for (char name = '1'; name <= '9'; ++name)
    unlink((path.substr(0, path.size() - 1) + name).c_str());
}

// What lies under the pool's name, made by somebody else or for others to use, is passed over.
TEST_F(MpoolShared, AnObjectThatIsNotOursAloneIsNotUsed) {
  std::string path;
  {
    const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 8);
    ASSERT_NE(pool, nullptr) << mpool_error();
    path = PathOf(key_);
  }
  ASSERT_FALSE(path.empty());
  const auto works = [&] {
    const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 8);
    if (pool == nullptr) return false;
    return PageIn(pool, 1) == Filled("1.", kSharedPageSize);
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
