#include "benchmarks/in_turn.h"

#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace benchmarks {
namespace {

const double kNan = std::nan("");

TEST(Median, IsTheMiddleOne) { EXPECT_EQ(Median({7, 1, 3}), 3); }

TEST(Median, OfAnEvenNumberIsTheMeanOfTheTwoInTheMiddle) { EXPECT_EQ(Median({8, 1, 4, 2}), 3); }

TEST(Median, OfOneIsItself) { EXPECT_EQ(Median({5}), 5); }

TEST(Median, OfNothingIsNotANumber) { EXPECT_TRUE(std::isnan(Median({}))); }

TEST(Median, OfSomethingMissingIsNotANumber) { EXPECT_TRUE(std::isnan(Median({1, kNan, 2}))); }

TEST(Summarize, TakesTheMedianOfTheRatiosAndNotTheRatioOfTheMedians) {
  const Summary summary = Summarize({{1, 2}, {4, 4}, {9, 3}});
  EXPECT_EQ(summary.ours, 4);
  EXPECT_EQ(summary.bare, 3);
  EXPECT_EQ(summary.ours_to_bare, 1);
  EXPECT_EQ(summary.ours_less_bare, 0);
  EXPECT_EQ(summary.ours_max, 9);
  EXPECT_EQ(summary.bare_max, 4);
}

TEST(Summarize, KnowsNoRatioWithoutABareSide) {
  const Summary summary = Summarize({{1, kNan}, {3, kNan}});
  EXPECT_EQ(summary.ours, 2);
  EXPECT_TRUE(std::isnan(summary.bare));
  EXPECT_TRUE(std::isnan(summary.ours_to_bare));
  EXPECT_TRUE(std::isnan(summary.ours_less_bare));
}

TEST(InTurn, AlternatesWhoIsFirst) {
  std::string order;
  InTurn in_turn([&] { return order += 'o', 1.0; }, [&] { return order += 'b', 2.0; });
  for (int i = 0; i < 3; ++i) {
    const Round round = in_turn.Next();
    EXPECT_EQ(round.ours, 1);
    EXPECT_EQ(round.bare, 2);
  }
  EXPECT_EQ(order, "obboob");
}

TEST(InTurn, DoesWithoutABareSide) {
  InTurn in_turn([] { return 1.0; }, nullptr);
  const Round round = in_turn.Next();
  EXPECT_EQ(round.ours, 1);
  EXPECT_TRUE(std::isnan(round.bare));
}

TEST(ForSlice, DividesByTheNumberOfTimes) {
  uint64_t calls = 0, last = 0;
  volatile uint64_t sum = 0;
  const Side side = ForSlice(
      [&](uint64_t times) {
        ++calls;
        last = times;
        for (uint64_t i = 0; i < times; ++i) sum = sum + i;
      },
      std::chrono::milliseconds(1));
  const double first_ns = side();
  EXPECT_GE(calls, 2u) << "calibration, then the slice";
  EXPECT_GT(first_ns, 0);
  EXPECT_LT(first_ns, 1e6) << "of one addition, not of the whole slice";
  const uint64_t calls_before = calls, times_before = last;
  EXPECT_GT(side(), 0);
  EXPECT_EQ(calls, calls_before + 1) << "calibrated once";
  EXPECT_GE(last, times_before / 2);
  EXPECT_LE(last, times_before * 2);
}

TEST(ForSlice, DoesAnOperationOnceThatIsLongerThanTheSlice) {
  uint64_t most = 0;
  volatile uint64_t sum = 0;
  const Side side = ForSlice(
      [&](uint64_t times) {
        most = std::max(most, times);
        for (uint64_t i = 0; i < times * 100'000; ++i) sum = sum + i;
      },
      std::chrono::nanoseconds(1));
  EXPECT_GT(side(), 1);
  EXPECT_EQ(most, 1u);
}

}  // namespace
}  // namespace benchmarks
