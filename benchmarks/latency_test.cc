#include "benchmarks/latency.h"

#include <atomic>
#include <chrono>
#include <numeric>
#include <vector>

#include "benchmarks/bare.h"
#include "gtest/gtest.h"

namespace benchmarks {
namespace {

TEST(Percentile999, IsExceededByOneInAThousand) {
  std::vector<uint64_t> values(1000);
  std::iota(values.rbegin(), values.rend(), 1u);
  EXPECT_EQ(Percentile999(values), 999u);
  EXPECT_EQ(Percentile999({7}), 7u);
  EXPECT_EQ(Percentile999({7, 9}), 7u);
}

TEST(P999Ns, MeasuresForASlice) {
  uint64_t times = 0;
  EXPECT_GT(P999Ns(std::chrono::microseconds(100), [&times] { ++times; }), 0);
  EXPECT_GT(times, 0u);
}

TEST(InThread, HasTheOtherThreadBesideIt) {
  if (UsableCpus() < 2) GTEST_SKIP() << "needs 2 CPUs";
  std::atomic<int> rounds{0};
  const double result = InThread(
      [&rounds] {
        const int begin = rounds;
        while (rounds < begin + 2) {
        }
        return 5.0;
      },
      [&rounds] { ++rounds; });
  EXPECT_EQ(result, 5);
}

TEST(InThread, CanDoWithoutOne) {
  EXPECT_EQ(InThread([] { return 3.0; }, nullptr), 3);
}

}  // namespace
}  // namespace benchmarks
