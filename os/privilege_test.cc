#include "os/privilege.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
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

TEST(AskChild, LeavesTheLimitsOfThisProcess) {
  const rlimit before = MemlockRlimit();
  const uint64_t locked = *LockedBytes();
  ASSERT_TRUE(AskChildForLockPrivilege().has_value());
  EXPECT_EQ(MemlockRlimit().rlim_cur, before.rlim_cur);
  EXPECT_EQ(MemlockRlimit().rlim_max, before.rlim_max);
  EXPECT_EQ(*LockedBytes(), locked);
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
}

void ExpectTrueAnswerAboutRaising() {
  rlimit limit = MemlockRlimit();
  limit.rlim_cur = limit.rlim_max = std::min<rlim_t>(limit.rlim_max, 1 << 20);
  ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
  const std::optional<bool> answer = MayRaiseHardLockLimit();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(MemlockRlimit().rlim_max, limit.rlim_max);
  ++limit.rlim_max;
  EXPECT_EQ(*answer, setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
}

TEST(MayRaiseHardLockLimit, IsWhatSetrlimitSays) { RunInChild(ExpectTrueAnswerAboutRaising); }

TEST(MayRaiseHardLockLimit, IsFalseWithoutTheCapability) {
  RunInChild({.drop_privilege = true}, [] {
    ExpectTrueAnswerAboutRaising();
    EXPECT_EQ(MayRaiseHardLockLimit(), false);
  });
}

// Who has an unlimited one may still lack the right to raise that of another process.
TEST(MayRaiseHardLockLimit, DoesNotDependOnTheLimit) {
  RunInChild([] {
    const bool may_raise = MayRaiseHardLockLimit().value();
    const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_MEMLOCK, &unlimited) != 0) {
      GTEST_SKIP() << "the limit cannot be raised: " << Errno::Last().Name();
    }
    EXPECT_EQ(MayRaiseHardLockLimit(), may_raise);
    RunInChild({.drop_privilege = true}, [] { EXPECT_EQ(MayRaiseHardLockLimit(), false); });
    EXPECT_EQ(MemlockRlimit().rlim_max, RLIM_INFINITY);
  });
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
