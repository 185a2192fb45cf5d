#include "pinlock/locked_region.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "os/memory.h"
#include "pinlock/mpin.h"
#include "pinlock/page_lock.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/test_mapping.h"

namespace pinlock {
namespace {

using test_support::KernelEvidence;
using test_support::LockedBytes;
using test_support::PageSize;
using Fork = LockedRegionOptions::Fork;

static_assert(std::is_nothrow_move_constructible_v<LockedRegion>);
static_assert(std::is_nothrow_move_assignable_v<LockedRegion>);
static_assert(!std::is_copy_constructible_v<LockedRegion>);
static_assert(!std::is_copy_assignable_v<LockedRegion>);

constexpr size_t kMiB = size_t{1} << 20;

LockedRegion MustAllocate(size_t bytes, const LockedRegionOptions& options = {}) {
  absl::StatusOr<LockedRegion> region = LockedRegion::Allocate(bytes, options);
  EXPECT_TRUE(region.ok()) << region.status();
  return region.ok() ? *std::move(region) : LockedRegion();
}

os::PageRange PagesOf(absl::Span<std::byte> bytes) {
  return *os::PageRange::Covering(reinterpret_cast<uintptr_t>(bytes.data()), bytes.size(),
                                  PageSize());
}

bool AllLocked(os::PageRange pages) {
  const os::Result<bool> all = os::RealMemory().AllLocked(pages);
  EXPECT_TRUE(all.ok());
  return all.ok() && *all;
}

bool Mapped(os::PageRange pages) { return os::RealMemory().CheckMapped(pages).ok(); }

uint64_t PinnedPages() {
  mpin_stat stat;
  EXPECT_EQ(mpin_get_stat(&stat, sizeof(stat)), 0);
  return stat.pages_locked;
}

bool IsAligned(const LockedRegion& region, size_t alignment) {
  return reinterpret_cast<uintptr_t>(region.bytes().data()) % alignment == 0;
}

TEST(LockedRegion, IsZeroedResidentAndLockedUntilItEnds) {
  const uint64_t before = LockedBytes();
  const uint64_t pinned_before = PinnedPages();
  os::PageRange pages;
  {
    const LockedRegion region = MustAllocate(3 * PageSize());
    ASSERT_EQ(region.bytes().size(), 3 * PageSize());
    pages = PagesOf(region.bytes());
    EXPECT_TRUE(AllLocked(pages));
    EXPECT_TRUE(test_support::AllResident(pages));
    EXPECT_EQ(LockedBytes(), before + 3 * PageSize());
    EXPECT_EQ(PinnedPages(), pinned_before + 3);
    EXPECT_TRUE(std::all_of(region.bytes().begin(), region.bytes().end(),
                            [](std::byte byte) { return byte == std::byte{0}; }));
    std::memset(region.bytes().data(), 1, region.bytes().size());
  }
  EXPECT_EQ(LockedBytes(), before);
  EXPECT_EQ(PinnedPages(), pinned_before);
  EXPECT_FALSE(Mapped(pages));
}

TEST(LockedRegion, LocksWholePagesAndGivesTheBytesAskedFor) {
  const uint64_t before = LockedBytes();
  {
    const LockedRegion region = MustAllocate(PageSize() + 1);
    EXPECT_EQ(region.bytes().size(), PageSize() + 1);
    EXPECT_EQ(LockedBytes(), before + 2 * PageSize());
    EXPECT_EQ(PagesOf(region.bytes()).count(), os::PageCount(2));
  }
  EXPECT_EQ(LockedBytes(), before);
}

TEST(LockedRegion, From2MiBOnIsAlignedToThemAndNoLongerThanItsPages) {
  const uint64_t before = LockedBytes();
  const LockedRegion region = MustAllocate(2 * kMiB + 1);
  EXPECT_TRUE(IsAligned(region, 2 * kMiB));
  EXPECT_EQ(LockedBytes(), before + 2 * kMiB + PageSize());
}

TEST(LockedRegion, IsAlignedAsAskedFor) {
  for (size_t alignment = 1; alignment <= 16 * kMiB; alignment *= 2) {
    const LockedRegion region = MustAllocate(PageSize(), {.alignment = alignment});
    EXPECT_TRUE(IsAligned(region, std::max(alignment, PageSize()))) << alignment;
  }
}

TEST(LockedRegion, NestsWithLocksInIt) {
  const LockedRegion region = MustAllocate(2 * PageSize());
  absl::StatusOr<PageLock> lock = LockPages(region.bytes().subspan(0, 1));
  ASSERT_TRUE(lock.ok()) << lock.status();
  lock->Release();
  EXPECT_TRUE(AllLocked(PagesOf(region.bytes())));
}

TEST(LockedRegion, NothingAskedForIsInvalidArgument) {
  EXPECT_EQ(LockedRegion::Allocate(0).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(LockedRegion, AnAlignmentThatIsNoPowerOfTwoIsInvalidArgument) {
  for (const size_t alignment : {size_t{0}, size_t{3}, PageSize() + 1}) {
    EXPECT_EQ(LockedRegion::Allocate(1, {.alignment = alignment}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << alignment;
  }
}

TEST(LockedRegion, SizesAndAlignmentsBeyondTheAddressSpaceAreResourceExhausted) {
  constexpr size_t kMax = std::numeric_limits<size_t>::max();
  const uint64_t before = LockedBytes();
  for (const size_t bytes : {kMax, kMax - 1, kMax - PageSize(), kMax - 2 * kMiB, kMax / 2 + 1}) {
    EXPECT_EQ(LockedRegion::Allocate(bytes).status().code(), absl::StatusCode::kResourceExhausted)
        << bytes;
  }
  EXPECT_EQ(LockedRegion::Allocate(1, {.alignment = kMax / 2 + 1}).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(LockedBytes(), before);
}

TEST(LockedRegion, OverTheLimitIsResourceExhaustedInTheWordsOfMpinError) {
  test_support::RunInChild(test_support::Limited(2 * PageSize()), [] {
    const absl::Status refused = LockedRegion::Allocate(3 * PageSize()).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
    EXPECT_EQ(refused.message(), mpin_error());
    EXPECT_NE(std::string(refused.message()).find("RLIMIT_MEMLOCK"), std::string::npos) << refused;
    EXPECT_EQ(LockedBytes(), 0u);
    // All of what the limit allows can still be had.
    EXPECT_EQ(MustAllocate(2 * PageSize()).bytes().size(), 2 * PageSize());
  });
}

TEST(LockedRegion, HoldsNothingByDefault) {
  LockedRegion region;
  EXPECT_TRUE(region.bytes().empty());
  region.Release();
}

TEST(LockedRegion, ReleasesOnce) {
  const uint64_t before = LockedBytes();
  LockedRegion region = MustAllocate(PageSize());
  const os::PageRange pages = PagesOf(region.bytes());
  region.Release();
  EXPECT_TRUE(region.bytes().empty());
  EXPECT_EQ(LockedBytes(), before);
  EXPECT_FALSE(Mapped(pages));
  region.Release();
}

TEST(LockedRegion, MovingHandsTheMemoryOver) {
  LockedRegion from = MustAllocate(PageSize());
  const os::PageRange pages = PagesOf(from.bytes());
  {
    const LockedRegion to = std::move(from);
    EXPECT_TRUE(from.bytes().empty());  // NOLINT(bugprone-use-after-move): that is what is tested
    EXPECT_EQ(PagesOf(to.bytes()), pages);
    EXPECT_TRUE(AllLocked(pages));
  }
  EXPECT_FALSE(Mapped(pages));
}

TEST(LockedRegion, MoveAssignmentEndsWhatWasHeld) {
  LockedRegion region = MustAllocate(PageSize());
  const os::PageRange first = PagesOf(region.bytes());
  LockedRegion other = MustAllocate(2 * PageSize());
  const os::PageRange second = PagesOf(other.bytes());
  region = std::move(other);
  EXPECT_FALSE(Mapped(first));
  EXPECT_TRUE(AllLocked(second));
  LockedRegion& same = region;
  region = std::move(same);
  EXPECT_EQ(PagesOf(region.bytes()), second);
}

TEST(LockedRegion, OmittedIsNotThereInAChildAndItsEndDoesNothing) {
  LockedRegion region = MustAllocate(2 * PageSize());
  region.bytes()[0] = std::byte{7};
  const os::PageRange pages = PagesOf(region.bytes());
  test_support::RunInChild([&] {
    EXPECT_FALSE(Mapped(PagesOf(region.bytes().subspan(0, 1))));
    region.Release();
    EXPECT_TRUE(region.bytes().empty());
    // The child can lock memory of its own.
    const LockedRegion own = MustAllocate(PageSize());
    EXPECT_TRUE(AllLocked(PagesOf(own.bytes())));
  });
  EXPECT_EQ(region.bytes()[0], std::byte{7});
  EXPECT_TRUE(AllLocked(pages));
}

TEST(LockedRegion, CopiedIsThereInAChildUnlockedAndEndsThereAlone) {
  LockedRegion region = MustAllocate(2 * PageSize(), {.fork = Fork::kCopy});
  region.bytes()[0] = std::byte{7};
  const os::PageRange pages = PagesOf(region.bytes());
  test_support::RunInChild([&] {
    EXPECT_EQ(region.bytes()[0], std::byte{7});
    EXPECT_FALSE(AllLocked(pages));
    // Pins of the child's own elsewhere are not mistaken for the parent's.
    const LockedRegion own = MustAllocate(PageSize());
    region.Release();
    EXPECT_FALSE(Mapped(pages));
    EXPECT_EQ(PinnedPages(), 1u);
  });
  EXPECT_EQ(region.bytes()[0], std::byte{7});
  EXPECT_TRUE(AllLocked(pages));
}

TEST(LockedRegion, WipedIsZerosInAChild) {
  LockedRegion region = MustAllocate(PageSize(), {.fork = Fork::kWipe});
  region.bytes()[0] = std::byte{7};
  const os::PageRange pages = PagesOf(region.bytes());
  test_support::RunInChild([&] {
    EXPECT_EQ(region.bytes()[0], std::byte{0});
    region.Release();
    EXPECT_FALSE(Mapped(pages));
  });
  EXPECT_EQ(region.bytes()[0], std::byte{7});
}

TEST(LockedRegion, ThreadsAllocateAndReleaseTheirOwn) {
  const uint64_t before = LockedBytes();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([] {
      for (size_t pages = 1; pages <= 32; ++pages) {
        const LockedRegion region = MustAllocate(pages * PageSize());
        EXPECT_TRUE(AllLocked(PagesOf(region.bytes())));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(LockedBytes(), before);
}

}  // namespace
}  // namespace pinlock
