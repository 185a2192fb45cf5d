#include "benchmarks/run_figures.h"

#include <cmath>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "gtest/gtest.h"

namespace benchmarks {
namespace {

using Of = Bound::Of;
using Counters = std::map<std::string, double>;

TEST(CountersOf, HaveTheUnitInTheirNames) {
  Row row;
  row.bounds = {{Of::kOurs, 25}, {Of::kBareToOurs, 10}};
  row.summary = Summarize({{20, 300}});
  EXPECT_EQ(CountersOf(row), (Counters{{"ours_ns", 20},
                                       {"bare_ns", 300},
                                       {"ours_max_ns", 20},
                                       {"bare_max_ns", 300},
                                       {"ratio", 15},
                                       {"bound", 25},
                                       {"bound_ratio", 10},
                                       {"met", 1}}));
}

TEST(CountersOf, HaveTheDifferenceWhereABoundIsForIt) {
  Row row;
  row.bounds = {{Of::kOursLessBare, 25}};
  row.summary = Summarize({{20, 10}});
  const Counters counters = CountersOf(row);
  EXPECT_EQ(counters.at("less_ns"), 10);
  EXPECT_EQ(counters.at("bound"), 25);
  EXPECT_EQ(counters.at("met"), 1);
}

TEST(CountersOf, LeaveOutWhatThereIsNot) {
  Row row;
  row.unit = Unit::kPercent;
  row.bounds = {{Of::kOurs, 0.06}};
  row.summary = Summarize({{0.5, std::nan("")}});
  EXPECT_EQ(
      CountersOf(row),
      (Counters{{"ours_percent", 0.5}, {"ours_max_percent", 0.5}, {"bound", 0.06}, {"met", 0}}));
}

// A figure that costs `ours`, and counts how often it was measured.
Figure CountingFigure(const std::string& name, double ours, int& rounds) {
  Figure figure;
  figure.name = name;
  figure.title = "the figure " + name;
  figure.prepare = [ours, &rounds] {
    return InTurn([ours, &rounds] { return ++rounds, ours; }, [ours] { return 2 * ours; });
  };
  return figure;
}

TEST(RunFigures, MeasuresEachForSoManyRounds) {
  int timed = 0, counted = 0, impossible = 0;
  std::vector<Figure> figures = {CountingFigure("timed", 100, timed),
                                 CountingFigure("counted", 200, counted),
                                 CountingFigure("impossible", 300, impossible)};
  figures[1].once = true;
  figures[2].cpus = 1'000'000;
  std::ostringstream progress;
  benchmark::ConsoleReporter reporter(benchmark::ConsoleReporter::OO_None);
  reporter.SetOutputStream(&progress);
  reporter.SetErrorStream(&progress);

  const std::vector<Row> rows = RunFigures(figures, 7, &reporter);

  EXPECT_EQ(timed, 7);
  EXPECT_EQ(counted, 1);
  EXPECT_EQ(impossible, 0);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].figure, "the figure timed");
  EXPECT_EQ(rows[0].summary.ours, 100);
  EXPECT_EQ(rows[0].summary.bare, 200);
  EXPECT_EQ(rows[1].summary.ours, 200);
  EXPECT_EQ(rows[2].skipped, "needs 1000000 CPUs");
  EXPECT_NE(progress.str().find("skipped: needs 1000000 CPUs"), std::string::npos)
      << progress.str();
}

}  // namespace
}  // namespace benchmarks
