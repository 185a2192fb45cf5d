// `mpool bench --cgroup`, with swap: what the whole command is for. Needs root.

#include <filesystem>
#include <string>

#include "cli/json_schema.h"
#include "cli/run_mpool.h"
#include "gtest/gtest.h"
#include "os/cgroup_mount.h"
#include "tests/support/memory_cgroup.h"
#include "tests/support/temporary_swap.h"

namespace cli {
namespace {

bool MayMakeCgroups() { return test_support::MemoryCgroup::Create(64 << 20).has_value(); }

// The cgroups that the command leaves where it was started.
int CgroupsLeft() {
  os::MemoryCgroup own;
  os::FindMemoryCgroup("/proc", "", own);
  int left = 0;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(own.directory.view()), error)) {
    if (entry.path().filename().string().starts_with("mpool.")) ++left;
  }
  return left;
}

TEST(MpoolBenchInACgroup, ThePoolTakesNoMajorFaultAndUnlockedMemoryDoes) {
  const test_support::TemporarySwap swap;
  if (!swap.problem().empty()) GTEST_SKIP() << swap.problem();
  if (!MayMakeCgroups()) GTEST_SKIP() << "no memory cgroup can be made here";
  const Outcome bench = RunMpool("bench --secs 6 --cgroup 32M --json -");
  EXPECT_EQ(bench.exit_code, 0) << bench.err;
  const auto json = ExpectValidJson(bench.out, "mpool.bench/1");
  ASSERT_EQ(json["modes"].size(), 4u);
  EXPECT_GT(
      json["modes"][0]["major_faults"].get<int>() + json["modes"][1]["major_faults"].get<int>(), 0)
      << bench.err;
  EXPECT_EQ(json["modes"][2]["major_faults"], 0) << "mlock";
  EXPECT_EQ(json["modes"][3]["major_faults"], 0) << "pool";
  EXPECT_EQ(json["modes"][3]["pool_misses"], 0);
  EXPECT_EQ(json["pressure_died"], false);
  EXPECT_EQ(json["environment"]["cgroup_limit_bytes"], 32 << 20);
  EXPECT_EQ(CgroupsLeft(), 0);
}

TEST(MpoolBenchInACgroup, LeavesNoneBehindWhenItIsInterrupted) {
  if (!MayMakeCgroups()) GTEST_SKIP() << "no memory cgroup can be made here";
  const Outcome bench = RunMpool("bench --secs 600 --cgroup 32M", EndedWhileItMeasures());
  EXPECT_NE(bench.out.find("Ended early"), std::string::npos) << bench.out << bench.err;
  EXPECT_EQ(CgroupsLeft(), 0);
}

TEST(MpoolBenchInACgroup, WithoutPermissionItSaysSo) {
  if (MayMakeCgroups()) GTEST_SKIP() << "this user may make cgroups";
  const Outcome bench = RunMpool("bench --secs 1 --cgroup 64M");
  EXPECT_EQ(bench.exit_code, 4) << bench.err;
  EXPECT_NE(bench.err.find("--cgroup"), std::string::npos) << bench.err;
}

}  // namespace
}  // namespace cli
