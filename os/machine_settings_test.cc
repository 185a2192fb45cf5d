#include "os/machine_settings.h"

#include <gtest/gtest.h>

#include "os/fake_tree.h"

namespace os {
namespace {

using testing::FakeTree;

TEST(ReadMachineSettings, ReadsEveryFile) {
  FakeTree tree;
  tree.Write("/proc/sys/vm/max_map_count", "65530\n");
  tree.Write("/proc/sys/vm/compact_unevictable_allowed", "1\n");
  tree.Write("/proc/sys/vm/overcommit_memory", "2\n");
  tree.Write("/proc/sys/vm/nr_hugepages", "17\n");
  tree.Write("/proc/sys/vm/panic_on_oom", "0\n");
  tree.Write("/proc/sys/vm/swappiness", "60\n");
  tree.Write("/proc/sys/kernel/numa_balancing", "3\n");
  tree.Write("/proc/sys/kernel/io_uring_disabled", "4\n");
  tree.Write("/sys/kernel/mm/ksm/run", "5\n");
  tree.Write("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  tree.Write("/sys/kernel/mm/transparent_hugepage/defrag", "[always] defer never\n");
  tree.Write("/sys/kernel/mm/transparent_hugepage/khugepaged/defrag", "6\n");
  tree.Write("/proc/meminfo",
             "MemTotal: 9 kB\nSwapCached: 1 kB\nSwapTotal:     7 kB\nSwapFree:  3 kB\n"
             "CommitLimit:  20 kB\nCommitted_AS:   10 kB\n");
  const MachineSettings settings = ReadMachineSettings(tree.root());
  EXPECT_EQ(settings.max_map_count, 65530u);
  EXPECT_EQ(settings.compact_unevictable_allowed, 1u);
  EXPECT_EQ(settings.overcommit_memory, 2u);
  EXPECT_EQ(settings.nr_hugepages, 17u);
  EXPECT_EQ(settings.panic_on_oom, 0u);
  EXPECT_EQ(settings.swappiness, 60u);
  EXPECT_EQ(settings.numa_balancing, 3u);
  EXPECT_EQ(settings.io_uring_disabled, 4u);
  EXPECT_EQ(settings.ksm_run, 5u);
  EXPECT_EQ(settings.huge_pages_enabled, "madvise");
  EXPECT_EQ(settings.huge_pages_defrag, "always");
  EXPECT_EQ(settings.khugepaged_defrag, 6u);
  EXPECT_EQ(settings.swap_bytes, 7u * 1024);
  EXPECT_EQ(settings.swap_free_bytes, 3u * 1024);
  EXPECT_EQ(settings.commit_limit_bytes, 20u * 1024);
  EXPECT_EQ(settings.committed_bytes, 10u * 1024);
}

TEST(ReadMachineSettings, WhatIsAbsentOrMakesNoSenseIsUnknown) {
  FakeTree tree;
  EXPECT_EQ(ReadMachineSettings(tree.root()).ksm_run, std::nullopt);
  EXPECT_EQ(ReadMachineSettings(tree.root()).huge_pages_enabled, "");
  tree.Write("/sys/kernel/mm/ksm/run", "yes\n");
  tree.Write("/sys/kernel/mm/transparent_hugepage/enabled", "]always[\n");
  tree.Write("/proc/meminfo", "SwapTotal: 99999999999999999999 kB\nSwapFree: 18446744073709551615");
  const MachineSettings settings = ReadMachineSettings(tree.root());
  EXPECT_EQ(settings.ksm_run, std::nullopt);
  EXPECT_EQ(settings.huge_pages_enabled, "]always[");
  EXPECT_EQ(settings.swap_bytes, std::nullopt);
  EXPECT_EQ(settings.swap_free_bytes, std::nullopt);
}

TEST(ReadMachineSettings, FindsTheKernelsOwn) {
  const MachineSettings settings = ReadMachineSettings();
  EXPECT_GT(settings.max_map_count.value_or(0), 0u);
  EXPECT_TRUE(settings.swap_bytes.has_value());
}

TEST(ReadFileSystemRoom, IsThatOfThePath) {
  const Result<FileSystemRoom> room = ReadFileSystemRoom("/");
  ASSERT_TRUE(room.ok());
  EXPECT_GT(room->total_bytes, 0u);
  EXPECT_LE(room->free_bytes, room->total_bytes);
  EXPECT_EQ(ReadFileSystemRoom("/nonexistent").error(), Errno(ENOENT));
}

}  // namespace
}  // namespace os
