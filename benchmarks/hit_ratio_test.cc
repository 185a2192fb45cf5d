// The program as a user meets it.

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "benchmarks/program_run.h"

namespace {

using benchmarks::Contains;
using benchmarks::Outcome;

// A loop of 200 pages, three times.
std::string LoopTrace() {
  const std::string path = benchmarks::Temporary("small_loop.trace");
  std::ofstream trace(path);
  for (int i = 0; i < 600; ++i) trace << i % 200 << "\n";
  return path;
}

Outcome RunHitRatio(const std::string& arguments) {
  return benchmarks::RunProgram(std::string(HIT_RATIO) + " " + arguments);
}

TEST(HitRatio, PrintsEachSize) {
  const Outcome run = RunHitRatio(LoopTrace());
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(run.out.starts_with("small_loop.trace: 600 references to 200 pages\n")) << run.out;
  EXPECT_TRUE(Contains(run.out, "\n       2 |    1.0 % |  0.00 % | ")) << run.out;
  EXPECT_TRUE(Contains(run.out, "\n      20 |   10.0 % |  0.00 % | ")) << run.out;
}

TEST(HitRatio, TakesSizesAndPrintsJson) {
  const Outcome run = RunHitRatio(LoopTrace() + " --cache 200,7 --json");
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(Contains(run.out,
                       "{\"cache\": 200, \"lru_percent\": 66.6667, "
                       "\"ours_percent\": 66.6667, \"opt_percent\": 66.6667},"))
      << run.out;
  EXPECT_TRUE(Contains(run.out, "{\"cache\": 7, ")) << run.out;
}

TEST(HitRatio, NamesTheLineThatIsWrong) {
  const std::string path = benchmarks::Temporary("bad.trace");
  std::ofstream(path) << "1\n2 3\n";
  const Outcome run = RunHitRatio(path);
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_EQ(run.out, "");
  EXPECT_EQ(run.err, "hit_ratio: " + path + ":2: '2 3' is not a page number\n");
}

TEST(HitRatio, RefusesWhatItDoesNotKnow) {
  for (const char* arguments : {"", "--fast a.trace", "a.trace --cache 0", "a.trace --cache x"}) {
    const Outcome run = RunHitRatio(arguments);
    EXPECT_EQ(run.exit_code, 2) << arguments;
    EXPECT_EQ(run.out, "") << arguments;
  }
}

}  // namespace
