#include "cli/bench/histogram.h"

#include <cstdint>
#include <random>

#include "gtest/gtest.h"

namespace cli::bench {
namespace {

TEST(Histogram, OfNothing) {
  const Histogram none;
  EXPECT_EQ(none.count(), 0u);
  EXPECT_EQ(none.max(), 0u);
  EXPECT_EQ(none.mean(), 0);
  EXPECT_EQ(none.Percentile(0.99), 0u);
  EXPECT_TRUE(none.Buckets().empty());
}

TEST(Histogram, IsExactBelow128) {
  Histogram histogram;
  for (uint64_t ns = 1; ns <= 100; ++ns) histogram.Add(ns);
  EXPECT_EQ(histogram.count(), 100u);
  EXPECT_EQ(histogram.mean(), 50.5);
  EXPECT_EQ(histogram.max(), 100u);
  EXPECT_EQ(histogram.Percentile(0), 1u);
  EXPECT_EQ(histogram.Percentile(0.5), 50u);
  EXPECT_EQ(histogram.Percentile(0.9), 90u);
  EXPECT_EQ(histogram.Percentile(0.99), 99u);
  EXPECT_EQ(histogram.Percentile(0.991), 100u);
  EXPECT_EQ(histogram.Percentile(1), 100u);
}

TEST(Histogram, OneInAThousandIsAbove999) {
  Histogram histogram;
  for (int i = 0; i < 999; ++i) histogram.Add(7);
  histogram.Add(90);
  EXPECT_EQ(histogram.Percentile(0.999), 7u);
  EXPECT_EQ(histogram.Percentile(0.9991), 90u);
}

TEST(Histogram, RoundsUpByA64thAtMostAndNeverBeyondTheGreatest) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t ns = random() >> (24 + random() % 40);
    Histogram histogram;
    histogram.Add(ns);
    EXPECT_EQ(histogram.Percentile(0.5), ns) << "the greatest is exact";
    histogram.Add(UINT64_C(1) << 41);
    const uint64_t shown = histogram.Percentile(0.5);
    EXPECT_GE(shown, ns);
    EXPECT_LE(shown - ns, ns / 64) << ns;
  }
}

TEST(Histogram, BucketsAreInOrderAndCountAll) {
  Histogram histogram;
  for (const uint64_t ns : {5u, 5u, 127u, 128u, 129u, 1'000'000u}) histogram.Add(ns);
  const std::vector<Histogram::Bucket> buckets = histogram.Buckets();
  ASSERT_EQ(buckets.size(), 4u);
  EXPECT_EQ(buckets[0].last, 5u);
  EXPECT_EQ(buckets[0].count, 2u);
  EXPECT_EQ(buckets[1].last, 127u);
  EXPECT_EQ(buckets[2].last, 129u) << "128 and 129 share one";
  EXPECT_EQ(buckets[2].count, 2u);
  EXPECT_EQ(buckets[3].last, 1'000'000u);
}

TEST(Histogram, AddsOthersAndForgets) {
  Histogram sum;
  Histogram part;
  part.Add(10);
  part.Add(30);
  sum.Add(20);
  sum.Add(part);
  EXPECT_EQ(sum.count(), 3u);
  EXPECT_EQ(sum.Percentile(0.5), 20u);
  EXPECT_EQ(sum.max(), 30u);
  EXPECT_EQ(sum.mean(), 20);
  sum.Clear();
  EXPECT_EQ(sum.count(), 0u);
  EXPECT_EQ(sum.max(), 0u);
}

TEST(Histogram, WhatIsBeyondItsEndCountsAndItsMaximumIsExact) {
  Histogram histogram;
  histogram.Add(UINT64_MAX >> 1);
  EXPECT_EQ(histogram.count(), 1u);
  EXPECT_EQ(histogram.max(), UINT64_MAX >> 1);
}

}  // namespace
}  // namespace cli::bench
