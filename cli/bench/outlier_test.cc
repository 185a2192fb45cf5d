#include "cli/bench/outlier.h"

#include <string>

#include "gtest/gtest.h"

namespace cli::bench {
namespace {

SlowTouch Touch(uint64_t ns, uint64_t major, uint64_t minor, uint64_t run_queue_ns) {
  SlowTouch touch;
  touch.ns = ns;
  touch.major = major;
  touch.minor = minor;
  touch.run_queue_ns = run_queue_ns;
  return touch;
}

TEST(CauseOf, NamesWhatTookTheGreaterPart) {
  EXPECT_EQ(CauseOf(Touch(200'000, 1, 0, 0)), Cause::kMajorFault);
  EXPECT_EQ(CauseOf(Touch(200'000, 1, 3, 0)), Cause::kMajorFault);
  EXPECT_EQ(CauseOf(Touch(200'000, 0, 1, 0)), Cause::kMinorFault);
  EXPECT_EQ(CauseOf(Touch(200'000, 0, 0, 150'000)), Cause::kRunQueue);
  EXPECT_EQ(CauseOf(Touch(200'000, 0, 0, 0)), Cause::kOther);
  EXPECT_EQ(CauseOf(Touch(200'000, 0, 0, 99'999)), Cause::kOther);
}

TEST(CauseOf, AFaultAndAWaitForACpuCountAsTheLongerOfTheTwo) {
  EXPECT_EQ(CauseOf(Touch(200'000, 1, 0, 99'999)), Cause::kMajorFault);
  EXPECT_EQ(CauseOf(Touch(200'000, 1, 0, 100'000)), Cause::kRunQueue);
  EXPECT_EQ(CauseOf(Touch(200'001, 0, 1, 100'000)), Cause::kMinorFault);
}

TEST(CauseOf, HasANameAndATextForEach) {
  EXPECT_EQ(std::string(CauseName(Cause::kMajorFault)), "major_fault");
  EXPECT_EQ(std::string(CauseText(Cause::kOther)), "other");
  EXPECT_EQ(std::string(CauseText(Cause::kRunQueue)), "run queue");
}

TEST(OutlierLog, CountsAllAndKeepsTheWorst) {
  OutlierLog log(3);
  for (const uint64_t ns : {300u, 100u, 500u, 200u, 400u}) log.Add(Touch(ns, 1, 0, 0));
  log.Add(Touch(50, 0, 0, 50));
  EXPECT_EQ(log.count(), 6u);
  EXPECT_EQ(log.count(Cause::kMajorFault), 5u);
  EXPECT_EQ(log.count(Cause::kRunQueue), 1u);
  EXPECT_EQ(log.count(Cause::kOther), 0u);
  const std::vector<SlowTouch> worst = log.Worst();
  ASSERT_EQ(worst.size(), 3u);
  EXPECT_EQ(worst[0].ns, 500u);
  EXPECT_EQ(worst[1].ns, 400u);
  EXPECT_EQ(worst[2].ns, 300u);
}

TEST(OutlierLog, MayKeepNone) {
  OutlierLog log(0);
  log.Add(Touch(300, 0, 1, 0));
  EXPECT_EQ(log.count(Cause::kMinorFault), 1u);
  EXPECT_TRUE(log.Worst().empty());
}

}  // namespace
}  // namespace cli::bench
