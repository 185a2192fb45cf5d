#include "tests/support/syscall_plan.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

namespace test_support {
namespace {

constexpr PlannedCall kCalls[] = {
    {SYS_getppid, "getppid", EIO},
    {SYS_getpgid, "getpgid", ENOSPC},
};
constexpr auto kGetPgid = [] { return syscall(SYS_getpgid, 0); };
constexpr auto kGetPpid = [] { return syscall(SYS_getppid); };

// "1" for each of five calls that has succeeded, else the error's number: EIO 5, ENOSPC 28.
std::string MakeFive() {
  std::string results;
  for (int i = 0; i < 5; ++i) {
    errno = 0;
    const bool is_pgid = i % 2 == 1;
    const long result = is_pgid ? kGetPgid() : kGetPpid();
    results += result > 0 ? "1" : errno == EIO ? "5" : errno == ENOSPC ? "28" : "?";
    results += " ";
  }
  return results;
}

TEST(SyscallPlan, CountsWhatIsMadeWhileTheWindowIsOpen) {
  PlanOutcome outcome;
  RunUnderPlan(
      {kCalls},
      [](SyscallWindow& window) {
        EXPECT_EQ(MakeFive(), "1 1 1 1 1 ");
        window.Open();
        EXPECT_EQ(MakeFive(), "1 1 1 1 1 ");
        EXPECT_GT(getpid(), 0) << "is not of the set";
        window.Close();
        EXPECT_EQ(MakeFive(), "1 1 1 1 1 ");
      },
      nullptr, outcome);
  if (testing::Test::IsSkipped()) return;
  EXPECT_EQ(outcome.calls,
            (std::vector<std::string>{"getppid", "getpgid", "getppid", "getpgid", "getppid"}));
  EXPECT_FALSE(outcome.was_killed);
}

TEST(SyscallPlan, FailsTheNthWithItsError) {
  PlanOutcome outcome;
  RunUnderPlan(
      {kCalls, SyscallPlan::Act::kFailOnce, 4},
      [](SyscallWindow& window) {
        window.Open();
        EXPECT_EQ(MakeFive(), "1 1 1 28 1 ");
        window.Close();
      },
      nullptr, outcome);
  if (testing::Test::IsSkipped()) return;
  EXPECT_EQ(outcome.calls.size(), 5u);
}

TEST(SyscallPlan, FailsAllFromTheNthOnUntilTheWindowIsClosed) {
  PlanOutcome outcome;
  RunUnderPlan(
      {kCalls, SyscallPlan::Act::kFailFrom, 3},
      [](SyscallWindow& window) {
        window.Open();
        EXPECT_EQ(MakeFive(), "1 1 5 28 5 ");
        window.Close();
        EXPECT_EQ(MakeFive(), "1 1 1 1 1 ");
      },
      nullptr, outcome);
}

TEST(SyscallPlan, SeesTheCallsOfOtherThreads) {
  PlanOutcome outcome;
  RunUnderPlan(
      {kCalls, SyscallPlan::Act::kFailOnce, 2},
      [](SyscallWindow& window) {
        window.Open();
        EXPECT_GT(kGetPpid(), 0);
        std::thread([] {
          EXPECT_EQ(kGetPgid(), -1);
          EXPECT_EQ(errno, ENOSPC);
        }).join();
        EXPECT_GT(kGetPpid(), 0);
      },
      nullptr, outcome);
  if (testing::Test::IsSkipped()) return;
  EXPECT_EQ(outcome.calls, (std::vector<std::string>{"getppid", "getpgid", "getppid"}));
}

// In memory that the processes of a test share.
std::atomic<int>& SharedCount() {
  static void* const shared = mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return *static_cast<std::atomic<int>*>(shared);
}

TEST(SyscallPlan, KillsWhenTheNthBegins) {
  SharedCount() = 0;
  PlanOutcome outcome;
  RunUnderPlan(
      {kCalls, SyscallPlan::Act::kKill, 3},
      [](SyscallWindow& window) {
        window.Open();
        for (;;) {
          (void)kGetPpid();
          ++SharedCount();
        }
      },
      nullptr, outcome);
  if (testing::Test::IsSkipped()) return;
  EXPECT_TRUE(outcome.was_killed);
  EXPECT_EQ(outcome.calls.size(), 3u);
  EXPECT_EQ(SharedCount(), 2) << "the third was not made";
}

TEST(SyscallPlan, TheCompanionIsOutsideOfItAndSeesTheEnd) {
  SharedCount() = 0;
  PlanOutcome outcome;
  RunUnderPlan(
      {kCalls, SyscallPlan::Act::kKill, 1},
      [](SyscallWindow& window) {
        while (SharedCount() == 0) sched_yield();
        window.Open();
        for (;;) (void)kGetPpid();
      },
      [](SyscallWindow& window) {
        EXPECT_FALSE(window.has_ended());
        EXPECT_EQ(MakeFive(), "1 1 1 1 1 ");
        SharedCount() = 1;
        while (!window.has_ended()) sched_yield();
        EXPECT_EQ(MakeFive(), "1 1 1 1 1 ");
        SharedCount() = 2;
      },
      outcome);
  if (testing::Test::IsSkipped()) return;
  EXPECT_TRUE(outcome.was_killed);
  EXPECT_EQ(SharedCount(), 2);
}

TEST(SyscallPlan, TheLoopEndsWhenThereAreNoMoreCalls) {
  SharedCount() = 0;
  int runs = 0;
  ForEachSyscall({
      .calls = kCalls,
      .subject =
          [](SyscallWindow& window) {
            window.Open();
            const std::string results = MakeFive();
            window.Close();
            if (results.find_first_of("58") != results.npos) ++SharedCount();
          },
      .after = [&] { ++runs; },
  });
  if (testing::Test::IsSkipped()) return;
  EXPECT_EQ(runs, 8);
  EXPECT_EQ(SharedCount(), 5) << "one fails in each run but the last ones";
}

// Without captures, as EXPECT_NONFATAL_FAILURE_ON_ALL_THREADS needs it.
void RunThatFails() {
  PlanOutcome outcome;
  RunUnderPlan(
      {kCalls}, [](SyscallWindow&) { ADD_FAILURE() << "the subject's"; }, nullptr, outcome);
}
void RunWhoseCompanionDies() {
  PlanOutcome outcome;
  RunUnderPlan(
      {kCalls}, [](SyscallWindow&) {},
      [](SyscallWindow&) {
        ADD_FAILURE() << "before its end";
        kill(getpid(), SIGTERM);
      },
      outcome);
}
bool IsPossibleHere() {
  PlanOutcome outcome;
  RunUnderPlan(
      {kCalls}, [](SyscallWindow&) {}, nullptr, outcome);
  return !testing::Test::IsSkipped();
}

TEST(SyscallPlan, FailuresOfTheChildrenAreTheTests) {
  if (!IsPossibleHere()) return;
  EXPECT_NONFATAL_FAILURE_ON_ALL_THREADS(RunThatFails(), "the subject's");
  EXPECT_NONFATAL_FAILURE_ON_ALL_THREADS(RunWhoseCompanionDies(), "before its end");
}

TEST(SyscallPlan, SkipsOfTheChildrenAreTheTests) {
  if (!IsPossibleHere()) return;
  testing::TestPartResultArray results;
  {
    const testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ALL_THREADS, &results);
    PlanOutcome outcome;
    RunUnderPlan(
        {kCalls}, [](SyscallWindow&) { GTEST_SKIP() << "the subject's"; }, nullptr, outcome);
  }
  ASSERT_EQ(results.size(), 1);
  EXPECT_TRUE(results.GetTestPartResult(0).skipped());
  EXPECT_NE(std::string(results.GetTestPartResult(0).message()).find("the subject's"),
            std::string::npos);
}

}  // namespace
}  // namespace test_support
