#include "benchmarks/table.h"

#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace benchmarks {
namespace {

using Of = Bound::Of;

const double kNan = std::nan("");

Row MakeRow(std::vector<Bound> bounds, double ours, double bare) {
  Row row;
  row.figure = "a figure";
  row.bounds = std::move(bounds);
  row.summary = Summarize({{ours, bare}});
  return row;
}

TEST(RatioOf, IsOursToBareWhereABoundCountsSo) {
  EXPECT_DOUBLE_EQ(RatioOf(MakeRow({{Of::kOursToBare, 1.2}}, 11, 10)), 1.1);
}

TEST(RatioOf, IsBareToOursElsewhere) {
  EXPECT_DOUBLE_EQ(RatioOf(MakeRow({{Of::kBareToOurs, 10}}, 10, 200)), 20);
  EXPECT_DOUBLE_EQ(RatioOf(MakeRow({{Of::kOurs, 10}}, 10, 200)), 20);
  EXPECT_DOUBLE_EQ(RatioOf(MakeRow({}, 10, 200)), 20);
}

TEST(RatioOf, IsOursToBareInARowOfOverhead) {
  Row row = MakeRow({}, 11, 10);
  row.overhead = true;
  EXPECT_DOUBLE_EQ(RatioOf(row), 1.1);
}

TEST(Met, TakesTheBoundItselfAsKept) {
  EXPECT_TRUE(Met(MakeRow({{Of::kOurs, 25}}, 25, kNan)));
  EXPECT_FALSE(Met(MakeRow({{Of::kOurs, 25}}, 25.1, kNan)));
  EXPECT_TRUE(Met(MakeRow({{Of::kOursToBare, 1.25}}, 5, 4)));
  EXPECT_FALSE(Met(MakeRow({{Of::kOursToBare, 1.25}}, 5.1, 4)));
  EXPECT_TRUE(Met(MakeRow({{Of::kBareToOurs, 16}}, 1, 16)));
  EXPECT_FALSE(Met(MakeRow({{Of::kBareToOurs, 16}}, 1, 15.9)));
  EXPECT_TRUE(Met(MakeRow({{Of::kOursLessBare, 25}}, 26, 1)));
  EXPECT_FALSE(Met(MakeRow({{Of::kOursLessBare, 25}}, 26.1, 1)));
  EXPECT_FALSE(Met(MakeRow({{Of::kOursLessBare, 25}}, 26, kNan)));
}

TEST(Met, NeedsAllBounds) {
  const std::vector<Bound> bounds = {{Of::kOurs, 25}, {Of::kBareToOurs, 10}};
  EXPECT_TRUE(Met(MakeRow(bounds, 20, 300)));
  EXPECT_FALSE(Met(MakeRow(bounds, 30, 600)));
  EXPECT_FALSE(Met(MakeRow(bounds, 20, 150)));
}

TEST(Met, IsFalseForWhatWasNotMeasured) {
  EXPECT_FALSE(Met(MakeRow({{Of::kOurs, 25}}, kNan, kNan)));
  Row row = MakeRow({{Of::kOurs, 25}}, 1, 1);
  row.skipped = "no memory";
  EXPECT_FALSE(Met(row));
}

TEST(FormatCost, ChoosesTheUnit) {
  EXPECT_EQ(FormatCost(9.876, Unit::kNanoseconds), "9.88 ns");
  EXPECT_EQ(FormatCost(12.34, Unit::kNanoseconds), "12.3 ns");
  EXPECT_EQ(FormatCost(1234, Unit::kNanoseconds), "1.23 µs");
  EXPECT_EQ(FormatCost(123.4e6, Unit::kNanoseconds), "123 ms");
  EXPECT_EQ(FormatCost(0, Unit::kCalls), "0 calls");
  EXPECT_EQ(FormatCost(0.0512, Unit::kPercent), "0.051 %");
  EXPECT_EQ(FormatCost(12, Unit::kFaults), "12 faults");
  EXPECT_EQ(FormatCost(64.06, Unit::kBytes), "64.1 bytes");
  EXPECT_EQ(FormatCost(9.5, Unit::kTimes), "9.50 times");
  EXPECT_EQ(FormatCost(kNan, Unit::kNanoseconds), "-");
}

TEST(WithCommas, SetsOneBeforeEachThreeDigits) {
  EXPECT_EQ(WithCommas(0), "0");
  EXPECT_EQ(WithCommas(999), "999");
  EXPECT_EQ(WithCommas(1000), "1,000");
  EXPECT_EQ(WithCommas(262144), "262,144");
  EXPECT_EQ(WithCommas(1234567), "1,234,567");
}

TEST(FormatPages, KnowsTheSingular) {
  EXPECT_EQ(FormatPages(1), "1 page");
  EXPECT_EQ(FormatPages(256), "256 pages");
}

// Two rows, one of them skipped.
std::vector<Row> SomeRows() {
  std::vector<Row> rows = {MakeRow({{Of::kOurs, 25}, {Of::kBareToOurs, 10}}, 20, 300),
                           MakeRow({{Of::kOursToBare, 1.1}}, 0, 0)};
  rows[1].figure = "another";
  rows[1].skipped = "the lock limit is 8 MiB";
  return rows;
}

TEST(FormatTable, AlignsText) {
  EXPECT_EQ(FormatTable(SomeRows(), Style::kText),
            "figure   | ours    | bare   | ratio          | bound                        | met\n"
            "---------+---------+--------+----------------+------------------------------+-----"
            "----------------------------\n"
            "a figure | 20.0 ns | 300 ns | bare/ours 15.0 | ours ≤ 25 ns, bare/ours ≥ 10 | yes\n"
            "another  | -       | -      | -              | ours/bare ≤ 1.10             | skip"
            "ped: the lock limit is 8 MiB\n");
}

TEST(FormatTable, ShowsTheDifferenceWhereABoundIsForIt) {
  EXPECT_EQ(FormatTable({MakeRow({{Of::kOursLessBare, 25}}, 9, 2)}, Style::kMarkdown),
            "|figure|ours|bare|ratio|bound|met|\n"
            "|---|---|---|---|---|---|\n"
            "|a figure|9.00 ns|2.00 ns|ours - bare 7.00 ns|ours - bare ≤ 25 ns|yes|\n");
}

TEST(FormatTable, WritesMarkdown) {
  EXPECT_EQ(FormatTable(SomeRows(), Style::kMarkdown),
            "|figure|ours|bare|ratio|bound|met|\n"
            "|---|---|---|---|---|---|\n"
            "|a figure|20.0 ns|300 ns|bare/ours 15.0|ours ≤ 25 ns, bare/ours ≥ 10|yes|\n"
            "|another|-|-|-|ours/bare ≤ 1.10|skipped: the lock limit is 8 MiB|\n");
}

}  // namespace
}  // namespace benchmarks
