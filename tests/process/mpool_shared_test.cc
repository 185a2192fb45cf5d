// Pools that processes share by a key: what they see of each other, and who may come.

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "mpool/internal/shared_region.h"
#include "mpool/mpool.h"
#include "mpool/page_pool.h"
#include "os/fault_count.h"
#include "pinlock/testing.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/sanitizer.h"
#include "tests/support/small_disk.h"
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

// Other tests may run beside this one, in pid namespaces of their own.
const std::string& RunName() {
  static const std::string name = " run " + std::to_string(std::random_device()());
  return name;
}

// One for each test and run, with zeros in it.
std::string MakeKey() {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  return std::string("\0key\0", 5) + test->test_suite_name() + test->name() + RunName();
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
    if (one.key.find(RunName()) != one.key.npos) ++count;
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
  void TearDown() override { EXPECT_EQ(ObjectsLeft(), 0u) << "an object was left behind"; }

  const std::string key_ = MakeKey();
  const TestFile file_{64, kPageSize};
};

TEST_F(MpoolShared, AChangeIsSeenByTheOthersBeforeAnySync) {
  const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 32);
  ASSERT_NE(pool, nullptr) << mpool_error();
  ChangePage(pool, 3, "changed ");
  RunInChild([&] {
    const Pool other = OpenShared(key_, -1, kPageSize, 32);
    ASSERT_NE(other, nullptr) << mpool_error();
    EXPECT_TRUE(PageIn(other, 3) == Filled("changed ", kPageSize));
    EXPECT_TRUE(PageIn(other, 4) == Filled("4.", kPageSize));
    ChangePage(other, 4, "by the other ");
    EXPECT_EQ(StatOf(other).page_ins, 2u) << "page 3 was not read again";
  });
  EXPECT_TRUE(PageIn(pool, 4) == Filled("by the other ", kPageSize));
  EXPECT_TRUE(file_.Page(4, kPageSize) == Filled("4.", kPageSize)) << "nobody has synchronised";
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
  EXPECT_TRUE(file_.Page(1, kPageSize) == Filled("one ", kPageSize));
  EXPECT_TRUE(file_.Page(2, kPageSize) == Filled("two ", kPageSize));
  EXPECT_EQ(mpool_sync(pool.get()), 0) << mpool_error();
  EXPECT_TRUE(file_.Page(3, kPageSize) == Filled("three ", kPageSize));
}

TEST_F(MpoolShared, TheLastToLeaveDiscardsDirtyPagesAndTheObject) {
  {
    const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 32);
    ASSERT_NE(pool, nullptr) << mpool_error();
    ChangePage(pool, 1, "lost ");
  }
  EXPECT_TRUE(file_.Page(1, kPageSize) == Filled("1.", kPageSize));
  const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 32);
  ASSERT_NE(pool, nullptr) << mpool_error();
  EXPECT_TRUE(PageIn(pool, 1) == Filled("1.", kPageSize));
}

TEST_F(MpoolShared, OneProcessMayHaveItOpenMoreThanOnce) {
  const Pool one = OpenShared(key_, file_.fd(), kPageSize, 8);
  const Pool two = OpenShared(key_, file_.fd(), kPageSize, 16);
  ASSERT_TRUE(one != nullptr && two != nullptr) << mpool_error();
  ChangePage(one, 5, "by one ");
  EXPECT_TRUE(PageIn(two, 5) == Filled("by one ", kPageSize));
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
  EXPECT_TRUE(PageIn(pool, 60) == Filled("60.", kPageSize));
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

TEST_F(MpoolShared, AProcessThatMayLockLessIsToldSoWhenItNeedsMore) {
  const TestFile file(1024, kPageSize);
  const Pool pool = OpenShared(key_, file.fd(), kPageSize, 1024);
  ASSERT_NE(pool, nullptr) << mpool_error();
  ASSERT_TRUE(test_support::CanPinAll(pool, 1024));
  RunInChild(test_support::Limited(1 << 20), [&] {
    const Pool other = OpenShared(key_, file.fd(), kPageSize, 16);
    ASSERT_NE(other, nullptr) << mpool_error();
    pgno_t page = 0;
    for (void* bytes = &page; bytes != nullptr && page < 1024; ++page) {
      bytes = mpool_get(other.get(), page, 0);
      if (bytes == nullptr) break;
      EXPECT_EQ(mpool_put(other.get(), bytes, 0), 0);
    }
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
  const TestFile file(1024, kPageSize);
  const Pool pool = OpenShared(key_, file.fd(), kPageSize, 1024);
  ASSERT_NE(pool, nullptr) << mpool_error();
  ASSERT_TRUE(test_support::CanPinAll(pool, 1024));
  RunInChild([&] {
    const mpool::Options options{.key = key_, .pages_max = 1024, .prelock = true};
    auto other = PagePool::Open(-1, options);
    ASSERT_TRUE(other.ok()) << other.status();
    EXPECT_GE(test_support::LockedBytes(), uint64_t{1024} * kPageSize);
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

// --- Death --------------------------------------------------------------------------------------

// Ends as kill -9 does, with whatever is pinned.
[[noreturn]] void Die() {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

// Runs it in a child, in which it dies.
void RunAndDie(const std::function<void()>& body) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    body();
    _exit(1);  // it should have died
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
}

class MpoolSuspect : public MpoolShared {
 protected:
  void SetUp() override {
    pool_ = OpenShared(key_, file_.fd(), kPageSize, 32);
    ASSERT_NE(pool_, nullptr) << mpool_error();
    RunAndDie([&] {
      Pool other = OpenShared(key_, -1, kPageSize, 32);
      if (other == nullptr) _exit(1);
      auto* const bytes = static_cast<char*>(mpool_get(other.get(), 3, 0));
      if (bytes == nullptr) _exit(1);
      std::memset(bytes, 'x', kPageSize / 2);
      Die();
    });
    // Whoever comes looks who is dead.
    EXPECT_NE(OpenShared(key_, -1, kPageSize, 32), nullptr) << mpool_error();
  }
  void TearDown() override {
    pool_.reset();
    MpoolShared::TearDown();
  }
  static std::string HalfChanged() {
    return std::string(kPageSize / 2, 'x') + Filled("3.", kPageSize).substr(kPageSize / 2);
  }

  Pool pool_;
};

TEST_F(MpoolSuspect, TheNextGetSaysSoOnce) {
  EXPECT_NE(mpool_get(pool_.get(), 40, 0), nullptr) << "another page is as ever";
  EXPECT_TRUE(FailsWith(EIO, mpool_get(pool_.get(), 3, 0)));
  EXPECT_NE(std::string(mpool_error()).find("page 3 may be half changed"), std::string::npos);
  EXPECT_TRUE(PageIn(pool_, 3) == HalfChanged());
  EXPECT_EQ(StatOf(pool_).suspects, 1u);
  EXPECT_EQ(StatOf(pool_).recoveries, 1u);
  EXPECT_EQ(StatOf(pool_).pins, 1u) << "page 40";
}

TEST_F(MpoolSuspect, ASyncSaysSoTooAndWritesTheOthers) {
  EXPECT_TRUE(FailsWith(EIO, mpool_get(pool_.get(), 3, 0)));
  ChangePage(pool_, 5, "five ");
  // Page 3 differs from the file for certain, so that a sync would write it.
  ChangePage(pool_, 3, "three ");
  RunAndDie([&] {
    Pool other = OpenShared(key_, -1, kPageSize, 32);
    if (other == nullptr || mpool_set_suspect(other.get(), MPOOL_SUSPECT_KEEP) != 0 ||
        mpool_get(other.get(), 3, 0) == nullptr) {
      _exit(1);
    }
    Die();
  });
  const Pool third = OpenShared(key_, -1, kPageSize, 32);
  ASSERT_NE(third, nullptr) << mpool_error();
  EXPECT_TRUE(FailsWith(EIO, mpool_sync(third.get())));
  EXPECT_NE(std::string(mpool_error()).find("page 3 is not written"), std::string::npos)
      << mpool_error();
  EXPECT_TRUE(file_.Page(5, kPageSize) == Filled("five ", kPageSize));
  EXPECT_TRUE(file_.Page(3, kPageSize) == Filled("3.", kPageSize));
  EXPECT_TRUE(FailsWith(EIO, mpool_get(third.get(), 3, 0)));
  EXPECT_EQ(mpool_sync(third.get()), 0) << mpool_error();
  EXPECT_TRUE(file_.Page(3, kPageSize) == Filled("three ", kPageSize));
}

TEST_F(MpoolSuspect, ItIsKeptOrDroppedWhereThatIsAskedFor) {
  ASSERT_EQ(mpool_set_suspect(pool_.get(), MPOOL_SUSPECT_DROP), 0);
  EXPECT_TRUE(FailsWith(EINVAL, mpool_set_suspect(pool_.get(), 3)));
  EXPECT_TRUE(PageIn(pool_, 3) == Filled("3.", kPageSize)) << "read again";
  RunAndDie([&] {
    Pool other = OpenShared(key_, -1, kPageSize, 32);
    auto* const bytes =
        other == nullptr ? nullptr : static_cast<char*>(mpool_get(other.get(), 3, 0));
    if (bytes == nullptr) _exit(1);
    std::memset(bytes, 'x', kPageSize / 2);
    Die();
  });
  ASSERT_EQ(mpool_set_suspect(pool_.get(), MPOOL_SUSPECT_KEEP), 0);
  const Pool fourth = OpenShared(key_, -1, kPageSize, 32);
  ASSERT_NE(fourth, nullptr) << mpool_error();
  EXPECT_TRUE(PageIn(pool_, 3) == HalfChanged());
  EXPECT_EQ(mpool_sync(pool_.get()), 0) << mpool_error();
  EXPECT_TRUE(file_.Page(3, kPageSize) == HalfChanged()) << "it is taken to be changed";
}

TEST_F(MpoolShared, OfACxxCallersPinsOnlyThoseForWritingAreSuspect) {
  const mpool::Options options{.key = key_, .pages_max = 32};
  auto pool = PagePool::Open(file_.fd(), options);
  ASSERT_TRUE(pool.ok()) << pool.status();
  ASSERT_NO_FATAL_FAILURE(RunAndDie([&] {
    auto other = PagePool::Open(-1, options);
    if (!other.ok()) _exit(1);
    auto read = (*other)->Get(1);
    auto written = (*other)->GetForWrite(2);
    if (!read.ok() || !written.ok()) _exit(1);
    Die();
  }));
  // It waits for a dead process' pin, and is told what that means.
  EXPECT_EQ((*pool)->GetForWrite(2).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE((*pool)->GetForWrite(2).ok());
  EXPECT_TRUE((*pool)->GetForWrite(1).ok());
  EXPECT_EQ((*pool)->stats()->suspects, 1u);
  EXPECT_EQ((*pool)->stats()->pins, 0u);
}

TEST_F(MpoolShared, TheLatchOfADeadProcessIsFree) {
  const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  // Killed at any time while it works; most of its time it has the latch.
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const Pool other = OpenShared(key_, -1, kPageSize, 8);
      for (pgno_t page = 0;; page = (page + 1) % 64) {
        void* const bytes = mpool_get(other.get(), page, 0);
        if (bytes != nullptr) mpool_put(other.get(), bytes, 0);
      }
    }
    usleep(static_cast<useconds_t>(3000 + 500 * round));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    for (pgno_t page = 0; page < 64; ++page) {
      void* bytes = mpool_get(pool.get(), page, 0);
      if (bytes == nullptr && errno == EIO) bytes = mpool_get(pool.get(), page, 0);
      ASSERT_NE(bytes, nullptr) << mpool_error();
      EXPECT_EQ(std::string(static_cast<char*>(bytes), kPageSize),
                Filled(std::to_string(page) + ".", kPageSize));
      EXPECT_EQ(mpool_put(pool.get(), bytes, 0), 0);
    }
  }
}

// A child that was forked from a participant has a copy of the descriptor by which others know that
// it lives. When the participant dies, they know all the same.
TEST_F(MpoolShared, AForkedChildDoesNotKeepItsParentAlive) {
  const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t participant = fork();
  ASSERT_GE(participant, 0);
  if (participant == 0) {
    close(ends[1]);
    MPOOL* const other = OpenShared(key_, -1, kPageSize, 8).release();
    if (mpool_get(other, 3, 0) == nullptr) _exit(1);
    if (fork() == 0) {
      char byte;
      (void)!read(ends[0], &byte, 1);  // until the test has ended
      _exit(0);
    }
    Die();
  }
  close(ends[0]);
  ASSERT_EQ(waitpid(participant, nullptr, 0), participant);
  const Pool third = OpenShared(key_, -1, kPageSize, 8);
  ASSERT_NE(third, nullptr) << mpool_error();
  EXPECT_EQ(StatOf(third).recoveries, 1u);
  EXPECT_EQ(StatOf(third).pins, 0u);
  close(ends[1]);
}

TEST_F(MpoolShared, AProgramThatAChildExecutesDoesNotDisturbTheParent) {
  const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  void* const page = mpool_get(pool.get(), 1, 0);
  ASSERT_NE(page, nullptr);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    execl("/bin/true", "true", nullptr);
    _exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  const Pool other = OpenShared(key_, -1, kPageSize, 8);
  ASSERT_NE(other, nullptr) << mpool_error();
  EXPECT_EQ(StatOf(other).recoveries, 0u);
  EXPECT_EQ(StatOf(other).pins, 1u);
  EXPECT_EQ(mpool_put(pool.get(), page, 0), 0);
}

TEST_F(MpoolShared, MoreThanSixtyFourAreTooManyUntilOneLeavesOrDies) {
  if (test_support::kThreadSanitizer)
    GTEST_SKIP() << "the sanitizer leaves no address space for all";
  std::vector<Pool> pools;
  for (int i = 0; i < 64; ++i) {
    pools.push_back(OpenShared(key_, file_.fd(), kPageSize, 8));
    ASSERT_NE(pools.back(), nullptr) << i << ": " << mpool_error();
  }
  std::string key = key_;
  DBT dbt{key.data(), key.size()};
  EXPECT_TRUE(FailsWith(EAGAIN, mpool_open(&dbt, -1, kPageSize, 8)));
  pools.pop_back();
  ASSERT_NO_FATAL_FAILURE(RunAndDie([&] {
    const Pool one = OpenShared(key_, -1, kPageSize, 8);
    if (one != nullptr) Die();
  }));
  pools.push_back(OpenShared(key_, file_.fd(), kPageSize, 8));
  EXPECT_NE(pools.back(), nullptr) << mpool_error();
  EXPECT_EQ(PageIn(pools.back(), 9), Filled("9.", kPageSize));
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
    EXPECT_TRUE(FailsWith(ENOSPC, mpool_open(&dbt, file_.fd(), kPageSize, 64)));
    EXPECT_EQ(ObjectsLeft(), 0u);
    disk.LeaveBlocks(40);
    const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 64);
    ASSERT_NE(pool, nullptr) << mpool_error();
    for (pgno_t page = 0; page < 64; ++page) {
      EXPECT_TRUE(PageIn(pool, page) == Filled(std::to_string(page) + ".", kPageSize)) << page;
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
    EXPECT_TRUE(FailsWith(EFBIG, mpool_open(&dbt, file_.fd(), kPageSize, 8)));
    EXPECT_NE(std::string(mpool_error()).find("RLIMIT_FSIZE"), std::string::npos);
  });
}

// --- Strangers ----------------------------------------------------------------------------------

// Another user cannot open, shorten or occupy the pool of this one.
TEST_F(MpoolShared, AnotherUserCannotTouchIt) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 8);
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
  const Pool other = OpenShared(key_, -1, kPageSize, 8);
  EXPECT_NE(other, nullptr) << mpool_error();
  for (char name = '1'; name <= '9'; ++name)
    unlink((path.substr(0, path.size() - 1) + name).c_str());
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
