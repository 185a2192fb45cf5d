#include "pinlock/limits.h"

#include <cstring>
#include <sstream>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "os/fake_limits.h"
#include "pinlock/limits_from.h"
#include "pinlock/locked_region.h"
#include "pinlock/page_lock.h"
#include "tests/support/child.h"
#include "tests/support/test_mapping.h"

namespace pinlock {
namespace {

using internal::LimitsFrom;
using os::testing::FakeLimits;
using test_support::PageSize;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kUnbounded = ~uint64_t{0};

os::Headroom HeadroomOf(os::Headroom::Bound bound, uint64_t bytes) {
  os::Headroom headroom;
  headroom.bound = bound;
  headroom.bytes = bytes;
  headroom.limit_bytes = 64 * kMiB;
  headroom.used_bytes = 64 * kMiB - bytes;
  std::strcpy(headroom.group.data(), "/sys/fs/cgroup/memory/small");
  return headroom;
}

TEST(LimitsFrom, TellsEveryNumber) {
  FakeLimits kernel;
  kernel.memlock = {8 * kMiB, 16 * kMiB};
  kernel.rss = 12 * kMiB;
  kernel.locked_bytes = 3 * kMiB;
  kernel.headroom = HeadroomOf(os::Headroom::Bound::kCgroupV1, 10 * kMiB);
  const Limits limits = LimitsFrom(kernel, {.in_initial_user_namespace = false,
                                            .mappings_max = uint64_t{65530},
                                            .mappings = uint64_t{40},
                                            .plock_max_bytes = 2 * kMiB,
                                            .pinned_bytes = kMiB});
  Limits expected;
  expected.memlock_soft_bytes = 8 * kMiB;
  expected.memlock_hard_bytes = 16 * kMiB;
  expected.rss_soft_bytes = 12 * kMiB;
  expected.locked_bytes = 3 * kMiB;
  expected.in_initial_user_namespace = false;
  expected.headroom_bound = Limits::Bound::kCgroupV1;
  expected.headroom_bytes = 10 * kMiB;
  expected.headroom_reserve_bytes = kMiB;
  expected.headroom_limit_bytes = 64 * kMiB;
  expected.headroom_used_bytes = 54 * kMiB;
  expected.headroom_cgroup = "/sys/fs/cgroup/memory/small";
  expected.plock_max_bytes = 2 * kMiB;
  expected.pinned_bytes = kMiB;
  expected.mappings_max = 65530;
  expected.mappings = 40;
  EXPECT_EQ(limits, expected);
  EXPECT_EQ(limits.bytes_lockable(), kMiB);
}

TEST(ReserveBytesOf, IsThatOfTheHeadroom) {
  FakeLimits kernel;
  for (const auto& [ours, kernels] : {std::pair(Limits::Bound::kNone, os::Headroom::Bound::kNone),
                                      {Limits::Bound::kSystem, os::Headroom::Bound::kSystem},
                                      {Limits::Bound::kCgroupV1, os::Headroom::Bound::kCgroupV1},
                                      {Limits::Bound::kCgroupV2, os::Headroom::Bound::kCgroupV2}}) {
    kernel.headroom = HeadroomOf(kernels, 10 * kMiB);
    const Limits limits = LimitsFrom(kernel, {});
    EXPECT_EQ(ReserveBytesOf(ours, limits.headroom_limit_bytes), limits.headroom_reserve_bytes);
  }
  EXPECT_EQ(ReserveBytesOf(Limits::Bound::kNone, 64 * kMiB), 0u);
  EXPECT_EQ(ReserveBytesOf(Limits::Bound::kCgroupV2, 64 * kMiB), kMiB);
}

TEST(LimitsFrom, WhatCannotBeReadBindsNothing) {
  const os::Errno unknown(ENOENT);
  const Limits limits = LimitsFrom(
      FakeLimits(),
      {.in_initial_user_namespace = unknown, .mappings_max = unknown, .mappings = unknown});
  EXPECT_EQ(limits, Limits());
  EXPECT_EQ(limits.bytes_lockable(), kUnbounded);
}

TEST(BytesLockable, IsTheLeastOfWhatBinds) {
  Limits limits;
  limits.locked_bytes = 2 * kMiB;
  limits.memlock_soft_bytes = 8 * kMiB;
  limits.memlock_hard_bytes = 100 * kMiB;  // does not bind until it is made the soft one
  EXPECT_EQ(limits.bytes_lockable(), 6 * kMiB);
  limits.pinned_bytes = kMiB;
  limits.rss_soft_bytes = 5 * kMiB;
  EXPECT_EQ(limits.bytes_lockable(), 4 * kMiB);
  limits.plock_max_bytes = 3 * kMiB;
  EXPECT_EQ(limits.bytes_lockable(), 2 * kMiB);
  limits.headroom_bytes = 5 * kMiB;
  limits.headroom_reserve_bytes = 4 * kMiB;
  limits.headroom_bound = Limits::Bound::kSystem;
  EXPECT_EQ(limits.bytes_lockable(), kMiB);
  limits.mappings_max = 100;
  limits.mappings = 99;
  EXPECT_EQ(limits.bytes_lockable(), kMiB);
  limits.mappings = 100;
  EXPECT_EQ(limits.bytes_lockable(), 0u);
}

TEST(BytesLockable, PrivilegeLiftsTheLimitsButNotTheHeadroom) {
  Limits limits;
  limits.privileged = true;
  limits.locked_bytes = 8 * kMiB;
  limits.memlock_soft_bytes = 8 * kMiB;
  limits.pinned_bytes = 8 * kMiB;
  limits.rss_soft_bytes = 8 * kMiB;
  limits.plock_max_bytes = 8 * kMiB;
  limits.headroom_bound = Limits::Bound::kCgroupV2;
  limits.headroom_bytes = 3 * kMiB;
  EXPECT_EQ(limits.bytes_lockable(), 3 * kMiB);
}

TEST(BytesLockable, IsZeroWhereMoreIsLockedThanTheLimitAllows) {
  Limits limits;
  limits.locked_bytes = 9 * kMiB;
  limits.memlock_soft_bytes = 8 * kMiB;  // lowered afterwards
  EXPECT_EQ(limits.bytes_lockable(), 0u);
}

TEST(LimitsToString, PrintsUnits) {
  Limits limits;
  limits.memlock_soft_bytes = 8 * kMiB;
  limits.rss_soft_bytes = 1;
  limits.locked_bytes = 4096;
  limits.pinned_bytes = 2;
  limits.headroom_bound = Limits::Bound::kCgroupV2;
  limits.headroom_bytes = 10 * kMiB;
  limits.headroom_limit_bytes = 1536 * kMiB;
  limits.headroom_used_bytes = 1023;
  limits.headroom_cgroup = "/sys/fs/cgroup/small";
  limits.mappings = 40;
  EXPECT_EQ(limits.ToString(),
            "lockable: 0 bytes\n"
            "locked: 4096 bytes (4.0 KiB)\n"
            "RLIMIT_MEMLOCK: 8388608 bytes (8.0 MiB) soft, unlimited hard\n"
            "pinned: 2 bytes\n"
            "RLIMIT_RSS: 1 byte\n"
            "PLOCK_MAX: unlimited\n"
            "privileged: no\n"
            "initial user namespace: yes\n"
            "headroom: 10485760 bytes (10.0 MiB), bound by cgroup v2 /sys/fs/cgroup/small with "
            "1023 bytes used of 1610612736 bytes (1.5 GiB)\n"
            "mappings: 40 of unknown\n");
  std::ostringstream out;
  out << limits;
  EXPECT_EQ(out.str(), limits.ToString());
}

TEST(LimitsToString, NamesTheMachineAndWhatIsUnknown) {
  Limits limits;
  EXPECT_NE(limits.ToString().find("lockable: unknown\n"), std::string::npos);
  EXPECT_NE(limits.ToString().find("headroom: unknown\n"), std::string::npos);
  limits.headroom_bound = Limits::Bound::kSystem;
  EXPECT_NE(limits.ToString().find("bytes (16.0 EiB), bound by the machine with"),
            std::string::npos)
      << limits;
}

TEST(LimitsRead, SeesTheLimitAndWhatIsLocked) {
  test_support::RunInChild(test_support::Limited(16 * PageSize()), [] {
    const Limits before = Limits::Read();
    EXPECT_EQ(before.memlock_soft_bytes, 16 * PageSize());
    EXPECT_EQ(before.memlock_hard_bytes, 16 * PageSize());
    EXPECT_EQ(before.locked_bytes, 0u);
    EXPECT_FALSE(before.privileged);
    EXPECT_EQ(before.bytes_lockable(), 16 * PageSize());
    const absl::StatusOr<LockedRegion> region = LockedRegion::Allocate(5 * PageSize());
    ASSERT_TRUE(region.ok()) << region.status();
    EXPECT_EQ(Limits::Read().locked_bytes, 5 * PageSize());
    EXPECT_EQ(Limits::Read().bytes_lockable(), 11 * PageSize());
  });
}

TEST(LimitsRead, WhatIsLockableCanBeLockedAndNoMore) {
  test_support::RunInChild(test_support::Limited(64 * PageSize()), [] {
    const uint64_t lockable = Limits::Read().bytes_lockable();
    ASSERT_EQ(lockable, 64 * PageSize()) << Limits::Read();
    EXPECT_FALSE(LockedRegion::Allocate(lockable + 1).ok());
    EXPECT_TRUE(LockedRegion::Allocate(lockable).ok());
  });
}

TEST(LimitsRead, CountsMappings) {
  const Limits before = Limits::Read();
  ASSERT_TRUE(before.mappings.has_value());
  ASSERT_TRUE(before.mappings_max.has_value());
  EXPECT_LT(*before.mappings, *before.mappings_max);
  const test_support::TestMapping mapping(3);
  const absl::StatusOr<PageLock> lock = LockPages(absl::MakeSpan(mapping.page(1), 1));
  ASSERT_TRUE(lock.ok()) << lock.status();
  EXPECT_GE(*Limits::Read().mappings, *before.mappings + 3);
}

}  // namespace
}  // namespace pinlock
