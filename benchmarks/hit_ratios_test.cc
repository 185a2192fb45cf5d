#include "benchmarks/hit_ratios.h"

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "benchmarks/replay.h"
#include "benchmarks/simulations.h"
#include "gtest/gtest.h"

namespace benchmarks {
namespace {

using Frames = std::vector<uint32_t>;

Trace TraceOf(uint32_t pages) {
  Trace trace;
  for (uint32_t page = 0; page < pages; ++page) trace.references.push_back(page);
  trace.pages = pages;
  return trace;
}

TEST(DefaultFrames, AreThoseWithBoundsOrPartsOfThePages) {
  EXPECT_EQ(DefaultFrames("a/OLTP.lis.zst", TraceOf(10)), (Frames{1000, 2000, 5000, 10000, 15000}));
  EXPECT_EQ(DefaultFrames("OLTP/a.lis", TraceOf(1000)), (Frames{10, 20, 50, 100}));
  EXPECT_EQ(DefaultFrames("a.trace", TraceOf(70)), (Frames{1, 3, 7}));
}

TEST(GapClosed, IsAPartOfTheWayFromLruToOpt) {
  EXPECT_DOUBLE_EQ(GapClosed({.references = 100, .lru = 20, .ours = 25, .opt = 40}), 0.25);
  EXPECT_DOUBLE_EQ(GapClosed({.references = 100, .lru = 20, .ours = 15, .opt = 40}), -0.25);
  EXPECT_TRUE(std::isnan(GapClosed({.references = 100, .lru = 20, .ours = 20, .opt = 20})));
}

TEST(Judge, AsksOltpForAPartOfTheGap) {
  Replay replay{.frames = 1000, .references = 1000, .lru = 100, .ours = 135, .opt = 200};
  EXPECT_EQ(Met(Judge("OLTP.lis", TraceOf(10), replay)), true);
  replay.ours = 134;
  EXPECT_EQ(Met(Judge("OLTP.lis", TraceOf(10), replay)), false);
  replay.frames = 1001;
  EXPECT_EQ(Met(Judge("OLTP.lis", TraceOf(10), replay)), std::nullopt);
}

TEST(Judge, AsksOthersNotToBeMuchBelowLru) {
  const Trace trace = TraceOf(100);
  Replay replay{.frames = 10, .references = 1000, .lru = 100, .ours = 90, .opt = 105};
  EXPECT_EQ(Met(Judge("a.trace", trace, replay)), true);
  replay.ours = 89;
  EXPECT_EQ(Met(Judge("a.trace", trace, replay)), false);
  replay.opt = 104;  // nothing to gain
  EXPECT_EQ(Met(Judge("a.trace", trace, replay)), std::nullopt);
  replay.opt = 200;
  replay.frames = 11;  // more than 10 %
  EXPECT_EQ(Met(Judge("a.trace", trace, replay)), std::nullopt);
}

TEST(Format, TellsEachSize) {
  const Trace trace = TraceOf(100);
  const Replay replay{.frames = 10, .references = 1000, .lru = 100, .ours = 150, .opt = 300};
  const std::vector<HitRatioRow> rows = {Judge("a\".trace", trace, replay)};
  EXPECT_EQ(
      FormatText("b/a.trace", trace, rows),
      "a.trace: 100 references to 100 pages\n\n"
      "   cache | of pages |     LRU |    ours |     OPT | gap closed | bound             | met\n"
      "---------+----------+---------+---------+---------+------------+-------------------+----\n"
      "      10 |   10.0 % | 10.00 % | 15.00 % | 30.00 % |      0.250 | ours ≥ LRU - 1    | yes\n");
  EXPECT_EQ(FormatJson("b/a\".trace", trace, rows),
            "{\"trace\": \"a\\\".trace\", \"references\": 100, \"pages\": 100, \"sizes\": [\n"
            "  {\"cache\": 10, \"lru_percent\": 10.0000, \"ours_percent\": 15.0000, "
            "\"opt_percent\": 30.0000, \"gap_closed\": 0.2500, \"below_lru_max\": 1, \"met\": 1}\n"
            "]}\n");
}

// Whatever the policy: pages that all fit are missed once, and nobody beats OPT.
TEST(PoolHits, AreNoMoreThanThoseOfOpt) {
  Trace trace = TraceOf(100);
  std::mt19937 random(1);
  std::uniform_int_distribution<uint32_t> any_page(0, 99);
  for (int i = 0; i < 2000; ++i) trace.references.push_back(any_page(random));
  const uint64_t possible = trace.references.size() - 100;
  for (const uint32_t frames : {1u, 10u, 50u}) {
    const absl::StatusOr<Replay> replay = ReplayTrace(trace, frames);
    ASSERT_TRUE(replay.ok()) << replay.status();
    // A frame more: the one that was put last may stay beyond the cache.
    EXPECT_LE(replay->ours, OptHits(trace, frames + 1));
    EXPECT_LE(replay->lru, replay->opt);
    EXPECT_LT(replay->opt, possible);
  }
  EXPECT_EQ(PoolHits(trace, 100).value(), possible);
}

}  // namespace
}  // namespace benchmarks
