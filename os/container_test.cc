#include "os/container.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "os/fake_tree.h"

namespace os {
namespace {

using testing::FakeTree;
using Container = Surroundings::Container;

Surroundings Read(const FakeTree& tree, bool in_kubernetes = false) {
  return ReadSurroundings(tree.root(), tree.proc() + "/self/cgroup", in_kubernetes);
}

TEST(ReadSurroundings, WithoutMarksThereIsNoContainer) {
  FakeTree tree;
  EXPECT_EQ(Read(tree).container, Container::kNone);
  tree.Write("/proc/self/cgroup", "0::/\n");
  tree.Write("/proc/1/environ", std::string("HOME=/\0my_container=lxc\0", 23));
  EXPECT_EQ(Read(tree).container, Container::kNone);
  EXPECT_EQ(Read(tree).container_mark, "");
  EXPECT_EQ(Read(tree).unit, "");
}

TEST(ReadSurroundings, AContainerIsKnownByItsFiles) {
  const struct {
    const char* path;
    std::string text;
    Container container;
  } cases[] = {
      {"/.dockerenv", "", Container::kDocker},
      {"/run/.containerenv", "", Container::kPodman},
      {"/run/secrets/kubernetes.io/token", "", Container::kKubernetes},
      {"/run/systemd/container", "systemd-nspawn\n", Container::kNspawn},
      {"/run/systemd/container", "wsl\n", Container::kOther},
      {"/proc/1/environ", std::string("A=1\0container=lxc\0B=2", 21), Container::kLxc},
      {"/proc/1/environ", std::string("container=podman\0", 17), Container::kPodman},
  };
  for (const auto& [path, text, container] : cases) {
    FakeTree tree;
    tree.Write(path, text);
    EXPECT_EQ(Read(tree).container, container) << path << " " << text;
    EXPECT_EQ(std::string(path).rfind(Read(tree).container_mark, 0), 0u) << path;
  }
}

// There it may be a link that leads back into our own.
TEST(ReadSurroundings, VarRunOfAnotherRootIsNotLookedAt) {
  FakeTree tree;
  tree.Write("/var/run/secrets/kubernetes.io/token", "");
  EXPECT_EQ(Read(tree).container, Container::kNone);
}

TEST(ReadSurroundings, AnEndlessEnvironmentIsNotReadToItsEnd) {
  FakeTree tree;
  tree.Write("/proc/1/environ", std::string("container=lxc\0", 14));
  std::filesystem::resize_file(tree.proc() + "/1/environ", uintmax_t{1} << 42);
  EXPECT_EQ(Read(tree).container, Container::kLxc);
}

TEST(ReadSurroundings, AContainerIsKnownByItsCgroup) {
  const struct {
    const char* line;
    Container container;
  } cases[] = {
      {"0::/system.slice/docker-0123abc.scope", Container::kDocker},
      {"4:memory:/docker/0123abc", Container::kDocker},
      {"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-1.scope", Container::kKubernetes},
      {"0::/machine.slice/libpod-0123.scope/container", Container::kPodman},
      {"0::/lxc.payload.web", Container::kLxc},
      {"0::/machine.slice/systemd-nspawn@web.service/payload", Container::kNspawn},
      {"0::/system.slice/dockerd.service", Container::kNone},
      {"0::/system.slice/docker.service", Container::kNone},
  };
  for (const auto& [line, container] : cases) {
    FakeTree tree;
    tree.Write("/proc/self/cgroup", std::string(line) + "\n");
    EXPECT_EQ(Read(tree).container, container) << line;
  }
}

TEST(ReadSurroundings, KubernetesCountsMoreThanItsRuntime) {
  FakeTree tree;
  tree.Write("/.dockerenv", "");
  EXPECT_EQ(Read(tree, /*in_kubernetes=*/true).container, Container::kKubernetes);
  EXPECT_EQ(Read(tree, /*in_kubernetes=*/true).container_mark, "KUBERNETES_SERVICE_HOST");
  tree.Write("/proc/self/cgroup", "0::/kubepods/pod1/1\n");
  EXPECT_EQ(Read(tree).container, Container::kKubernetes);
}

TEST(ReadSurroundings, TheUnitIsTheLastOne) {
  const struct {
    const char* line;
    const char* unit;
    bool user_manager;
  } cases[] = {
      {"0::/system.slice/postgresql.service", "postgresql.service", false},
      {"0::/user.slice/user-7.slice/session-2.scope", "session-2.scope", false},
      {"0::/user.slice/user-7.slice/user@7.service/app.slice/x.service", "x.service", true},
      {"1:name=systemd:/system.slice/cron.service", "cron.service", false},
      {"4:memory:/system.slice/cron.service", "", false},
      {"0::/", "", false},
      {"0::", "", false},
      {"nonsense", "", false},
  };
  for (const auto& [line, unit, user_manager] : cases) {
    FakeTree tree;
    tree.Write("/proc/self/cgroup", std::string(line) + "\n");
    EXPECT_EQ(Read(tree).unit, unit) << line;
    EXPECT_EQ(Read(tree).user_manager, user_manager) << line;
  }
}

TEST(ReadSurroundings, TellsThatItCouldNotLook) {
  const FakeTree tree;
  EXPECT_TRUE(Read(tree).root_known);
  EXPECT_FALSE(ReadSurroundings(tree.root() + "/none", "/none", false).root_known);
}

TEST(ReadSurroundings, WorksOnTheRealOne) {
  const Surroundings own = ReadOwnSurroundings();
  EXPECT_TRUE(own.root_known);
  EXPECT_EQ(own.container == Container::kNone, own.container_mark.empty());
  EXPECT_STRNE(NameOf(own.container), "");
}

}  // namespace
}  // namespace os
