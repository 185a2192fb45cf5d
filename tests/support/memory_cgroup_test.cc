// Of the cgroup itself, and of what os::ReadHeadroom says in one: the kernel's own numbers, in the
// version of the hierarchy that the machine has.

#include "tests/support/memory_cgroup.h"

#include <unistd.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "os/file.h"
#include "os/headroom.h"
#include "tests/support/child.h"
#include "tests/support/test_mapping.h"

namespace {

using test_support::MemoryCgroup;
using test_support::PageSize;
using test_support::RunInChild;
using test_support::TestMapping;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kLimit = 64 * kMiB;
// What the child itself may need meanwhile, the sanitizers included, and what the kernel charges in
// advance.
constexpr uint64_t kSlack = 6 * kMiB;

// Runs the body in a child in a cgroup of 64 MiB.
void InCgroup(void (*body)()) {
  const std::optional<MemoryCgroup> group = MemoryCgroup::Create(kLimit);
  if (!group) GTEST_SKIP() << "no memory cgroup can be made here";
  RunInChild([&] {
    ASSERT_EQ(group->Enter(), os::kSuccess);
    const os::Headroom headroom = os::ReadHeadroom();
    ASSERT_EQ(std::string(headroom.group.data()), group->directory().substr(0, 255));
    ASSERT_EQ(headroom.limit_bytes, kLimit);
    body();
  });
}

void ExpectHeadroom(uint64_t bytes) {
  const os::Headroom headroom = os::ReadHeadroom();
  EXPECT_LE(headroom.bytes, bytes);
  EXPECT_GE(headroom.bytes, bytes - kSlack) << headroom.used_bytes << " used";
}

TEST(MemoryCgroup, IsRemovedAtItsEndWithWhatRunsInIt) {
  std::string directory;
  pid_t child = 0;
  {
    const std::optional<MemoryCgroup> group = MemoryCgroup::Create(kLimit);
    if (!group) GTEST_SKIP() << "no memory cgroup can be made here";
    directory = group->directory();
    EXPECT_EQ(access(directory.c_str(), F_OK), 0);
    child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      (void)group->Enter();
      for (;;) pause();
    }
  }
  EXPECT_NE(access(directory.c_str(), F_OK), 0);
}

TEST(HeadroomInACgroup, IsItsLimitAtFirst) {
  InCgroup([] { ExpectHeadroom(kLimit); });
}

TEST(HeadroomInACgroup, DoesNotShrinkByPageCache) {
  InCgroup([] {
    const os::Result<os::OwnedDescriptor> file = os::CreateUnnamedFile(testing::TempDir());
    ASSERT_TRUE(file.ok()) << file.error().Name();
    if (os::IsInMemory(file->get())) GTEST_SKIP() << "the test's directory has no page cache";
    const std::vector<std::byte> block(kMiB, std::byte{1});
    for (int i = 0; i < 48; ++i) {
      ASSERT_EQ(write(file->get(), block.data(), block.size()), static_cast<ssize_t>(kMiB));
    }
    EXPECT_GE(os::ReadHeadroom().used_bytes, 40 * kMiB) << "dirty cache is charged";
    ExpectHeadroom(kLimit);
    ASSERT_EQ(fsync(file->get()), 0);
    EXPECT_GE(os::ReadHeadroom().used_bytes, 40 * kMiB) << "clean cache is charged";
    ExpectHeadroom(kLimit);
  });
}

TEST(HeadroomInACgroup, ShrinksByLockedMemory) {
  InCgroup([] {
    const TestMapping mapping(32 * kMiB / PageSize());
    const os::Errno error = test_support::RawMlock(mapping.page(0), 32 * kMiB);
    if (!error.ok()) GTEST_SKIP() << "32 MiB cannot be locked here: " << error.Name();
    ExpectHeadroom(kLimit - 32 * kMiB);
    ASSERT_EQ(test_support::RawMunlock(mapping.page(0), 32 * kMiB), os::kSuccess);
  });
}

TEST(HeadroomInACgroup, CountsNoMemoryThatIsFreeAgain) {
  InCgroup([] {
    {
      const TestMapping mapping(32 * kMiB / PageSize());
      for (size_t page = 0; page < 32 * kMiB / PageSize(); ++page) {
        *mapping.page(page) = std::byte{1};
      }
      EXPECT_GE(os::ReadHeadroom().used_bytes, 32 * kMiB);
    }
    ExpectHeadroom(kLimit);
  });
}

}  // namespace
