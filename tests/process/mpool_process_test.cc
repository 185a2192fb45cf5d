// A pool and fork: it belongs to the parent alone.

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/mpool.h"
#include "mpool/page_pool.h"
#include "os/fault_count.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/sanitizer.h"
#include "tests/support/test_file.h"
#include "tests/support/test_pool.h"

namespace {

using test_support::CanPinAll;
using test_support::ChangePage;
using test_support::ChildOptions;
using test_support::FailsWith;
using test_support::Filled;
using test_support::LockedBytes;
using test_support::OpenPool;
using test_support::PageIn;
using test_support::Pool;
using test_support::RunInChild;
using test_support::StatOf;
using test_support::TestFile;

constexpr pgno_t kPageSize = 4096;

// Through the C library's fork, and through the system call alone, which runs no fork handlers.
class MpoolFork : public testing::TestWithParam<bool> {
 protected:
  ChildOptions options() const {
    ChildOptions options;
    options.raw_clone = GetParam();
    return options;
  }
};

// Every call on the pool, in a process that did not open it.
void ExpectThatEveryCallFails(MPOOL* mp, void* page) {
  const auto fails = [](auto result) {
    const testing::AssertionResult failed = FailsWith(EINVAL, result);
    if (!failed) return failed;
    const std::string text = mpool_error();
    if (text.find("fork") == text.npos) return testing::AssertionFailure() << text;
    return testing::AssertionSuccess();
  };
  pgno_t number = 0;
  struct mpool_stat stat;
  EXPECT_TRUE(fails(mpool_get(mp, 0, 0)));
  EXPECT_TRUE(fails(mpool_new(mp, &number, 0)));
  EXPECT_TRUE(fails(mpool_put(mp, page, MPOOL_DIRTY)));
  EXPECT_TRUE(fails(mpool_delete(mp, page)));
  EXPECT_TRUE(fails(mpool_sync(mp)));
  EXPECT_TRUE(fails(mpool_get_stat(mp, &stat, sizeof(stat))));
  EXPECT_TRUE(fails(mpool_set_eof(mp, MPOOL_EOF_ZERO)));
  EXPECT_TRUE(fails(mpool_set_overflow(mp, MPOOL_OVERFLOW_FAIL)));
  EXPECT_TRUE(fails(mpool_prefetch(mp, &number, 1)));
  mpool_filter(mp, nullptr, nullptr, nullptr);  // has no way to fail
  mpool_stat(mp);
  EXPECT_TRUE(fails(mpool_close(mp)));
}

TEST_P(MpoolFork, InTheChildEveryCallFailsWithEINVALAndTheParentIsUnaffected) {
  const TestFile file(4, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 4);
  ChangePage(pool, 1, "new ");
  void* page = mpool_get(pool.get(), 0, 0);
  const uint64_t locked = LockedBytes();
  RunInChild(options(), [&] {
    ExpectThatEveryCallFails(pool.get(), page);
    EXPECT_EQ(LockedBytes(), 0u);
  });
  EXPECT_EQ(LockedBytes(), locked);
  EXPECT_EQ(StatOf(pool).pins, 1u);
  EXPECT_EQ(mpool_put(pool.get(), page, 0), 0);
  EXPECT_EQ(mpool_sync(pool.get()), 0);
  EXPECT_EQ(file.Page(1, kPageSize), Filled("new ", kPageSize));
  EXPECT_TRUE(CanPinAll(pool, 4));
}

TEST_P(MpoolFork, TheChildMayOpenAPoolOfItsOwn) {
  const TestFile file(4, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 2);
  EXPECT_EQ(PageIn(pool, 1), Filled("1.", kPageSize));
  RunInChild(options(), [&] {
    const Pool own = OpenPool(file, kPageSize, 2);
    ChangePage(own, 1, "child ");
    EXPECT_EQ(mpool_sync(own.get()), 0);
    EXPECT_EQ(StatOf(own).frames_locked, 2u);
  });
  EXPECT_EQ(file.Page(1, kPageSize), Filled("child ", kPageSize));
  EXPECT_EQ(PageIn(pool, 1), Filled("1.", kPageSize));  // what the parent has read
}

TEST_P(MpoolFork, InTheChildACxxPoolFailsAndItsObjectsEndQuietly) {
  const TestFile file(4, kPageSize);
  auto pool = mpool::PagePool::Open(file.fd(), {.page_size = kPageSize, .pages_max = 4});
  ASSERT_TRUE(pool.ok()) << pool.status();
  auto pin = (*pool)->GetForWrite(1);
  ASSERT_TRUE(pin.ok());
  RunInChild(options(), [&] {
    EXPECT_EQ((*pool)->Get(0).status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ((*pool)->New().status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ((*pool)->Sync().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ((*pool)->stats().status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ((*pool)->page_count().status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ((*pool)->Delete(*pin).code(), absl::StatusCode::kFailedPrecondition);
    pool->reset();  // with a pin on it
    pin->MarkDirty();
  });
  RunInChild(options(), [&] {
    pin->MarkDirty();
    pin->Release();
    pool->reset();
  });
  EXPECT_EQ((*pool)->stats()->pins, 1u);
  EXPECT_EQ((*pool)->stats()->dirty, 0u);
  pin->Release();
  EXPECT_TRUE((*pool)->GetForWrite(1).ok());
}

// More threads than a pool has lines in its first page: their pins lie elsewhere.
TEST_P(MpoolFork, InTheChildPinsOfManyThreadsEndQuietly) {
  const TestFile file(4, kPageSize);
  auto pool = mpool::PagePool::Open(file.fd(), {.page_size = kPageSize, .pages_max = 4});
  ASSERT_TRUE(pool.ok()) << pool.status();
  std::vector<mpool::PagePin> pins;
  for (int i = 0; i < 20; ++i) {
    std::thread([&] {
      auto pin = (*pool)->Get(1);
      ASSERT_TRUE(pin.ok()) << pin.status();
      pins.push_back(*std::move(pin));
    }).join();
  }
  RunInChild(options(), [&] {
    pins.clear();
    EXPECT_EQ((*pool)->Get(1).status().code(), absl::StatusCode::kFailedPrecondition);
  });
  EXPECT_EQ((*pool)->stats()->pins, 20u);
  pins.clear();
  EXPECT_EQ((*pool)->stats()->pins, 0u);
}

INSTANTIATE_TEST_SUITE_P(, MpoolFork, testing::Bool(),
                         [](const auto& raw) { return raw.param ? "Clone" : "Fork"; });

// Gets each page, changes it, and puts it. Returns the faults that took.
os::FaultCount ChangePages(MPOOL* mp, pgno_t first, pgno_t count, pgno_t modulus) {
  const os::FaultCount before = os::FaultCount::OfThisThread();
  for (pgno_t i = 0; i < count; ++i) {
    auto* bytes = static_cast<char*>(mpool_get(mp, (first + i) % modulus, 0));
    bytes[i % kPageSize] = 'x';
    mpool_put(mp, bytes, MPOOL_DIRTY);
  }
  return os::FaultCount::OfThisThread() - before;
}

// Of changing 255 pages while a child lives that was forked after the pages were read.
os::FaultCount FaultsAfterAFork(MPOOL* pool) {
  // The child ends when the pipe is closed, so it is alive during the hits.
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  EXPECT_GE(child, 0);
  if (child == 0) {
    close(ends[1]);
    char byte;
    (void)!read(ends[0], &byte, 1);
    _exit(0);
  }
  (void)ChangePages(pool, 0, 20'000, 1);  // page 0 alone: what the calls themselves write to
  test_support::CopyOwnMemoryAfterFork();
  const os::FaultCount faults = ChangePages(pool, 1, 255, 256);
  close(ends[0]);
  close(ends[1]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return faults;
}

TEST(MpoolForkFaults, AfterAForkHitsOfTheParentTakeNoCopyOnWriteFaults) {
  if (test_support::kThreadSanitizer) {
    GTEST_SKIP() << "the thread sanitizer's own memory takes copy-on-write faults at each access";
  }
  const TestFile file(256, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 256);
  for (pgno_t page = 0; page < 256; ++page) (void)PageIn(pool, page);
  // Copies of frames would be faults each time, 255 of them. The process' other memory takes one now
  // and then, on a busy machine.
  os::FaultCount faults = FaultsAfterAFork(pool.get());
  for (int i = 0; i < 4 && faults.total() > 0; ++i) {
    ASSERT_LT(faults.total(), 8u);
    faults = FaultsAfterAFork(pool.get());
  }
  EXPECT_EQ(faults.minor, 0u);
  EXPECT_EQ(faults.major, 0u);
}

// Ends with 0 if the pool refuses. Allocates nothing, as another thread may have been in malloc.
[[noreturn]] void UseThePoolOfTheParent(MPOOL* mp) {
  alarm(30);
  if (mpool_get(mp, 0, 0) != nullptr || errno != EINVAL) _exit(1);
  if (mpool_sync(mp) != -1 || errno != EINVAL) _exit(2);
  _exit(0);
}

TEST(MpoolForkThreads, AForkInTheMidstOfOtherThreadsCallsLeavesNoLatchHeld) {
  const TestFile file(64, kPageSize);
  const Pool pool = OpenPool(file, kPageSize, 8);
  std::atomic<bool> done = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      for (pgno_t page = 0; !done; page = (page + 7) % 64) {
        mpool_put(pool.get(), mpool_get(pool.get(), page, 0), 0);
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) UseThePoolOfTheParent(pool.get());
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(StatOf(pool).pins, 0u);
}

}  // namespace
