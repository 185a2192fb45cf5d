// Every figure runs, small, and gives numbers. How good they are is not judged here.

#include "benchmarks/pinlock_figures.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "benchmarks/bare.h"
#include "benchmarks/pins.h"
#include "gtest/gtest.h"

namespace benchmarks {
namespace {

// Locks no more than an ordinary user may, 8 MiB.
std::vector<Figure> SmallFigures() {
  Scale scale;
  scale.slice = std::chrono::microseconds(200);
  scale.large_pages = 1024;
  scale.nested_pairs = 1000;
  return PinlockFigures(scale);
}

class EachFigure : public testing::TestWithParam<Figure> {};

TEST_P(EachFigure, GivesNumbers) {
  const Figure& figure = GetParam();
  const std::string reason = ReasonToSkip(figure);
  if (!reason.empty()) GTEST_SKIP() << reason;
  InTurn in_turn = figure.prepare();
  const Round round = in_turn.Next();
  if (figure.unit == Unit::kCalls) {
    if (std::isnan(round.ours)) GTEST_SKIP() << "this process may not trace its child";
    EXPECT_EQ(round.ours, 0) << "system calls of nested pins";
    return;
  }
  EXPECT_TRUE(std::isfinite(round.ours));
  EXPECT_GT(round.ours, 0);
  if (figure.unit == Unit::kPercent) {
    EXPECT_LT(round.ours, 100);
    return;
  }
  EXPECT_TRUE(std::isfinite(round.bare));
  EXPECT_GT(round.bare, 0);
}

// What it has pinned is unpinned at its end, or else this fails soon under a limit of 8 MiB.
TEST_P(EachFigure, CanBeMeasuredAgain) {
  const Figure& figure = GetParam();
  const std::string reason = ReasonToSkip(figure);
  if (!reason.empty()) GTEST_SKIP() << reason;
  for (int i = 0; i < 3; ++i) {
    InTurn in_turn = figure.prepare();
    (void)in_turn.Next();
  }
  EXPECT_EQ(ReasonToSkip(figure), "");
}

std::string TestName(const testing::TestParamInfo<Figure>& info) {
  std::string name = info.param.name;
  const auto is_other = [](unsigned char c) { return std::isalnum(c) == 0; };
  std::replace_if(name.begin(), name.end(), is_other, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Pinlock, EachFigure, testing::ValuesIn(SmallFigures()), TestName);

TEST(PinlockFigures, HaveNamesOfTheirOwn) {
  std::set<std::string> names, titles;
  const std::vector<Figure> figures = SmallFigures();
  for (const Figure& figure : figures) {
    names.insert(figure.name);
    titles.insert(figure.title);
  }
  EXPECT_EQ(names.size(), figures.size());
  EXPECT_EQ(titles.size(), figures.size());
}

// Behind an area lies a page that nobody may access.
TEST(PinsDeathTest, EndTheProgramWhereTheyFail) {
  const Area area(1, Area::Fill::kCold);
  EXPECT_EXIT(Pin(area.page(1), 1), testing::ExitedWithCode(1), "benchmark: .*mpin");
  EXPECT_EXIT(Unpin(area.page(0), 1), testing::ExitedWithCode(1), "benchmark: .*munpin");
}

TEST(PinsDeathTest, EndTheProgramAlsoFromAChildThatItMeasures) {
  const Area area(1, Area::Fill::kCold);
  const auto pin = [&area] { return Pin(area.page(1), 1), 1.0; };
  EXPECT_EXIT((void)InChild(pin), testing::ExitedWithCode(1), "benchmark: .*mpin");
}

TEST(ReasonToSkip, NamesWhatIsMissing) {
  Figure figure;
  figure.cpus = 1'000'000;
  EXPECT_NE(ReasonToSkip(figure), "");
  figure.cpus = 1;
  EXPECT_EQ(ReasonToSkip(figure), "");
  figure.locked_pages = uint64_t{1} << 38;  // 1 PiB: over the limit, or more than there is
  EXPECT_NE(ReasonToSkip(figure), "");
}

}  // namespace
}  // namespace benchmarks
