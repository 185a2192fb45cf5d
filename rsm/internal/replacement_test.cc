#include "rsm/internal/replacement.h"

#include <cstring>

#include "gtest/gtest.h"
#include "os/live_replace.h"
#include "os/shared_mapping.h"
#include "pinlock/mpin.h"
#include "rsm/internal/error.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace rsm::internal {
namespace {

using test_support::FillPages;
using test_support::LockedBytes;
using test_support::PageSize;
using test_support::RunInChild;
using test_support::TestMapping;
using test_support::TextOf;

constexpr size_t kPages = 2;

uint64_t PinsOf(void* address) {
  mpin_info info = {};
  EXPECT_EQ(mpin_query(address, kPages * PageSize(), &info), 0) << mpin_error();
  return info.count_max;
}

class ReplacementTest : public testing::Test {
 protected:
  ReplacementTest() { FillPages(mapping_, kPages, "page "); }

  static void* Fresh() {
    const os::Result<void*> made = os::MapPrivate(kPages * PageSize());
    EXPECT_TRUE(made.ok());
    return made.ok() ? *made : nullptr;
  }
  os::Errno Move(Replacement& replacement) {
    os::LiveReplacement place(mapping_.page(0), kBytes);
    std::memset(replacement.view(), 'r', kBytes);
    return replacement.MoveTo(place, mapping_.page(0));
  }

  const size_t kBytes = kPages * PageSize();
  TestMapping mapping_{kPages};
};

// Where it is while it is filled, other memory may be as soon as it has moved, with pins of its own.
TEST_F(ReplacementTest, IsLockedWithoutAPin) {
  void* const view = Fresh();
  Replacement replacement(view, kBytes);
  ASSERT_EQ(replacement.LockIfPossible(), RSM_SUCCESS) << ErrorText();
  EXPECT_EQ(PinsOf(view), 0u);
  EXPECT_EQ(LockedBytes(), kBytes);
}

TEST_F(ReplacementTest, TakesItsLockAlongAndLeavesTheAddressesFree) {
  ASSERT_EQ(mpin(mapping_.page(0), kBytes), 0) << mpin_error();
  void* const view = Fresh();
  Replacement replacement(view, kBytes);
  ASSERT_EQ(replacement.LockIfPossible(), RSM_SUCCESS) << ErrorText();
  ASSERT_TRUE(Move(replacement).ok());
  TestMapping other(kPages);
  ASSERT_EQ(mpin(other.page(0), kBytes), 0) << mpin_error();
  EXPECT_TRUE(replacement.Settle(true).ok());
  EXPECT_EQ(LockedBytes(), 2 * kBytes) << "its own, and those of the other memory";
  EXPECT_EQ(PinsOf(other.page(0)), 1u);
  EXPECT_EQ(PinsOf(mapping_.page(0)), 1u);
  EXPECT_EQ(TextOf(mapping_.page(0), 3), "rrr");
  ASSERT_EQ(munpin(other.page(0), kBytes), 0) << mpin_error();
  ASSERT_EQ(munpin(mapping_.page(0), kBytes), 0) << mpin_error();
  EXPECT_EQ(LockedBytes(), 0u);
}

TEST_F(ReplacementTest, IsLockedWhereItHasMovedIfTheLimitAdmitsOneAlone) {
  RunInChild({.memlock_bytes = kBytes, .drop_privilege = true}, [this] {
    ASSERT_EQ(mpin(mapping_.page(0), kBytes), 0) << mpin_error();
    Replacement replacement(Fresh(), kBytes);
    ASSERT_EQ(replacement.LockIfPossible(), RSM_SUCCESS) << ErrorText();
    ASSERT_TRUE(Move(replacement).ok());
    EXPECT_EQ(LockedBytes(), 0u) << "the memory that was locked is gone";
    EXPECT_TRUE(replacement.Settle(true).ok());
    EXPECT_EQ(LockedBytes(), kBytes);
    ASSERT_EQ(munpin(mapping_.page(0), kBytes), 0) << mpin_error();
  });
}

TEST_F(ReplacementTest, IsGoneWithItsLockWhereItHasNotMoved) {
  {
    Replacement replacement(Fresh(), kBytes);
    ASSERT_EQ(replacement.LockIfPossible(), RSM_SUCCESS) << ErrorText();
  }
  EXPECT_EQ(LockedBytes(), 0u);
  EXPECT_EQ(TextOf(mapping_.page(0), 4), "page");
}

}  // namespace
}  // namespace rsm::internal
