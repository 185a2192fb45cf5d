// Every figure runs, small, and gives numbers. How good they are is not judged here.

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "benchmarks/exporter.h"
#include "benchmarks/figure.h"
#include "benchmarks/rsm_figures.h"
#include "gtest/gtest.h"

namespace benchmarks {
namespace {

// Locks no more than an ordinary user may, 8 MiB.
std::vector<Figure> SmallFigures() {
  SegmentScale scale;
  scale.slice = std::chrono::microseconds(200);
  scale.large_bytes = 2 << 20;
  return RsmFigures(scale);
}

class EachRsmFigure : public testing::TestWithParam<Figure> {};

TEST_P(EachRsmFigure, GivesNumbers) {
  const Figure& figure = GetParam();
  const std::string reason = ReasonToSkip(figure);
  if (!reason.empty()) GTEST_SKIP() << reason;
  InTurn in_turn = figure.prepare();
  for (int i = 0; i < 2; ++i) {
    const Round round = in_turn.Next();
    EXPECT_TRUE(std::isfinite(round.ours)) << round.ours;
    if (figure.unit == Unit::kPercent) {
      EXPECT_GE(round.ours, 0);
      EXPECT_LE(round.ours, 100);
      continue;
    }
    EXPECT_GT(round.ours, 0);
    EXPECT_TRUE(std::isfinite(round.bare)) << round.bare;
    EXPECT_GT(round.bare, 0);
  }
}

TEST_P(EachRsmFigure, CanBeMeasuredAgain) {
  const Figure& figure = GetParam();
  const std::string reason = ReasonToSkip(figure);
  if (!reason.empty()) GTEST_SKIP() << reason;
  for (int i = 0; i < 3; ++i) (void)figure.prepare().Next();
  EXPECT_EQ(ReasonToSkip(figure), "") << "something is locked still";
}

std::string TestName(const testing::TestParamInfo<Figure>& info) {
  std::string name = info.param.name;
  const auto is_other = [](unsigned char c) { return std::isalnum(c) == 0; };
  std::replace_if(name.begin(), name.end(), is_other, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Rsm, EachRsmFigure, testing::ValuesIn(SmallFigures()), TestName);

TEST(RsmFigures, HaveNamesOfTheirOwn) {
  std::set<std::string> names, titles;
  const std::vector<Figure> figures = SmallFigures();
  for (const Figure& figure : figures) {
    names.insert(figure.name);
    titles.insert(figure.title);
  }
  EXPECT_EQ(names.size(), figures.size());
  EXPECT_EQ(titles.size(), figures.size());
}

TEST(Sleeper, ExportsWhatAnImporterSees) {
  const Sleeper exporter(Sleeper::Kind::kExporter, 4);
  const Import import(exporter.segment(), 4 * PageSize());
  EXPECT_EQ(import.map()[0], std::byte{1}) << "what Area has filled it with";
  EXPECT_EQ(import.map()[3 * PageSize()], std::byte{1});
  EXPECT_GT(exporter.CpuNs(), 0);
}

TEST(ImportDeathTest, EndsTheProgramWhereNothingIsPublished) {
  EXPECT_EXIT(Import(1, PageSize()), testing::ExitedWithCode(1),
              "benchmark: rsm_memseg_import_connect: ");
}

}  // namespace
}  // namespace benchmarks
