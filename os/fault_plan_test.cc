#include "os/fault_plan.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace os::testing {
namespace {

using Kind = FaultPlan::Kind;

// The answers to a list of calls: '!' for a failure.
std::string Answers(FaultPlan& plan, const std::vector<Kind>& kinds) {
  std::string answers;
  for (const Kind kind : kinds) answers += plan.Next(kind).ok() ? '.' : '!';
  return answers;
}

const std::vector<Kind> kCalls = {Kind::kMap, Kind::kLock, Kind::kLock, Kind::kUnlock, Kind::kLock};

TEST(FaultPlan, NothingFailsUnarmed) {
  FaultPlan plan;
  EXPECT_EQ(Answers(plan, kCalls), ".....");
  EXPECT_FALSE(plan.fired());
  EXPECT_FALSE(plan.half_done());
}

TEST(FaultPlan, FailsOneCallOfAll) {
  for (uint64_t nth = 1; nth <= 5; ++nth) {
    FaultPlan plan;
    plan.Arm({.nth = nth});
    std::string expected = ".....";
    expected[nth - 1] = '!';
    EXPECT_EQ(Answers(plan, kCalls), expected);
    EXPECT_TRUE(plan.fired());
  }
}

TEST(FaultPlan, FailsForEver) {
  FaultPlan plan;
  plan.Arm({.nth = 3, .forever = true});
  EXPECT_EQ(Answers(plan, kCalls), "..!!!");
}

TEST(FaultPlan, FailsCallsOfOneKind) {
  FaultPlan plan;
  plan.Arm({.nth = 2, .kind = Kind::kLock});
  EXPECT_EQ(Answers(plan, kCalls), "..!..");
  plan.Arm({.nth = 2, .forever = true, .kind = Kind::kLock});
  EXPECT_EQ(Answers(plan, kCalls), "..!.!");
  plan.Arm({.nth = 1, .kind = Kind::kSync});
  EXPECT_EQ(Answers(plan, kCalls), ".....");
  EXPECT_FALSE(plan.fired());
}

TEST(FaultPlan, GivesTheErrno) {
  FaultPlan plan;
  plan.Arm({.error = Errno(EAGAIN), .half_done = true});
  EXPECT_TRUE(plan.half_done());
  EXPECT_EQ(plan.Next(Kind::kRead), Errno(EAGAIN));
  EXPECT_EQ(plan.Next(Kind::kRead), kSuccess);
}

TEST(FaultPlan, ArmBeginsAnewAndDisarmEnds) {
  FaultPlan plan;
  plan.Arm({.nth = 1, .forever = true});
  EXPECT_EQ(Answers(plan, kCalls), "!!!!!");
  plan.Disarm();
  EXPECT_TRUE(plan.fired());
  EXPECT_EQ(Answers(plan, kCalls), ".....");
  plan.Arm({.nth = 2});
  EXPECT_FALSE(plan.fired());
  EXPECT_EQ(Answers(plan, kCalls), ".!...");
}

TEST(FaultPlan, CountsCalls) {
  FaultPlan plan;
  (void)Answers(plan, kCalls);
  plan.Arm({.nth = 1, .forever = true});
  (void)Answers(plan, kCalls);
  EXPECT_EQ(plan.calls(), 10u);
  EXPECT_EQ(plan.calls(Kind::kLock), 6u);
  EXPECT_EQ(plan.calls(Kind::kMap), 2u);
  EXPECT_EQ(plan.calls(Kind::kSize), 0u);
}

TEST(FaultPlan, FiresOnceAmongThreads) {
  FaultPlan plan;
  plan.Arm({.nth = 1000});
  std::atomic<int> failures = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int call = 0; call < 500; ++call) {
        if (!plan.Next(Kind::kWrite).ok()) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 1);
  EXPECT_EQ(plan.calls(), 2000u);
}

TEST(FaultPlanDeathTest, AFaultMustBeOne) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(FaultPlan().Arm({.nth = 0}), "");
  EXPECT_DEATH(FaultPlan().Arm({.error = kSuccess}), "");
}

// Three calls: each of them fails once, then no call does; in each of the four modes.
TEST(ForEachFault, FailsEveryCallInEveryMode) {
  std::vector<std::string> runs;
  ForEachFault({.error = Errno(ENOMEM)}, [&](FaultPlan& plan) {
    runs.push_back(Answers(plan, {Kind::kMap, Kind::kLock, Kind::kUnlock}) +
                   (plan.half_done() ? " half" : ""));
  });
  EXPECT_EQ(runs, (std::vector<std::string>{"!..", ".!.", "..!", "...", "!.. half", ".!. half",
                                            "..! half", "... half", "!!!", ".!!", "..!", "...",
                                            "!!! half", ".!! half", "..! half", "... half"}));
}

TEST(ForEachFault, CanKeepToOneKind) {
  std::vector<std::string> runs;
  ForEachFault({.kind = Kind::kLock}, [&](FaultPlan& plan) {
    if (!plan.half_done()) runs.push_back(Answers(plan, {Kind::kMap, Kind::kLock, Kind::kLock}));
  });
  EXPECT_EQ(runs, (std::vector<std::string>{".!.", "..!", "...", ".!!", "..!", "..."}));
}

TEST(ForEachFault, StopsAtTheBound) {
  const auto endless = [] {
    ForEachFault({.calls_max = 5}, [](FaultPlan& plan) {
      while (plan.Next(Kind::kRead).ok()) {
      }
    });
  };
  EXPECT_NONFATAL_FAILURE(endless(), "more than 5 calls");
}

// In a child whose failure is not ours, but is one there: the loop asks for it.
TEST(ForEachFaultDeathTest, StopsAtAFatalFailure) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto exit_with_runs = [] {
    int runs = 0;
    ForEachFault({}, [&runs](FaultPlan& plan) {
      ++runs;
      ASSERT_EQ(plan.Next(Kind::kRead), kSuccess);
    });
    _exit(100 + runs);
  };
  EXPECT_EXIT(exit_with_runs(), ::testing::ExitedWithCode(101), "");
}

}  // namespace
}  // namespace os::testing
