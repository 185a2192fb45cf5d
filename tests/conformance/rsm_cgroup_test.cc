// rsm_memseg_export_create(3) where a memory cgroup bounds the process: what does not fit is refused before
// the kernel kills somebody for it.

#include <optional>

#include "gtest/gtest.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/memory_cgroup.h"
#include "tests/support/rsm_setting.h"
#include "tests/support/tagged_memory.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::Create;
using test_support::FailsWith;
using test_support::LockedBytes;
using test_support::MemoryCgroup;
using test_support::PageSize;
using test_support::RunInChild;
using test_support::Succeeds;
using test_support::TaggedMemory;

constexpr size_t kMiB = size_t{1} << 20;

// For a moment there are the program's pages and those of the object.
TEST(RsmInACgroup, CreateFailsWithInsufficientMemWhereItsPagesDoNotFitTwice) {
  const std::optional<MemoryCgroup> group = MemoryCgroup::Create(64 * kMiB);
  if (!group) GTEST_SKIP() << "no memory cgroup can be made here";
  RunInChild([&] {
    ASSERT_EQ(group->Enter(), os::kSuccess);
    const TaggedMemory much(40 * kMiB / PageSize(), 1);
    const size_t locked = LockedBytes();
    rsm_memseg_export_handle_t segment = nullptr;
    EXPECT_TRUE(FailsWith(RSMERR_INSUFFICIENT_MEM, Create(segment, much.address(), 40 * kMiB)));
    EXPECT_EQ(LockedBytes(), locked);
    EXPECT_TRUE(much.IsIntact());
    ASSERT_TRUE(Succeeds(Create(segment, much.address(), 8 * kMiB))) << "which fits";
    EXPECT_TRUE(much.IsIntact());
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
  });
}

}  // namespace
