// Pools that processes share: what one leaves behind that dies, forks or executes.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "mpool/mpool.h"
#include "mpool/page_pool.h"
#include "tests/process/shared_pool.h"
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
using test_support::StatOf;

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
    pool_ = OpenShared(key_, file_.fd(), kSharedPageSize, 32);
    ASSERT_NE(pool_, nullptr) << mpool_error();
    RunAndDie([&] {
      Pool other = OpenShared(key_, -1, kSharedPageSize, 32);
      if (other == nullptr) _exit(1);
      auto* const bytes = static_cast<char*>(mpool_get(other.get(), 3, 0));
      if (bytes == nullptr) _exit(1);
      std::memset(bytes, 'x', kSharedPageSize / 2);
      Die();
    });
    // Whoever comes looks who is dead.
    EXPECT_NE(OpenShared(key_, -1, kSharedPageSize, 32), nullptr) << mpool_error();
  }
  void TearDown() override {
    pool_.reset();
    MpoolShared::TearDown();
  }
  static std::string HalfChanged() {
    return std::string(kSharedPageSize / 2, 'x') +
           Filled("3.", kSharedPageSize).substr(kSharedPageSize / 2);
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
    Pool other = OpenShared(key_, -1, kSharedPageSize, 32);
    if (other == nullptr || mpool_set_suspect(other.get(), MPOOL_SUSPECT_KEEP) != 0 ||
        mpool_get(other.get(), 3, 0) == nullptr) {
      _exit(1);
    }
    Die();
  });
  const Pool third = OpenShared(key_, -1, kSharedPageSize, 32);
  ASSERT_NE(third, nullptr) << mpool_error();
  EXPECT_TRUE(FailsWith(EIO, mpool_sync(third.get())));
  EXPECT_NE(std::string(mpool_error()).find("page 3 is not written"), std::string::npos)
      << mpool_error();
  EXPECT_TRUE(file_.Page(5, kSharedPageSize) == Filled("five ", kSharedPageSize));
  EXPECT_TRUE(file_.Page(3, kSharedPageSize) == Filled("3.", kSharedPageSize));
  EXPECT_TRUE(FailsWith(EIO, mpool_get(third.get(), 3, 0)));
  EXPECT_EQ(mpool_sync(third.get()), 0) << mpool_error();
  EXPECT_TRUE(file_.Page(3, kSharedPageSize) == Filled("three ", kSharedPageSize));
}

TEST_F(MpoolSuspect, ItIsKeptOrDroppedWhereThatIsAskedFor) {
  ASSERT_EQ(mpool_set_suspect(pool_.get(), MPOOL_SUSPECT_DROP), 0);
  EXPECT_TRUE(FailsWith(EINVAL, mpool_set_suspect(pool_.get(), 3)));
  EXPECT_TRUE(PageIn(pool_, 3) == Filled("3.", kSharedPageSize)) << "read again";
  RunAndDie([&] {
    Pool other = OpenShared(key_, -1, kSharedPageSize, 32);
    auto* const bytes =
        other == nullptr ? nullptr : static_cast<char*>(mpool_get(other.get(), 3, 0));
    if (bytes == nullptr) _exit(1);
    std::memset(bytes, 'x', kSharedPageSize / 2);
    Die();
  });
  ASSERT_EQ(mpool_set_suspect(pool_.get(), MPOOL_SUSPECT_KEEP), 0);
  const Pool fourth = OpenShared(key_, -1, kSharedPageSize, 32);
  ASSERT_NE(fourth, nullptr) << mpool_error();
  EXPECT_TRUE(PageIn(pool_, 3) == HalfChanged());
  EXPECT_EQ(mpool_sync(pool_.get()), 0) << mpool_error();
  EXPECT_TRUE(file_.Page(3, kSharedPageSize) == HalfChanged()) << "it is taken to be changed";
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
  const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  // Killed at any time while it works; most of its time it has the latch.
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const Pool other = OpenShared(key_, -1, kSharedPageSize, 8);
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
      EXPECT_EQ(std::string(static_cast<char*>(bytes), kSharedPageSize),
                Filled(std::to_string(page) + ".", kSharedPageSize));
      EXPECT_EQ(mpool_put(pool.get(), bytes, 0), 0);
    }
  }
}

// A sync writes pinned pages as they are. A process that is changing one puts it dirty, and it is
// written again; but this one dies. The file has half of the change then, so that the page must not go
// before somebody was told, although it is clean.
TEST_F(MpoolShared, HalfAChangeThatASyncHasWrittenIsTold) {
  const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  int to_child[2], to_parent[2];
  ASSERT_EQ(pipe(to_child), 0);
  ASSERT_EQ(pipe(to_parent), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    MPOOL* const other = OpenShared(key_, -1, kSharedPageSize, 8).release();
    if (other == nullptr) _exit(1);
    auto* const bytes = static_cast<char*>(mpool_get(other, 3, 0));
    if (bytes == nullptr || mpool_put(other, bytes, MPOOL_DIRTY) != 0 ||
        mpool_get(other, 3, 0) != bytes) {
      _exit(1);
    }
    std::memset(bytes, 'x', kSharedPageSize / 2);
    char byte = 0;
    (void)!write(to_parent[1], &byte, 1);
    (void)!read(to_child[0], &byte, 1);
    Die();
  }
  char byte = 0;
  ASSERT_EQ(read(to_parent[0], &byte, 1), 1);
  ASSERT_EQ(mpool_sync(pool.get()), 0) << mpool_error();
  EXPECT_EQ(file_.Read(uint64_t{3} * kSharedPageSize, 2), "xx") << "pinned pages are written too";
  ASSERT_EQ(write(to_child[1], &byte, 1), 1);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  for (const int end : {to_child[0], to_child[1], to_parent[0], to_parent[1]}) close(end);
  // Somebody notices, and then many other pages are used.
  EXPECT_NE(OpenShared(key_, -1, kSharedPageSize, 8), nullptr) << mpool_error();
  for (pgno_t page = 10; page < 60; ++page) {
    EXPECT_TRUE(PageIn(pool, page) == Filled(std::to_string(page) + ".", kSharedPageSize));
  }
  EXPECT_TRUE(FailsWith(EIO, mpool_get(pool.get(), 3, 0)));
  EXPECT_EQ(StatOf(pool).suspects, 1u);
}

// As long as the page is clean, and the file whole, there is nothing to be told.
TEST_F(MpoolShared, ACleanSuspectPageMayGoAndTheFileHasItWhole) {
  const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  ASSERT_NO_FATAL_FAILURE(RunAndDie([&] {
    MPOOL* const other = OpenShared(key_, -1, kSharedPageSize, 8).release();
    auto* const bytes = other == nullptr ? nullptr : static_cast<char*>(mpool_get(other, 3, 0));
    if (bytes == nullptr) _exit(1);
    std::memset(bytes, 'x', kSharedPageSize / 2);
    Die();
  }));
  EXPECT_NE(OpenShared(key_, -1, kSharedPageSize, 8), nullptr) << mpool_error();
  EXPECT_EQ(StatOf(pool).suspects, 1u);
  for (pgno_t page = 10; page < 60; ++page) {
    EXPECT_TRUE(PageIn(pool, page) == Filled(std::to_string(page) + ".", kSharedPageSize));
  }
  EXPECT_TRUE(PageIn(pool, 3) == Filled("3.", kSharedPageSize));
}

// A child that was forked from a participant has a copy of the descriptor by which others know that
// it lives. When the participant dies, they know all the same.
TEST_F(MpoolShared, AForkedChildDoesNotKeepItsParentAlive) {
  const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 8);
  ASSERT_NE(pool, nullptr) << mpool_error();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t participant = fork();
  ASSERT_GE(participant, 0);
  if (participant == 0) {
    close(ends[1]);
    MPOOL* const other = OpenShared(key_, -1, kSharedPageSize, 8).release();
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
  const Pool third = OpenShared(key_, -1, kSharedPageSize, 8);
  ASSERT_NE(third, nullptr) << mpool_error();
  EXPECT_EQ(StatOf(third).recoveries, 1u);
  EXPECT_EQ(StatOf(third).pins, 0u);
  close(ends[1]);
}

TEST_F(MpoolShared, AProgramThatAChildExecutesDoesNotDisturbTheParent) {
  const Pool pool = OpenShared(key_, file_.fd(), kSharedPageSize, 8);
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
  const Pool other = OpenShared(key_, -1, kSharedPageSize, 8);
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
    pools.push_back(OpenShared(key_, file_.fd(), kSharedPageSize, 8));
    ASSERT_NE(pools.back(), nullptr) << i << ": " << mpool_error();
  }
  std::string key = key_;
  DBT dbt{key.data(), key.size()};
  EXPECT_TRUE(FailsWith(EAGAIN, mpool_open(&dbt, -1, kSharedPageSize, 8)));
  pools.pop_back();
  ASSERT_NO_FATAL_FAILURE(RunAndDie([&] {
    const Pool one = OpenShared(key_, -1, kSharedPageSize, 8);
    if (one != nullptr) Die();
  }));
  pools.push_back(OpenShared(key_, file_.fd(), kSharedPageSize, 8));
  EXPECT_NE(pools.back(), nullptr) << mpool_error();
  EXPECT_EQ(PageIn(pools.back(), 9), Filled("9.", kSharedPageSize));
}

}  // namespace
