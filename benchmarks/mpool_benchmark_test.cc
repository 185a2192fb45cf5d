// Every figure runs, small, and gives numbers. How good they are is not judged here.

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "benchmarks/figure.h"
#include "benchmarks/mpool_figures.h"
#include "gtest/gtest.h"
#include "tests/support/sanitizer.h"

namespace benchmarks {
namespace {

// Locks no more than an ordinary user may, 8 MiB.
std::vector<Figure> SmallFigures() {
  PoolScale scale;
  scale.slice = std::chrono::microseconds(200);
  scale.small_pages = 64;
  scale.middle_pages = 128;
  scale.large_pages = 256;
  scale.fault_hits = 1000;
  return MpoolFigures(scale);
}

class EachPoolFigure : public testing::TestWithParam<Figure> {};

// As ReasonToSkip; and libpinlock.so replaces the same functions as the sanitizers do.
std::string ReasonToSkipHere(const Figure& figure) {
  const bool sanitizer = test_support::kAddressSanitizer || test_support::kThreadSanitizer;
  if (sanitizer && figure.name.find("/library") != std::string::npos) return "a sanitizer";
  return ReasonToSkip(figure);
}

TEST_P(EachPoolFigure, GivesNumbers) {
  const Figure& figure = GetParam();
  const std::string reason = ReasonToSkipHere(figure);
  if (!reason.empty()) GTEST_SKIP() << reason;
  InTurn in_turn = figure.prepare();
  const Round round = in_turn.Next();
  EXPECT_TRUE(std::isfinite(round.ours)) << round.ours;
  if (figure.unit == Unit::kFaults) {
    EXPECT_GE(round.ours, 0);  // the memory of a sanitizer faults
    return;
  }
  EXPECT_GT(round.ours, 0);
  if (figure.unit == Unit::kBytes) return;
  EXPECT_TRUE(std::isfinite(round.bare)) << round.bare;
  EXPECT_GT(round.bare, 0);
}

std::string TestName(const testing::TestParamInfo<Figure>& info) {
  std::string name = info.param.name;
  const auto is_other = [](unsigned char c) { return std::isalnum(c) == 0; };
  std::replace_if(name.begin(), name.end(), is_other, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Mpool, EachPoolFigure, testing::ValuesIn(SmallFigures()), TestName);

TEST(MpoolFigures, HaveNamesOfTheirOwn) {
  std::set<std::string> names, titles;
  const std::vector<Figure> figures = SmallFigures();
  for (const Figure& figure : figures) {
    names.insert(figure.name);
    titles.insert(figure.title);
  }
  EXPECT_EQ(names.size(), figures.size());
  EXPECT_EQ(titles.size(), figures.size());
}

}  // namespace
}  // namespace benchmarks
