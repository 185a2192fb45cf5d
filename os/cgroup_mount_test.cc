#include "os/cgroup_mount.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "os/fake_tree.h"

namespace os {
namespace {

using testing::FakeTree;

// A line of mountinfo.
std::string Mount(const std::string& root, const std::string& point, const std::string& type,
                  const std::string& options) {
  return "35 31 0:32 " + root + " " + point + " rw,relatime shared:9 master:1 - " + type +
         " none " + options + "\n";
}

std::string Mount1(const std::string& root, const std::string& point) {
  return Mount(root, point, "cgroup", "rw,memory");
}

std::string Mount2(const std::string& root, const std::string& point) {
  return Mount(root, point, "cgroup2", "rw,nsdelegate");
}

class FindMemoryCgroupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    tree_.Write("/proc/self/mountinfo", "");
    // The root file system, and another controller.
    mounts_ = Mount("/", "/", "ext4", "rw") + Mount("/", "/cpu", "cgroup", "rw,cpu,cpuacct");
  }

  void SetCgroups(const std::string& lines) { tree_.Write("/proc/self/cgroup", lines); }
  void AddMount(const std::string& line) {
    mounts_ += line;
    tree_.Write("/proc/self/mountinfo", mounts_);
  }
  void AddGroup(const std::string& path) { tree_.Write(path + "/cgroup.procs", ""); }

  // "VERSION MOUNT|REST", or "none".
  std::string Found(const char* process = "self") {
    MemoryCgroup cgroup;
    FindMemoryCgroup(tree_.proc().c_str(), tree_.root().c_str(), cgroup, process);
    if (cgroup.version == 0) return "none";
    const std::string directory(cgroup.directory.view());
    const size_t prefix = tree_.root().size();
    EXPECT_EQ(directory.substr(0, prefix), tree_.root());
    return std::to_string(cgroup.version) + " " +
           directory.substr(prefix, cgroup.mount_size - prefix) + "|" +
           directory.substr(cgroup.mount_size);
  }

  FakeTree tree_;
  std::string mounts_;
};

TEST_F(FindMemoryCgroupTest, WithoutFilesThereIsNone) {
  EXPECT_EQ(Found(), "none");
  SetCgroups("4:memory:/a\n");
  EXPECT_EQ(Found(), "none");
  tree_.Remove("/proc/self/mountinfo");
  EXPECT_EQ(Found(), "none");
}

TEST_F(FindMemoryCgroupTest, GarbageIsNone) {
  AddMount(Mount1("/", "/m"));
  for (const char* text : {"", "\n", "memory", "4:memory", "4:memory:", "4:memory:relative",
                           "::", "1::/a", "4:memorylimit:/a", "5:cpu,cpuacct:/a"}) {
    SetCgroups(text);
    EXPECT_EQ(Found(), "none") << text;
  }
  SetCgroups("4:memory:/a\n");
  for (const char* text : {"-", " - ", " - cgroup", "1 2 3 / - cgroup none memory",
                           "1 2 3 / relative rw - cgroup none memory"}) {
    tree_.Write("/proc/self/mountinfo", text);
    EXPECT_EQ(Found(), "none") << text;
  }
}

TEST_F(FindMemoryCgroupTest, AtTheUsualPlaceMountsAreNotRead) {
  AddGroup("/sys/fs/cgroup/memory/a/b");
  SetCgroups("9:cpu:/x\n4:memory:/a/b\n0::/\n");
  EXPECT_EQ(Found(), "1 /sys/fs/cgroup/memory|/a/b");
  AddGroup("/sys/fs/cgroup/c");
  SetCgroups("0::/c\n");
  EXPECT_EQ(Found(), "2 /sys/fs/cgroup|/c");
}

TEST_F(FindMemoryCgroupTest, Version1GoesFirstWhereBothAreMounted) {
  AddMount(Mount2("/", "/unified"));
  AddMount(Mount1("/", "/m"));
  AddGroup("/m/a");
  AddGroup("/unified/a");
  SetCgroups("0::/a\n4:memory:/a\n");
  EXPECT_EQ(Found(), "1 /m|/a");
  SetCgroups("4:memory:/a\n0::/a\n");
  EXPECT_EQ(Found(), "1 /m|/a");
  SetCgroups("4:cpu:/a\n0::/a\n");
  EXPECT_EQ(Found(), "2 /unified|/a");
}

TEST_F(FindMemoryCgroupTest, TheControllerMayShareItsHierarchy) {
  AddMount(Mount("/", "/m", "cgroup", "rw,cpu,memory,cpuset"));
  AddGroup("/m/a");
  SetCgroups("4:cpu,memory,cpuset:/a\n");
  EXPECT_EQ(Found(), "1 /m|/a");
}

TEST_F(FindMemoryCgroupTest, TheRootHasNothingBelowItsMount) {
  AddMount(Mount2("/", "/m"));
  AddGroup("/m");
  SetCgroups("0::/\n");
  EXPECT_EQ(Found(), "2 /m|");
}

TEST_F(FindMemoryCgroupTest, OfABindMountOnlyThePartBelowItsRootCounts) {
  AddMount(Mount1("/docker/id", "/m"));
  AddGroup("/m/inner");
  SetCgroups("4:memory:/docker/id\n");
  EXPECT_EQ(Found(), "1 /m|");
  SetCgroups("4:memory:/docker/id/inner\n");
  EXPECT_EQ(Found(), "1 /m|/inner");
  SetCgroups("4:memory:/docker/idler\n");  // not below it
  EXPECT_EQ(Found(), "1 /m|");
}

TEST_F(FindMemoryCgroupTest, WhereThePathIsNotShownItIsTheMountItself) {
  AddMount(Mount2("/", "/m"));
  AddGroup("/m/other");
  SetCgroups("0::/kubepods/pod (deleted)\n");
  EXPECT_EQ(Found(), "2 /m|");
}

TEST_F(FindMemoryCgroupTest, APathThatLeadsOutOfTheNamespaceIsNotFollowed) {
  AddMount(Mount2("/", "/m"));
  AddGroup("/m");
  AddGroup("/other");
  AddGroup("/m/..b");
  for (const char* path : {"/../other", "/..", "/a/../../other"}) {
    SetCgroups("0::" + std::string(path) + "\n");
    EXPECT_EQ(Found(), "2 /m|") << path;
  }
  SetCgroups("0::/..b\n");
  EXPECT_EQ(Found(), "2 /m|/..b");
}

// What this process is shown is neither the other's cgroup nor above it.
TEST_F(FindMemoryCgroupTest, OfAnotherProcessThatIsOutsideOfTheNamespaceThereIsNone) {
  AddMount(Mount2("/", "/m"));
  AddGroup("/m/a");
  const auto found = [this](const std::string& path) {
    tree_.Write("/proc/77/cgroup", "0::" + path + "\n");
    return Found("77");
  };
  EXPECT_EQ(found("/../other"), "none");
  EXPECT_EQ(found("/.."), "none");
  EXPECT_EQ(found("/a"), "2 /m|/a");
  EXPECT_EQ(found("/b (deleted)"), "2 /m|");
}

TEST_F(FindMemoryCgroupTest, OfAnotherProcessAMountBesideItsCgroupIsNone) {
  AddMount(Mount1("/docker/id", "/m"));
  AddGroup("/m/inner");
  const auto found = [this](const std::string& path) {
    tree_.Write("/proc/77/cgroup", "4:memory:" + path + "\n");
    return Found("77");
  };
  EXPECT_EQ(found("/docker/idler"), "none");
  EXPECT_EQ(found("/docker/id/inner"), "1 /m|/inner");
  EXPECT_EQ(found("/docker/id/gone"), "1 /m|");
}

TEST_F(FindMemoryCgroupTest, AMountFromOutsideOfTheNamespaceIsItsRoot) {
  AddMount(Mount2("/../..", "/m"));
  AddGroup("/m/a");
  SetCgroups("0::/a\n");
  EXPECT_EQ(Found(), "2 /m|");
}

TEST_F(FindMemoryCgroupTest, TheMountThatShowsMostAncestorsIsTaken) {
  AddGroup("/part/c");
  AddGroup("/whole/a/b/c");
  AddGroup("/blind");
  SetCgroups("0::/a/b/c\n");
  AddMount(Mount2("/z", "/blind"));
  EXPECT_EQ(Found(), "2 /blind|");
  AddMount(Mount2("/a/b", "/part"));
  EXPECT_EQ(Found(), "2 /part|/c");
  AddMount(Mount2("/", "/whole"));
  EXPECT_EQ(Found(), "2 /whole|/a/b/c");
  AddMount(Mount2("/a/b", "/part"));
  AddMount(Mount2("/z", "/blind"));
  EXPECT_EQ(Found(), "2 /whole|/a/b/c");
}

TEST_F(FindMemoryCgroupTest, BlanksInMountPointsAreEscaped) {
  AddMount(Mount2("/a\\040b", "/m\\040\\134n"));
  AddGroup("/m \\n/c");
  SetCgroups("0::/a b/c\n");
  EXPECT_EQ(Found(), "2 /m \\n|/c");
}

TEST_F(FindMemoryCgroupTest, APathThatIsTooLongIsNone) {
  AddMount(Mount2("/", "/m"));
  SetCgroups("0::/" + std::string(1500, 'x') + "\n");
  EXPECT_EQ(Found(), "none");
  SetCgroups("0::/a\n");
  tree_.Write("/proc/self/mountinfo", Mount2("/", "/" + std::string(1020, 'm')));
  EXPECT_EQ(Found(), "none");
}

// The kernel's own word: this process is listed in the cgroup that was found. Where a namespace
// hides it, that of the mount has at least the file.
TEST(FindMemoryCgroupOfThisProcess, IsADirectoryOfCgroups) {
  MemoryCgroup cgroup;
  FindMemoryCgroup("/proc", "", cgroup);
  if (cgroup.version == 0) GTEST_SKIP() << "no cgroup hierarchy is mounted";
  ASSERT_TRUE(cgroup.directory.Append("/cgroup.procs"));
  EXPECT_EQ(access(cgroup.directory.c_str(), F_OK), 0) << cgroup.directory.c_str();
}

}  // namespace
}  // namespace os
