#include "cli/bench/result.h"

#include "cli/bench/invented_result.h"
#include "gtest/gtest.h"

namespace cli::bench {
namespace {

ModeResult& ModeOf(BenchResult& result, Mode mode) {
  return result.modes[static_cast<size_t>(mode)];
}

TEST(Verdict, ComparesThePoolWithTheOthers) {
  const BenchResult result = testing::InventedResult();
  EXPECT_FALSE(HasFinding(result));
  EXPECT_EQ(
      Verdict(result),
      "The pool took no major fault; malloc took 5,678, mmap took 1,234 and mlock took none. "
      "One touch in a thousand took longer than 89 ns with the pool, and than 3.0 ms (malloc) "
      "and 3.0 ms (mmap) without it.");
}

TEST(Verdict, AMajorFaultOfThePoolIsAFinding) {
  BenchResult result = testing::InventedResult();
  ModeOf(result, Mode::kPool).faults.major = 1;
  EXPECT_TRUE(HasFinding(result));
  EXPECT_EQ(Verdict(result).rfind("FINDING: the pool took 1 major fault; malloc took 5,678", 0), 0u)
      << Verdict(result);
}

TEST(Verdict, SoIsAPageThatThePoolReadsAgain) {
  BenchResult result = testing::InventedResult();
  ModeOf(result, Mode::kPool).pool_misses = 3;
  EXPECT_TRUE(HasFinding(result));
  EXPECT_EQ(Verdict(result).rfind("FINDING: the pool had to read 3 pages again", 0), 0u)
      << Verdict(result);
}

TEST(Verdict, SaysWhereNothingWasCompared) {
  BenchResult result = testing::InventedResult();
  for (ModeResult& mode : result.modes) mode.faults.major = 0;
  EXPECT_EQ(Verdict(result).rfind("Nothing was taken away from anybody", 0), 0u) << Verdict(result);
  EXPECT_FALSE(HasFinding(result));
}

TEST(Verdict, OfSomeModesAlone) {
  BenchResult result = testing::InventedResult();
  result.modes.pop_back();
  EXPECT_EQ(Verdict(result),
            "The pool was not measured. Major faults: malloc took 5,678, mmap took 1,234 and mlock "
            "took none.");
  EXPECT_FALSE(HasFinding(result));
  EXPECT_EQ(result.Find(Mode::kPool), nullptr);
  result = testing::InventedResult();
  result.modes = {ModeOf(result, Mode::kPool)};
  EXPECT_EQ(Verdict(result), "The pool took no major fault.");
}

}  // namespace
}  // namespace cli::bench
