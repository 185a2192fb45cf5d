#include "os/syscall_count.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

#include "tests/support/child.h"
#include "tests/support/forbid_dispatch.h"
#include "tests/support/sanitizer.h"

namespace os {
namespace {

// ThreadSanitizer's runtime waits for its own latches (futex) where threads use one atomic variable.
constexpr uint64_t kOfRuntime = test_support::kThreadSanitizer ? 20 : 0;

volatile sig_atomic_t handled = 0;

void OnSignal(int) { handled = handled + 1; }

// A call of the C library that a sanitizer does not wrap.
long Getpid() { return syscall(SYS_getpid); }

class SyscallCountTest : public ::testing::Test {
 protected:
  void SetUp() override {
    SyscallCounter counter;
    const Errno error = counter.Start();
    if (!error.ok()) GTEST_SKIP() << "no Syscall User Dispatch here: " << error.Name();
  }

  static SyscallCount CountOf(const std::function<void()>& body) {
    SyscallCounter counter;
    EXPECT_EQ(counter.Start(), kSuccess);
    body();
    return counter.Stop();
  }
};

TEST_F(SyscallCountTest, CodeWithoutCallsHasNone) {
  volatile int sum = 0;
  const SyscallCount count = CountOf([&] {
    for (int i = 0; i < 1000; ++i) sum = sum + i;
  });
  EXPECT_EQ(count.calls, 0u) << NameOfSyscall(count.first);
  EXPECT_EQ(count.first, -1);
  EXPECT_TRUE(count.complete);
}

TEST_F(SyscallCountTest, CountsEachCallAndNamesTheFirst) {
  const SyscallCount count = CountOf([] {
    (void)Getpid();
    (void)syscall(SYS_gettid);
    (void)syscall(SYS_getuid);
  });
  EXPECT_EQ(count.calls, 3u);
  EXPECT_EQ(count.first, SYS_getpid);
  EXPECT_EQ(NameOfSyscall(count.first), "getpid");
  EXPECT_TRUE(count.complete);
}

TEST_F(SyscallCountTest, StartsAtZeroEachTime) {
  SyscallCounter counter;
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(counter.Start(), kSuccess);
    (void)Getpid();
    EXPECT_EQ(counter.Stop().calls, 1u);
    (void)Getpid();
    EXPECT_EQ(counter.Stop().calls, 0u) << "it does not count";
  }
}

TEST_F(SyscallCountTest, CallsDoWhatTheyAlwaysDo) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  const long pid = Getpid();
  long pid_seen = 0, written = 0, got = 0, moved = 0;
  std::array<char, 6> data{};
  void* mapped = nullptr;
  const SyscallCount count = CountOf([&] {
    pid_seen = Getpid();
    written = syscall(SYS_write, ends[1], "hello", 6);
    got = syscall(SYS_read, ends[0], data.data(), data.size());
    // Six arguments.
    mapped = reinterpret_cast<void*>(syscall(SYS_mmap, nullptr, 4096, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    moved = syscall(SYS_munmap, mapped, 4096);
  });
  EXPECT_EQ(count.calls, 5u);
  EXPECT_EQ(pid_seen, pid);
  EXPECT_EQ(written, 6);
  EXPECT_EQ(got, 6);
  EXPECT_STREQ(data.data(), "hello");
  EXPECT_NE(mapped, MAP_FAILED);
  EXPECT_EQ(moved, 0);
  (void)close(ends[0]);
  (void)close(ends[1]);
}

TEST_F(SyscallCountTest, FailedCallsHaveTheirErrno) {
  std::array<int, 4> errors{};
  const SyscallCount count = CountOf([&] {
    EXPECT_EQ(syscall(SYS_close, -1), -1);
    errors[0] = errno;
    EXPECT_EQ(syscall(SYS_openat, AT_FDCWD, "/nonexistent", O_RDONLY), -1);
    errors[1] = errno;
    EXPECT_EQ(syscall(SYS_munmap, 1, 4096), -1);
    errors[2] = errno;
    EXPECT_EQ(syscall(9999), -1);
    errors[3] = errno;
  });
  EXPECT_EQ(count.calls, 4u);
  EXPECT_EQ(errors, (std::array<int, 4>{EBADF, ENOENT, EINVAL, ENOSYS}));
}

TEST_F(SyscallCountTest, RegistersAndStackSurviveACall) {
  // The words below the stack pointer belong to the function that makes the call (the red zone).
  const auto sum = [](long seed) {
    volatile long words[12];
    for (long i = 0; i < 12; ++i) words[i] = seed + i;
    const double fraction = static_cast<double>(seed) / 3;
    long pid = 0;
    for (int round = 0; round < 100; ++round) pid = Getpid();
    long total = static_cast<long>(fraction * 3) + (pid > 0 ? 1 : 0);
    for (long i = 0; i < 12; ++i) total += words[i];
    return total;
  };
  const long expected = sum(300);
  long seen = 0;
  EXPECT_EQ(CountOf([&] { seen = sum(300); }).calls, 100u);
  EXPECT_EQ(seen, expected);
}

TEST_F(SyscallCountTest, TheVdsoIsNotCounted) {
  timespec now{};
  ASSERT_EQ(clock_gettime(CLOCK_MONOTONIC_COARSE, &now), 0);
  // The coarse clock: the exact ones enter the kernel on machines without a stable counter.
  EXPECT_EQ(CountOf([&] { (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now); }).calls, 0u);
}

TEST_F(SyscallCountTest, OtherThreadsAreNotCounted) {
  std::atomic<int> stage{0};
  std::thread other([&] {
    while (stage != 1) {
    }
    for (int i = 0; i < 100; ++i) (void)Getpid();
    stage = 2;
  });
  const SyscallCount count = CountOf([&] {
    stage = 1;
    while (stage != 2) {
    }
  });
  other.join();
  EXPECT_LE(count.calls, kOfRuntime) << NameOfSyscall(count.first);
}

TEST_F(SyscallCountTest, TwoThreadsCountAtTheSameTime) {
  std::atomic<int> counting{0};
  std::atomic<int> done{0};
  std::array<SyscallCount, 2> counts;
  const auto run = [&](SyscallCount& result, uint64_t calls) {
    result = CountOf([&] {
      ++counting;
      while (counting != 2) {
      }
      for (uint64_t i = 0; i < calls; ++i) (void)Getpid();
      ++done;
      while (done != 2) {
      }
    });
  };
  std::thread other([&] { run(counts[1], 70); });
  run(counts[0], 30);
  other.join();
  EXPECT_GE(counts[0].calls, 30u);
  EXPECT_LE(counts[0].calls, 30u + kOfRuntime);
  EXPECT_GE(counts[1].calls, 70u);
  EXPECT_LE(counts[1].calls, 70u + kOfRuntime);
}

TEST_F(SyscallCountTest, TheProgramsActionForSigsysComesBack) {
  struct sigaction action {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  struct sigaction before {};
  ASSERT_EQ(sigaction(SIGSYS, &action, &before), 0);
  EXPECT_EQ(CountOf([] { (void)Getpid(); }).calls, 1u);
  handled = 0;
  ASSERT_EQ(raise(SIGSYS), 0);
  EXPECT_EQ(handled, 1);
  struct sigaction after {};
  ASSERT_EQ(sigaction(SIGSYS, &before, &after), 0);
  EXPECT_EQ(after.sa_handler, OnSignal);
  EXPECT_EQ(after.sa_flags & SA_RESTART, SA_RESTART);
}

TEST_F(SyscallCountTest, ABlockedSigsysIsBlockedAgainAfterwards) {
  sigset_t set;
  sigset_t old;
  sigemptyset(&set);
  sigaddset(&set, SIGSYS);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &set, &old), 0);
  EXPECT_EQ(CountOf([] { (void)Getpid(); }).calls, 1u);
  sigset_t now;
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &old, &now), 0);
  EXPECT_EQ(sigismember(&now, SIGSYS), 1);
}

TEST_F(SyscallCountTest, ASigsysOfSomebodyElseIsTheProgramsWhileCounting) {
  struct sigaction action {};
  action.sa_handler = OnSignal;
  struct sigaction before {};
  ASSERT_EQ(sigaction(SIGSYS, &action, &before), 0);
  handled = 0;
  const SyscallCount count =
      CountOf([] { (void)syscall(SYS_tgkill, Getpid(), syscall(SYS_gettid), SIGSYS); });
  EXPECT_EQ(handled, 1);
  EXPECT_EQ(count.calls, 3u);
  ASSERT_EQ(sigaction(SIGSYS, &before, nullptr), 0);
}

TEST_F(SyscallCountTest, ASignalHandlerRunsAndReturns) {
  if (test_support::kThreadSanitizer) {
    GTEST_SKIP()
        << "ThreadSanitizer runs signal handlers with SIGSYS blocked, which ends the process";
  }
  struct sigaction action {};
  action.sa_handler = [](int) {
    (void)Getpid();
    OnSignal(0);
  };
  struct sigaction before {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  handled = 0;
  SyscallCount count =
      CountOf([] { (void)syscall(SYS_tgkill, Getpid(), syscall(SYS_gettid), SIGUSR1); });
  EXPECT_EQ(handled, 1);
  EXPECT_EQ(count.calls, 4u) << "the handler's own is one";
  EXPECT_TRUE(count.complete);

  // In the middle of a call that blocks.
  ASSERT_EQ(sigaction(SIGALRM, &action, nullptr), 0);
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  itimerval timer{};
  timer.it_value.tv_usec = timer.it_interval.tv_usec = 10'000;  // one comes while it waits
  ASSERT_EQ(setitimer(ITIMER_REAL, &timer, nullptr), 0);
  long got = 0;
  int error = 0;
  count = CountOf([&] {
    char byte = 0;
    got = syscall(SYS_read, ends[0], &byte, 1);
    error = errno;
  });
  timer = {};
  ASSERT_EQ(setitimer(ITIMER_REAL, &timer, nullptr), 0);
  EXPECT_EQ(got, -1);
  EXPECT_EQ(error, EINTR);
  EXPECT_GE(handled, 2);
  EXPECT_GE(count.calls, 2u);
  EXPECT_TRUE(count.complete);
  (void)close(ends[0]);
  (void)close(ends[1]);
  ASSERT_EQ(sigaction(SIGUSR1, &before, nullptr), 0);
  (void)signal(SIGALRM, SIG_DFL);
}

TEST_F(SyscallCountTest, AThreadThatIsStartedRunsAndEndsTheCounting) {
  std::atomic<bool> ran{false};
  const SyscallCount count = CountOf([&] {
    std::thread([&] {
      (void)Getpid();
      ran = true;
    }).join();
    (void)Getpid();
  });
  EXPECT_TRUE(ran);
  EXPECT_GE(count.calls, 1u);
  EXPECT_FALSE(count.complete);
}

TEST_F(SyscallCountTest, AChildRunsUncountedAndTheCountingEnds) {
  int status = -1;
  const SyscallCount count = CountOf([&] {
    const pid_t child = fork();
    if (child == 0) {
      (void)Getpid();
      _exit(7);
    }
    (void)waitpid(child, &status, 0);
  });
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_GE(count.calls, 1u);
  EXPECT_FALSE(count.complete);
}

TEST_F(SyscallCountTest, BlockingSigsysEndsTheCounting) {
  sigset_t old;
  const SyscallCount count = CountOf([&] {
    sigset_t all;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    (void)Getpid();
    (void)pthread_sigmask(SIG_SETMASK, &old, nullptr);
  });
  EXPECT_EQ(count.calls, 1u);
  EXPECT_EQ(count.first, SYS_rt_sigprocmask);
  EXPECT_FALSE(count.complete);
}

TEST_F(SyscallCountTest, AnActionThatTheProgramSetsMeanwhileStays) {
  struct sigaction before {};
  ASSERT_EQ(sigaction(SIGSYS, nullptr, &before), 0);
  const SyscallCount count = CountOf([] { (void)signal(SIGSYS, OnSignal); });
  EXPECT_FALSE(count.complete);
  struct sigaction after {};
  ASSERT_EQ(sigaction(SIGSYS, &before, &after), 0);
  EXPECT_EQ(after.sa_handler, OnSignal);
}

TEST_F(SyscallCountTest, AnExceptionEndsIt) {
  try {
    SyscallCounter counter;
    ASSERT_EQ(counter.Start(), kSuccess);
    (void)Getpid();
    throw 1;
  } catch (int) {
  }
  EXPECT_EQ(CountOf([] {}).calls, 0u);
}

using SyscallCountDeathTest = SyscallCountTest;

TEST_F(SyscallCountDeathTest, DoesNotNest) {
  EXPECT_DEATH(CountOf([] { (void)CountOf([] {}); }), "counted already");
}

TEST_F(SyscallCountTest, WhatTheKernelRefusesIsAnErrorAndChangesNothing) {
  test_support::RunInChild([] {
    test_support::ForbidSyscallDispatch(EPERM);
    if (::testing::Test::IsSkipped()) return;
    struct sigaction before {};
    ASSERT_EQ(sigaction(SIGSYS, nullptr, &before), 0);
    SyscallCounter counter;
    EXPECT_EQ(counter.Start(), Errno(EPERM));
    (void)Getpid();
    EXPECT_EQ(counter.Stop().calls, 0u);
    struct sigaction after {};
    ASSERT_EQ(sigaction(SIGSYS, nullptr, &after), 0);
    EXPECT_EQ(after.sa_handler, before.sa_handler);
  });
}

TEST_F(SyscallCountTest, ADispatchThatDoesNothingIsAnError) {
  test_support::RunInChild([] {
    test_support::ForbidSyscallDispatch(0);  // it seems to succeed
    if (::testing::Test::IsSkipped()) return;
    EXPECT_EQ(SyscallCounter().Start(), Errno(ENOSYS));
  });
}

TEST(NameOfSyscall, KnowsCommonOnesAndNumbersTheRest) {
  EXPECT_EQ(NameOfSyscall(SYS_mmap), "mmap");
  EXPECT_EQ(NameOfSyscall(SYS_futex), "futex");
  EXPECT_EQ(NameOfSyscall(9999), "system call 9999");
}

}  // namespace
}  // namespace os
