#include "cli/bench/progress.h"

#include "gtest/gtest.h"

namespace cli::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(ProgressLine, ShowsHowMuchIsDoneAndHowLongItTakes) {
  EXPECT_EQ(ProgressLine(seconds(0), seconds(10), "text", 80), "[..........]  10 s left  text");
  EXPECT_EQ(ProgressLine(milliseconds(2500), seconds(10), "text", 80),
            "[##........]   8 s left  text");
  EXPECT_EQ(ProgressLine(seconds(11), seconds(10), "text", 80), "[##########]   0 s left  text");
}

TEST(ProgressLine, StaysOnItsLine) {
  EXPECT_EQ(ProgressLine(seconds(0), seconds(10), std::string(100, 'x'), 40).size(), 39u);
  EXPECT_EQ(ProgressLine(seconds(0), seconds(0), "", 0).size(), 1u);
}

TEST(Progress, IsNeverDueWhereNobodyWantsIt) {
  const Progress progress(false, seconds(10));
  EXPECT_FALSE(progress.IsDue(seconds(5)));
}

}  // namespace
}  // namespace cli::bench
