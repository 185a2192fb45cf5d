// On pretended files. What becomes of the kernel's own is seen in
// tests/support/memory_cgroup_test.cc, in the version of the hierarchy that the machine has: a
// machine has the memory controller in one of them, so the other is tested here alone.

#include "os/headroom.h"

#include <gtest/gtest.h>

#include <string>

#include "os/fake_tree.h"

namespace os {
namespace {

using testing::FakeTree;
using Bound = Headroom::Bound;

constexpr uint64_t kMiB = uint64_t{1} << 20;
// As version 1 shows "no limit".
constexpr uint64_t kNoLimit1 = 9223372036854771712u;

std::string Number(uint64_t value) { return std::to_string(value) + "\n"; }

struct Usage {
  uint64_t used = 0, file = 0, anonymous = 0;
};

class ReadHeadroomTest : public ::testing::Test {
 protected:
  Headroom Read() { return ReadHeadroom(tree_.proc().c_str(), tree_.root().c_str()); }

  void SetSystem(uint64_t available, uint64_t swap_free = 0, uint64_t anonymous = 0) {
    const auto line = [](const char* name, uint64_t bytes) {
      return std::string(name) + ":      " + std::to_string(bytes / 1024) + " kB\n";
    };
    tree_.Write("/proc/meminfo",
                line("MemTotal", 1024 * kMiB) + line("MemFree", kMiB) +
                    line("MemAvailable", available) + line("SwapCached", 7 * kMiB) +
                    line("Active", 100 * kMiB) + line("Active(anon)", anonymous / 4) +
                    line("Inactive(anon)", anonymous / 4 * 3) + line("SwapTotal", 900 * kMiB) +
                    line("SwapFree", swap_free) + line("Dirty", 0));
  }

  // A cgroup of version 1 at the usual place; `path` is "" for the root.
  void SetGroup1(const std::string& path, uint64_t limit, Usage usage) {
    const std::string at = "/sys/fs/cgroup/memory" + path;
    tree_.Write(at + "/cgroup.procs", "");
    tree_.Write(at + "/memory.limit_in_bytes", Number(limit));
    tree_.Write(at + "/memory.usage_in_bytes", Number(usage.used));
    tree_.Write(at + "/memory.stat",
                "inactive_file 999999999999\nactive_anon 999999999999\n"  // not of the tree
                "total_unevictable 999999999999\n"
                "total_inactive_file " +
                    Number(usage.file / 4 * 3) + "total_active_file " + Number(usage.file / 4) +
                    "total_inactive_anon " + Number(usage.anonymous / 2) + "total_active_anon " +
                    Number(usage.anonymous / 2) + more_statistics_);
    tree_.Write("/proc/self/cgroup", "7:cpu:/x\n4:memory:" + (path.empty() ? "/" : path) + "\n");
  }

  void SetGroup2(const std::string& path, const std::string& limit, Usage usage) {
    const std::string at = "/sys/fs/cgroup" + path;
    tree_.Write(at + "/cgroup.procs", "");
    tree_.Write(at + "/memory.max", limit);
    tree_.Write(at + "/memory.current", Number(usage.used));
    tree_.Write(at + "/memory.stat",
                "anon 99999999999\nfile 999999999999\nunevictable 99999\n"
                "inactive_anon " +
                    Number(usage.anonymous / 2) + "active_anon " + Number(usage.anonymous / 2) +
                    "inactive_file " + Number(usage.file / 2) + "active_file " +
                    Number(usage.file / 2) + "slab_unreclaimable 99999999\n");
    tree_.Write("/proc/self/cgroup", "0::" + path + "\n");
  }

  void Expect(const Headroom& headroom, Bound bound, uint64_t bytes,
              const std::string& group = "") {
    EXPECT_EQ(headroom.bound, bound);
    EXPECT_EQ(headroom.bytes, bytes);
    EXPECT_EQ(std::string(headroom.group.data()), group.empty() ? "" : tree_.root() + group);
  }

  FakeTree tree_;
  std::string more_statistics_;  // of version 1
};

TEST_F(ReadHeadroomTest, WithoutFilesNothingBounds) {
  Expect(Read(), Bound::kNone, UINT64_MAX);
  tree_.Write("/proc/meminfo", "");
  tree_.Write("/proc/self/cgroup", "");
  Expect(Read(), Bound::kNone, UINT64_MAX);
}

TEST_F(ReadHeadroomTest, GarbageDoesNotBound) {
  tree_.Write("/proc/meminfo", "MemTotal: much\nMemAvailable: -7 kB\nMemAvailable\n:::\n");
  Expect(Read(), Bound::kNone, UINT64_MAX);
  tree_.Write("/proc/meminfo", "MemTotal: 77 kB\nMemAvailable: 99999999999999999999 kB\n");
  Expect(Read(), Bound::kNone, UINT64_MAX);
  tree_.Write("/proc/meminfo", "MemTotal: 77 kB\nMemAvailable: 18446744073709551615 kB\n");
  Expect(Read(), Bound::kNone, UINT64_MAX);
}

// --- The system

TEST_F(ReadHeadroomTest, TheSystemHasWhatIsAvailable) {
  SetSystem(100 * kMiB);
  const Headroom headroom = Read();
  Expect(headroom, Bound::kSystem, 100 * kMiB);
  EXPECT_EQ(headroom.limit_bytes, 1024 * kMiB);
  EXPECT_EQ(headroom.used_bytes, 924 * kMiB);
}

// The kernel kills before it has swapped out enough; so nobody is to be swapped out.
TEST_F(ReadHeadroomTest, SwapSpaceIsNoRoom) {
  SetSystem(100 * kMiB, 300 * kMiB, 80 * kMiB);
  Expect(Read(), Bound::kSystem, 100 * kMiB);
  SetGroup1("/a", 64 * kMiB, {.used = 60 * kMiB, .anonymous = 40 * kMiB});
  Expect(Read(), Bound::kCgroupV1, 4 * kMiB, "/sys/fs/cgroup/memory/a");
}

// --- Version 1

TEST_F(ReadHeadroomTest, AGroupHasItsLimitLessWhatIsUsed) {
  SetSystem(500 * kMiB);
  SetGroup1("/a", 64 * kMiB, {.used = 20 * kMiB});
  const Headroom headroom = Read();
  Expect(headroom, Bound::kCgroupV1, 44 * kMiB, "/sys/fs/cgroup/memory/a");
  EXPECT_EQ(headroom.limit_bytes, 64 * kMiB);
  EXPECT_EQ(headroom.used_bytes, 20 * kMiB);
}

TEST_F(ReadHeadroomTest, TheTightestOfSystemAndGroupsCounts) {
  SetSystem(10 * kMiB);
  SetGroup1("/a", 64 * kMiB, {});
  Expect(Read(), Bound::kSystem, 10 * kMiB);
  SetSystem(500 * kMiB);
  SetGroup1("", 300 * kMiB, {.used = 280 * kMiB});
  SetGroup1("/a", 200 * kMiB, {.used = 170 * kMiB});
  SetGroup1("/a/b", kNoLimit1, {.used = 170 * kMiB});
  SetGroup1("/a/b/c", 190 * kMiB, {.used = 150 * kMiB});
  Expect(Read(), Bound::kCgroupV1, 20 * kMiB, "/sys/fs/cgroup/memory");
  SetGroup1("", kNoLimit1, {.used = 280 * kMiB});
  SetGroup1("/a/b/c", 190 * kMiB, {.used = 150 * kMiB});
  Expect(Read(), Bound::kCgroupV1, 30 * kMiB, "/sys/fs/cgroup/memory/a");
  SetGroup1("/a", kNoLimit1, {.used = 170 * kMiB});
  SetGroup1("/a/b/c", 190 * kMiB, {.used = 150 * kMiB});
  Expect(Read(), Bound::kCgroupV1, 40 * kMiB, "/sys/fs/cgroup/memory/a/b/c");
}

TEST_F(ReadHeadroomTest, AnotherProcessHasAGroupOfItsOwn) {
  SetGroup1("/b", 64 * kMiB, {.used = 60 * kMiB});
  tree_.Write("/proc/77/cgroup", "4:memory:/b\n");
  SetGroup1("/a", 64 * kMiB, {.used = 20 * kMiB});
  Expect(Read(), Bound::kCgroupV1, 44 * kMiB, "/sys/fs/cgroup/memory/a");
  Expect(ReadHeadroom(tree_.proc().c_str(), tree_.root().c_str(), "77"), Bound::kCgroupV1, 4 * kMiB,
         "/sys/fs/cgroup/memory/b");
}

TEST_F(ReadHeadroomTest, PageCacheCountsAsFree) {
  SetGroup1("/a", 64 * kMiB, {.used = 60 * kMiB, .file = 40 * kMiB});
  Expect(Read(), Bound::kCgroupV1, 44 * kMiB, "/sys/fs/cgroup/memory/a");
}

TEST_F(ReadHeadroomTest, MemoryAndSwapTogetherAreBoundedToo) {
  more_statistics_ = "hierarchical_memsw_limit " + Number(80 * kMiB);
  SetGroup1("/a", 64 * kMiB, {.used = 60 * kMiB, .file = 8 * kMiB, .anonymous = 40 * kMiB});
  tree_.Write("/sys/fs/cgroup/memory/a/memory.memsw.limit_in_bytes", Number(80 * kMiB));
  tree_.Write("/sys/fs/cgroup/memory/a/memory.memsw.usage_in_bytes", Number(78 * kMiB));
  const Headroom headroom = Read();
  Expect(headroom, Bound::kCgroupV1, 10 * kMiB, "/sys/fs/cgroup/memory/a");
  EXPECT_EQ(headroom.limit_bytes, 80 * kMiB);
  EXPECT_EQ(headroom.used_bytes, 78 * kMiB);
  tree_.Write("/sys/fs/cgroup/memory/a/memory.memsw.limit_in_bytes", Number(kNoLimit1));
  Expect(Read(), Bound::kCgroupV1, 12 * kMiB, "/sys/fs/cgroup/memory/a");
}

TEST_F(ReadHeadroomTest, MoreThanTheLimitUsedIsNoRoomAndDoesNotWrap) {
  SetGroup1("/a", 64 * kMiB, {.used = 70 * kMiB, .file = 4 * kMiB});
  Expect(Read(), Bound::kCgroupV1, 0, "/sys/fs/cgroup/memory/a");
  // Statistics lag behind: never more than the limit.
  SetGroup1("/a", 64 * kMiB, {.used = 10 * kMiB, .file = 40 * kMiB});
  Expect(Read(), Bound::kCgroupV1, 64 * kMiB, "/sys/fs/cgroup/memory/a");
  SetGroup1("/a", 64 * kMiB, {.used = UINT64_MAX, .file = UINT64_MAX / 8 * 8});
  EXPECT_LE(Read().bytes, 64 * kMiB);
}

TEST_F(ReadHeadroomTest, AGroupThatSaysItDoesNotBindThoseBelowItDoesNot) {
  SetGroup1("/a", 64 * kMiB, {.used = 60 * kMiB});
  tree_.Write("/sys/fs/cgroup/memory/a/memory.use_hierarchy", "0\n");
  Expect(Read(), Bound::kCgroupV1, 4 * kMiB, "/sys/fs/cgroup/memory/a");  // its own processes
  SetGroup1("/a/b", 640 * kMiB, {});
  Expect(Read(), Bound::kCgroupV1, 640 * kMiB, "/sys/fs/cgroup/memory/a/b");
  tree_.Write("/sys/fs/cgroup/memory/a/memory.use_hierarchy", "1\n");
  Expect(Read(), Bound::kCgroupV1, 4 * kMiB, "/sys/fs/cgroup/memory/a");
}

TEST_F(ReadHeadroomTest, WithoutAnyLimitOneFileSaysSo) {
  SetGroup1("", 4 * kMiB, {});
  SetGroup1("/a", 64 * kMiB, {});
  const std::string none = "hierarchical_memory_limit " + Number(kNoLimit1);
  tree_.Write("/sys/fs/cgroup/memory/a/memory.stat", "total_active_file 0\n" + none);
  Expect(Read(), Bound::kNone, UINT64_MAX);
  tree_.Write("/sys/fs/cgroup/memory/a/memory.stat",
              "total_active_file 0\n" + none + "hierarchical_memsw_limit 9999999\n");
  Expect(Read(), Bound::kCgroupV1, 4 * kMiB, "/sys/fs/cgroup/memory");
}

TEST_F(ReadHeadroomTest, AFileThatIsMissingOrGarbageLiftsThatBoundAlone) {
  SetSystem(500 * kMiB);
  const std::string at = "/sys/fs/cgroup/memory/a/memory.";
  for (const char* file : {"limit_in_bytes", "usage_in_bytes", "stat"}) {
    for (const bool garbage : {false, true}) {
      SetGroup1("", 300 * kMiB, {});
      SetGroup1("/a", 64 * kMiB, {});
      Expect(Read(), Bound::kCgroupV1, 64 * kMiB, "/sys/fs/cgroup/memory/a");
      tree_.Remove(at + file);
      if (garbage) tree_.Write(at + file, "\0\n- x 12 34\n-5\n");
      Expect(Read(), Bound::kCgroupV1, 300 * kMiB, "/sys/fs/cgroup/memory");
    }
  }
}

TEST_F(ReadHeadroomTest, TheNameOfAGroupIsCutToFit) {
  const std::string path = "/" + std::string(200, 'x') + "/" + std::string(100, 'y');
  SetGroup1(path, 64 * kMiB, {});
  const Headroom headroom = Read();
  const std::string whole = tree_.root() + "/sys/fs/cgroup/memory" + path;
  EXPECT_EQ(std::string(headroom.group.data()), whole.substr(0, headroom.group.size() - 1));
}

// --- Version 2

TEST_F(ReadHeadroomTest, AGroupOfVersion2HasItsLimitLessWhatIsUsedPlusItsCache) {
  SetSystem(500 * kMiB);
  SetGroup2("/a", Number(64 * kMiB), {.used = 60 * kMiB, .file = 30 * kMiB});
  Expect(Read(), Bound::kCgroupV2, 34 * kMiB, "/sys/fs/cgroup/a");
  SetGroup2("/a", "max\n", {.used = 60 * kMiB, .file = 30 * kMiB});
  Expect(Read(), Bound::kSystem, 500 * kMiB);
}

TEST_F(ReadHeadroomTest, EachAncestorOfVersion2Counts) {
  SetGroup2("/a", Number(100 * kMiB), {.used = 90 * kMiB});
  SetGroup2("/a/b", "max\n", {.used = 90 * kMiB});
  SetGroup2("/a/b/c", Number(100 * kMiB), {.used = 50 * kMiB});
  Expect(Read(), Bound::kCgroupV2, 10 * kMiB, "/sys/fs/cgroup/a");
}

TEST_F(ReadHeadroomTest, SlabThatShrinksCountsAsFree) {
  SetGroup2("/a", Number(64 * kMiB), {.used = 60 * kMiB});
  tree_.Write("/sys/fs/cgroup/a/memory.stat", "active_file 0\nslab_reclaimable 4194304\nslab 99\n");
  Expect(Read(), Bound::kCgroupV2, 8 * kMiB, "/sys/fs/cgroup/a");
}

TEST_F(ReadHeadroomTest, SwapSpaceIsNoRoomInVersion2) {
  SetSystem(500 * kMiB, 100 * kMiB);
  SetGroup2("/a", Number(64 * kMiB), {.used = 60 * kMiB, .anonymous = 60 * kMiB});
  tree_.Write("/sys/fs/cgroup/a/memory.swap.max", "max\n");
  Expect(Read(), Bound::kCgroupV2, 4 * kMiB, "/sys/fs/cgroup/a");
}

TEST_F(ReadHeadroomTest, InAContainerTheMountItselfBounds) {
  SetGroup2("", Number(64 * kMiB), {.used = 60 * kMiB});
  tree_.Write("/proc/self/cgroup", "0::/docker/id\n");
  tree_.Write("/proc/self/mountinfo",
              "5 4 0:9 /docker/id /sys/fs/cgroup ro - cgroup2 cgroup rw,nsdelegate\n");
  Expect(Read(), Bound::kCgroupV2, 4 * kMiB, "/sys/fs/cgroup");
}

// --- The kernel's own

TEST(ReadHeadroomOfThisMachine, IsNoMoreThanItsMemory) {
  const Headroom headroom = ReadHeadroom();
  ASSERT_NE(headroom.bound, Bound::kNone);
  EXPECT_LE(headroom.limit_bytes, PhysicalMemoryBytes());
  EXPECT_GT(headroom.bytes, 0u);
}

}  // namespace
}  // namespace os
