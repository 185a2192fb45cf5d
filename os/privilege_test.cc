#include "os/privilege.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <thread>
#include <vector>

#include "os/limits.h"
#include "os/memory.h"
#include "tests/support/child.h"

namespace os {
namespace {

using test_support::RunInChild;

rlimit MemlockRlimit() {
  rlimit limit{};
  EXPECT_EQ(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
  return limit;
}

// What a process with the limit 0 is told by mlock(2) itself.
bool MayLockUnderLimit0() {
  rlimit limit = MemlockRlimit();
  const rlimit before = limit;
  limit.rlim_cur = 0;
  EXPECT_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
  const PageRange page =
      *RealMemory().Map(PageCount(1), Memory::Access::kReadWrite, Memory::Fork::kInherit);
  const bool may = RealMemory().Lock(page).ok();
  EXPECT_EQ(RealMemory().Unmap(page), kSuccess);
  EXPECT_EQ(setrlimit(RLIMIT_MEMLOCK, &before), 0);
  return may;
}

void ExpectTrueAnswers() {
  const bool privileged = MayLockUnderLimit0();
  EXPECT_EQ(HasLockPrivilege(), privileged);
  EXPECT_EQ(RealLimits().Privileged(), privileged);
  const std::optional<bool> answer = AskChildForLockPrivilege();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(*answer, privileged);
}

TEST(HasLockPrivilege, IsWhatMlockSays) { RunInChild(ExpectTrueAnswers); }

TEST(HasLockPrivilege, IsFalseWithoutTheCapability) {
  RunInChild({.drop_privilege = true}, [] {
    ExpectTrueAnswers();
    EXPECT_FALSE(HasLockPrivilege());
  });
}

TEST(HasLockPrivilege, IsFalseInAUserNamespaceWhateverIsClaimed) {
  RunInChild({.namespaces = CLONE_NEWUSER}, [] {
    ASSERT_TRUE(*ClaimsLockCapability());
    ExpectTrueAnswers();
    EXPECT_FALSE(HasLockPrivilege());
  });
}

TEST(HasLockPrivilege, DoesNotDependOnTheLimit) {
  for (const bool drop : {false, true}) {
    RunInChild({.drop_privilege = drop}, [] {
      const bool privileged = MayLockUnderLimit0();
      rlimit limit = MemlockRlimit();
      for (const rlim_t bytes : {rlim_t{0}, rlim_t{1}, rlim_t{4096}, limit.rlim_max}) {
        limit.rlim_cur = bytes;
        ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
        EXPECT_EQ(HasLockPrivilege(), privileged) << bytes;
      }
    });
  }
}

// Where this process may raise its limits, which Bazel's sandbox forbids.
TEST(HasLockPrivilege, IsNotFooledByALimitThatAllowsEverything) {
  for (const rlim_t bytes : {RLIM_INFINITY, RLIM_INFINITY - 1}) {
    RunInChild([bytes] {
      const bool privileged = MayLockUnderLimit0();
      const rlimit limit{bytes, bytes};
      if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
        GTEST_SKIP() << "the limit cannot be raised: " << Errno::Last().Name();
      }
      EXPECT_EQ(HasLockPrivilege(), privileged);
      RunInChild({.drop_privilege = true}, [] { EXPECT_FALSE(HasLockPrivilege()); });
      RunInChild({.namespaces = CLONE_NEWUSER}, [] { EXPECT_FALSE(HasLockPrivilege()); });
    });
  }
}

TEST(AskChild, LeavesTheLimitsTheErrnoAndTheSignalsOfThisProcess) {
  const rlimit before = MemlockRlimit();
  const uint64_t locked = *LockedBytes();
  sigset_t mask, after;
  ASSERT_EQ(sigemptyset(&mask), 0);
  ASSERT_EQ(sigaddset(&mask, SIGUSR2), 0);
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &mask, nullptr), 0);
  errno = E2BIG;
  (void)AskChildForLockPrivilege();
  EXPECT_EQ(errno, E2BIG);
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &after), 0);
  for (const int signal : {SIGUSR1, SIGUSR2, SIGTERM, SIGCHLD}) {
    EXPECT_EQ(sigismember(&after, signal), sigismember(&mask, signal)) << signal;
  }
  ASSERT_EQ(sigemptyset(&mask), 0);
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &mask, nullptr), 0);
  EXPECT_EQ(MemlockRlimit().rlim_cur, before.rlim_cur);
  EXPECT_EQ(MemlockRlimit().rlim_max, before.rlim_max);
  EXPECT_EQ(*LockedBytes(), locked);
}

std::atomic<int> signals_seen{0};

TEST(AskChild, IsNotSeenByTheProgram) {
  RunInChild([] {
    struct sigaction action {};
    action.sa_handler = [](int) { ++signals_seen; };
    ASSERT_EQ(sigaction(SIGCHLD, &action, nullptr), 0);
    ASSERT_TRUE(AskChildForLockPrivilege().has_value());
    EXPECT_EQ(signals_seen, 0);
    // No child is left, not even one of this kind.
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG | __WALL), -1);
    EXPECT_EQ(errno, ECHILD);
  });
}

TEST(AskChild, WorksWhereChildrenAreIgnored) {
  RunInChild([] {
    ASSERT_NE(signal(SIGCHLD, SIG_IGN), SIG_ERR);
    EXPECT_TRUE(AskChildForLockPrivilege().has_value());
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG | __WALL), -1);
    EXPECT_EQ(errno, ECHILD);
  });
}

TEST(AskChild, WorksInManyThreadsAtOnce) {
  const bool expected = HasLockPrivilege();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([expected] {
      for (int round = 0; round < 50; ++round) {
        const std::optional<bool> answer = AskChildForLockPrivilege();
        EXPECT_TRUE(answer.has_value() && *answer == expected);
        EXPECT_EQ(HasLockPrivilege(), expected);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<char> memory(1 << 20, 'x');  // the heap is in order
  EXPECT_EQ(memory.back(), 'x');
}

// Under RLIMIT_NPROC, which does not bind root.
TEST(AskChild, HasNoAnswerWhereNoChildCanBeMade) {
  RunInChild([] {
    if (geteuid() == 0 && setuid(65534) != 0) {
      GTEST_SKIP() << "this process is root and cannot be another user: " << Errno::Last().Name();
    }
    const rlimit none{0, 0};
    ASSERT_EQ(setrlimit(RLIMIT_NPROC, &none), 0);
    if (fork() >= 0) _exit(9);
    EXPECT_EQ(AskChildForLockPrivilege(), std::nullopt);
    EXPECT_FALSE(HasLockPrivilege());
  });
}

}  // namespace
}  // namespace os
