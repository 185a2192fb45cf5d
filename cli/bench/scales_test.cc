#include "cli/bench/scales.h"

#include "gtest/gtest.h"

namespace cli::bench {
namespace {

TEST(LogScale, TakesWholeDecades) {
  const LogScale scale(30, 4'000'000, 100, 0);  // 10 ns to 10 ms
  EXPECT_DOUBLE_EQ(scale.Place(10), 100);
  EXPECT_DOUBLE_EQ(scale.Place(10'000'000), 0);
  EXPECT_NEAR(scale.Place(10'000), 50, 1e-9);
  EXPECT_DOUBLE_EQ(scale.Place(1), 100) << "beyond its end";
  EXPECT_DOUBLE_EQ(scale.Place(0), 100);
  const std::vector<LogScale::Tick> ticks = scale.Ticks();
  ASSERT_EQ(ticks.size(), 7u);
  EXPECT_EQ(ticks.front().text, "10 ns");
  EXPECT_EQ(ticks[2].text, "1 us");
  EXPECT_EQ(ticks.back().text, "10 ms");
  EXPECT_DOUBLE_EQ(ticks.back().place, 0);
}

TEST(LogScale, HasADecadeAtLeast) {
  const LogScale scale(100, 100, 0, 10);
  EXPECT_EQ(scale.Ticks().size(), 2u);
  EXPECT_DOUBLE_EQ(scale.Place(100), 0);
  EXPECT_EQ(LogScale(1'000'000'000, 90'000'000'000, 0, 1).Ticks().back().text, "100 s");
}

TEST(NiceStep, Is1Or2Or5TimesAPowerOf10) {
  EXPECT_DOUBLE_EQ(NiceStep(10, 10), 1);
  EXPECT_DOUBLE_EQ(NiceStep(10, 5), 2);
  EXPECT_DOUBLE_EQ(NiceStep(10, 4), 5);
  EXPECT_DOUBLE_EQ(NiceStep(0.7, 5), 0.2);
  EXPECT_DOUBLE_EQ(NiceStep(3600, 6), 1000);
  EXPECT_GT(NiceStep(0, 6), 0);
}

}  // namespace
}  // namespace cli::bench
