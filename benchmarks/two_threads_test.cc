#include "benchmarks/two_threads.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

#include "benchmarks/bare.h"
#include "gtest/gtest.h"
#include "os/run_queue.h"

namespace benchmarks {
namespace {

constexpr std::chrono::milliseconds kSleep(2);
constexpr double kSleepNs = 2e6;

TEST(SlowerOfTwoNs, TellsTheWorseOfBoth) {
  if (UsableCpus() < 2) GTEST_SKIP() << "needs 2 CPUs";
  const Operation quick = [](uint64_t) {};
  const Operation slow = [](uint64_t) { std::this_thread::sleep_for(kSleep); };
  const auto slice = std::chrono::microseconds(100);
  // In batches of 64, each of which sleeps once.
  EXPECT_GE(SlowerOfTwoNs(quick, slow, slice), kSleepNs / 64);
  EXPECT_GE(SlowerOfTwoNs(slow, quick, slice), kSleepNs / 64);
}

TEST(SlowerOfTwoNs, RunsBothAtTheSameTime) {
  if (UsableCpus() < 2) GTEST_SKIP() << "needs 2 CPUs";
  // Each waits in its first batch until the other one has begun: alone, neither would end.
  std::atomic<int> begun{0};
  const auto meet = [&](bool& met) {
    return [&](uint64_t) {
      if (met) return;
      met = true;
      ++begun;
      while (begun < 2) std::this_thread::yield();
    };
  };
  bool first_met = false, second_met = false;
  (void)SlowerOfTwoNs(meet(first_met), meet(second_met), std::chrono::microseconds(100));
  EXPECT_TRUE(first_met && second_met);
}

TEST(LongestCallNs, MakesAllCallsInTurn) {
  if (UsableCpus() < 2) GTEST_SKIP() << "needs 2 CPUs";
  int first = 0, second = 0, out_of_turn = 0;
  const double ns = LongestCallNs([] { std::this_thread::sleep_for(kSleep); },
                                  {[&] { out_of_turn += first++ == second ? 0 : 1; },
                                   [&] { out_of_turn += first == ++second ? 0 : 1; }});
  // No more can be said of it: a delay of the worker is taken off any call beside it.
  EXPECT_TRUE(std::isfinite(ns));
  EXPECT_GT(ns, 0);
  EXPECT_GT(first, 1);
  EXPECT_EQ(first, second);
  EXPECT_EQ(out_of_turn, 0);
}

TEST(LongestCallNs, CallsFromBeforeTheWorkToAfterIt) {
  if (UsableCpus() < 2) GTEST_SKIP() << "needs 2 CPUs";
  std::atomic<int> calls{0};
  int calls_before = 0, calls_within = 0;
  (void)LongestCallNs(
      [&] {
        calls_before = calls;
        while (calls < calls_before + 10) std::this_thread::yield();
        calls_within = calls;
      },
      {[&] { ++calls; }});
  EXPECT_GE(calls_before, 2) << "one warms up, one is timed";
  EXPECT_GE(calls, calls_within);
}

TEST(RunQueueDelay, NeverShrinks) {
  const os::RunQueueDelay delay;
  double before = delay.Ns();
  for (int i = 0; i < 100; ++i) {
    std::this_thread::yield();
    const double now = delay.Ns();
    EXPECT_GE(now, before);
    before = now;
  }
}

}  // namespace
}  // namespace benchmarks
