#include "cli/bench/pressure.h"

#include "gtest/gtest.h"

namespace cli::bench {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// A machine with a gibibyte of room, and swap.
Circumstances Roomy() {
  Circumstances now;
  now.file_bytes = ~uint64_t{0};
  now.headroom.bytes = 1024 * kMiB;
  now.anonymous_goes_out = true;
  now.swap_free_bytes = 512 * kMiB;
  return now;
}

std::string ErrorOf(const Circumstances& now) {
  const absl::StatusOr<Plan> plan = MakePlan(now);
  return plan.ok() ? "" : std::string(plan.status().message());
}

TEST(MakePlan, WithoutPressureThereIsAWorkingSetOnly) {
  const absl::StatusOr<Plan> plan = MakePlan(Roomy());
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->working_set_bytes, 16 * kMiB);
  EXPECT_EQ(plan->anonymous_bytes, 0u);
  EXPECT_EQ(plan->page_cache_bytes, 0u);
}

TEST(MakePlan, TakesWholePagesOfASmallFile) {
  Circumstances now = Roomy();
  now.file_bytes = 3 * kMiB + 4000;
  EXPECT_EQ(MakePlan(now)->working_set_bytes, 3 * kMiB);
}

TEST(MakePlan, ACgroupGetsPressureOfItsSizeAndAnEighthOfItIsTheWorkingSet) {
  Circumstances now = Roomy();
  now.cgroup_bytes = 64 * kMiB;
  const absl::StatusOr<Plan> plan = MakePlan(now);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->working_set_bytes, 8 * kMiB);
  EXPECT_EQ(plan->anonymous_bytes, 64 * kMiB);
  EXPECT_EQ(plan->page_cache_bytes, 64 * kMiB);
  EXPECT_TRUE(plan->notes.empty());
}

TEST(MakePlan, RefusesWhatMemoryAndSwapOfTheCgroupCannotHold) {
  Circumstances now = Roomy();
  now.cgroup_bytes = 64 * kMiB;
  now.swap_free_bytes = 40 * kMiB;
  // 64 MiB, less three copies and the bench's own 8 MiB, and three quarters of the swap.
  now.pressure_bytes = 62 * kMiB;
  EXPECT_TRUE(MakePlan(now).ok());
  now.pressure_bytes = 62 * kMiB + 1;
  EXPECT_NE(ErrorOf(now).find("could wake the OOM killer"), std::string::npos) << ErrorOf(now);
  EXPECT_NE(ErrorOf(now).find("room for 62.0 MiB"), std::string::npos) << ErrorOf(now);
  now.pressure_bytes.reset();
  EXPECT_EQ(MakePlan(now)->anonymous_bytes, 62 * kMiB) << "not asked for: as much as there is";
}

TEST(MakePlan, WithoutSwapThePressureInACgroupIsMostlyPageCache) {
  Circumstances now = Roomy();
  now.cgroup_bytes = 64 * kMiB;
  now.anonymous_goes_out = false;
  now.pressure_bytes = 4096 * kMiB;
  const absl::StatusOr<Plan> plan = MakePlan(now);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->anonymous_bytes, 16 * kMiB);
  EXPECT_EQ(plan->page_cache_bytes, 4096 * kMiB);
  ASSERT_EQ(plan->notes.size(), 1u);
  EXPECT_NE(plan->notes[0].find("No swap"), std::string::npos);
}

TEST(MakePlan, WithoutACgroupThePressureStaysWithinTheHeadroom) {
  Circumstances now = Roomy();
  // A gibibyte, less three copies and what stays free.
  now.pressure_bytes = (1024 - 3 * 16 - 64) * kMiB;
  EXPECT_TRUE(MakePlan(now).ok()) << ErrorOf(now);
  ++*now.pressure_bytes;
  EXPECT_NE(ErrorOf(now).find("could wake the OOM killer"), std::string::npos) << ErrorOf(now);
  EXPECT_NE(ErrorOf(now).find("--cgroup"), std::string::npos) << "the cure: " << ErrorOf(now);
}

TEST(MakePlan, RefusesCgroupsAndWorkingSetsThatDoNotFit) {
  Circumstances now = Roomy();
  now.cgroup_bytes = 1000 * kMiB;
  EXPECT_NE(ErrorOf(now).find("lower --cgroup"), std::string::npos) << ErrorOf(now);
  now = Roomy();
  now.cgroup_bytes = 64 * kMiB;
  now.size_bytes = 9 * kMiB;
  EXPECT_NE(ErrorOf(now).find("lower --size"), std::string::npos) << ErrorOf(now);
  now = Roomy();
  now.size_bytes = 512 * kMiB;
  EXPECT_NE(ErrorOf(now).find("lower --size"), std::string::npos) << ErrorOf(now);
}

TEST(MakePlan, NamesTheCgroupThatBounds) {
  Circumstances now = Roomy();
  now.headroom.bytes = 20 * kMiB;
  now.headroom.group = {"/sys/fs/cgroup/small"};
  EXPECT_NE(ErrorOf(now).find("in the memory cgroup /sys/fs/cgroup/small"), std::string::npos)
      << ErrorOf(now);
}

TEST(StartPressure, RunsUntilItIsEnded) {
  Plan plan;
  plan.anonymous_bytes = kMiB;
  plan.page_cache_bytes = kMiB;
  absl::StatusOr<os::CompanionProcess> child = StartPressure(plan);
  ASSERT_TRUE(child.ok()) << child.status();
  child->Begin();
  EXPECT_TRUE(child->IsRunning());
}

}  // namespace
}  // namespace cli::bench
