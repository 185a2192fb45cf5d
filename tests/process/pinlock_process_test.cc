// mpin(3) across fork, clone, vfork and exec. Every child is bounded in time
// (tests/support/child.h).

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "pinlock/mpin.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/sanitizer.h"
#include "tests/support/test_mapping.h"

namespace {

using test_support::ChildOptions;
using test_support::KernelEvidence;
using test_support::LockedBytes;
using test_support::PageSize;
using test_support::RunInChild;
using test_support::TestMapping;

uint64_t CountAt(const TestMapping& mapping, size_t page) {
  mpin_info info{};
  EXPECT_EQ(mpin_query(mapping.page(page), 1, &info), 0) << mpin_error();
  return info.count_max;
}

// What a new process must find: no locks, no counts, and a library that works.
void ExpectAFreshStart(const TestMapping& mapping) {
  EXPECT_EQ(LockedBytes(), 0u);
  mpin_stat stat{};
  ASSERT_EQ(mpin_get_stat(&stat, sizeof(stat)), 0);
  EXPECT_EQ(stat.pages_locked, 0u);
  EXPECT_EQ(stat.pins, 0u);
  EXPECT_EQ(CountAt(mapping, 0), 0u);
  EXPECT_EQ(munpin(mapping.page(0), 1), -1);
  EXPECT_EQ(errno, EINVAL);
  ASSERT_EQ(mpin(mapping.page(0), 2 * PageSize()), 0) << mpin_error();
  EXPECT_EQ(CountAt(mapping, 1), 1u);
  EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.range(0, 2)));
  ASSERT_EQ(munpin(mapping.page(0), 2 * PageSize()), 0);
  EXPECT_EQ(LockedBytes(), 0u);
}

class PinlockProcess : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(mpin(mapping_.page(0), 2 * PageSize()), 0) << mpin_error();
    ASSERT_EQ(mpin(mapping_.page(1), PageSize()), 0);
    before_ = KernelEvidence::Of(mapping_.all());
  }
  void TearDown() override {
    EXPECT_EQ(KernelEvidence::Of(mapping_.all()), before_) << "the parent is as it was";
    EXPECT_EQ(CountAt(mapping_, 0), 1u);
    EXPECT_EQ(CountAt(mapping_, 1), 2u);
    EXPECT_EQ(munpin(mapping_.page(1), PageSize()), 0);
    EXPECT_EQ(munpin(mapping_.page(0), 2 * PageSize()), 0);
    EXPECT_TRUE(KernelEvidence::Of(mapping_.all()).Locks({}));
  }

  TestMapping mapping_{4};
  KernelEvidence before_;
};

TEST_F(PinlockProcess, AForkedChildStartsWithNothingPinned) {
  RunInChild([this] { ExpectAFreshStart(mapping_); });
}

TEST_F(PinlockProcess, AGrandchildStartsWithNothingPinned) {
  RunInChild([this] {
    ASSERT_EQ(mpin(mapping_.page(0), 3 * PageSize()), 0);
    RunInChild([this] { ExpectAFreshStart(mapping_); });
    EXPECT_EQ(CountAt(mapping_, 2), 1u);
    EXPECT_TRUE(KernelEvidence::Of(mapping_.all()).Locks(mapping_.range(0, 3)));
  });
}

TEST_F(PinlockProcess, AChildOfTheBareCloneSystemCallStartsWithNothingPinned) {
  ChildOptions options;
  options.raw_clone = true;
  RunInChild(options, [this] { ExpectAFreshStart(mapping_); });
}

TEST_F(PinlockProcess, WhatTheChildPinsDoesNotCountInTheParent) {
  RunInChild([this] {
    for (int i = 0; i < 5; ++i) ASSERT_EQ(mpin(mapping_.page(0), 4 * PageSize()), 0);
  });
  EXPECT_EQ(CountAt(mapping_, 3), 0u);
}

// A vfork child, made by clone(2) with the same flags: sanitizers turn vfork(2) itself into a fork.
TEST_F(PinlockProcess, AVforkChildSharesTheCountsAsItSharesTheMemory) {
  alignas(16) static char stack[256 * 1024];
  const auto body = [](void* argument) {
    const auto& mapping = *static_cast<const TestMapping*>(argument);
    const bool shared =
        munpin(mapping.page(1), PageSize()) == 0 && mpin(mapping.page(2), PageSize()) == 0;
    _exit(shared ? 0 : 1);
    return 0;
  };
  const pid_t child =
      clone(body, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, &mapping_);
  ASSERT_GT(child, 0) << std::strerror(errno);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(CountAt(mapping_, 1), 1u);
  EXPECT_EQ(CountAt(mapping_, 2), 1u);
  EXPECT_TRUE(KernelEvidence::Of(mapping_.all()).Locks(mapping_.range(0, 3)));
  ASSERT_EQ(munpin(mapping_.page(2), PageSize()), 0);
  ASSERT_EQ(mpin(mapping_.page(1), PageSize()), 0);
}

TEST_F(PinlockProcess, ExecEndsEveryPin) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    if (mpin(mapping_.page(0), PageSize()) != 0 || dup2(ends[1], STDOUT_FILENO) < 0) _exit(1);
    execl("/bin/cat", "cat", "/proc/self/status", static_cast<char*>(nullptr));
    _exit(1);
  }
  close(ends[1]);
  std::string text;
  char part[4096];
  for (ssize_t bytes; (bytes = read(ends[0], part, sizeof(part))) > 0;) {
    text.append(part, static_cast<size_t>(bytes));
  }
  close(ends[0]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_NE(text.find("VmLck:\t       0 kB"), std::string::npos) << text;
}

TEST_F(PinlockProcess, AChildCanPinAtOnceWhereverTheOtherThreadsWereAtTheFork) {
  if (test_support::kThreadSanitizer) {
    GTEST_SKIP() << "ThreadSanitizer's own record of the latch can be held at the fork, for ever";
  }
  constexpr int kThreads = 2, kChildren = 25;
  TestMapping shared(64);
  std::atomic<bool> done{false};
  std::atomic<uint64_t> failures{0};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      while (!done) {
        if (mpin(shared.page(i), 40 * PageSize()) != 0) ++failures;
        if (munpin(shared.page(i), 40 * PageSize()) != 0) ++failures;
      }
    });
  }
  for (int i = 0; i < kChildren && !HasFailure(); ++i) {
    RunInChild([&] { ExpectAFreshStart(shared); });
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0u);
}

}  // namespace
