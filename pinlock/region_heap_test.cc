#include "pinlock/region_heap.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "os/memory.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/seed.h"
#include "tests/support/test_mapping.h"

namespace pinlock::internal {
namespace {

using test_support::LockedBytes;
using test_support::PageSize;

constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

// Regions of 16 pages.
RegionHeap::Options Small(size_t pages_max) {
  return {pages_max * PageSize(), 16 * PageSize(), LockedRegionOptions()};
}

bool AllLocked(const void* block, size_t bytes) {
  const os::Result<os::PageRange> pages =
      os::PageRange::Covering(reinterpret_cast<uintptr_t>(block), bytes, PageSize());
  const os::Result<bool> all = os::RealMemory().AllLocked(*pages);
  return all.ok() && *all;
}

bool IsAligned(const void* block, size_t alignment) {
  return reinterpret_cast<uintptr_t>(block) % alignment == 0;
}

TEST(RegionHeap, StartsWithNothingLocked) {
  const uint64_t before = LockedBytes();
  const RegionHeap heap(Small(16));
  EXPECT_EQ(heap.locked_bytes(), 0u);
  EXPECT_EQ(LockedBytes(), before);
  EXPECT_TRUE(heap.last_error().ok());
}

TEST(RegionHeap, CutsBlocksOutOfOneRegion) {
  const uint64_t before = LockedBytes();
  {
    RegionHeap heap(Small(16));
    auto* first = static_cast<std::byte*>(heap.allocate(100, 1));
    auto* second = static_cast<std::byte*>(heap.allocate(100, 1));
    EXPECT_EQ(second, first + 128) << "blocks are multiples of 64 bytes";
    EXPECT_TRUE(AllLocked(first, 228));
    EXPECT_EQ(heap.locked_bytes(), 16 * PageSize());
    EXPECT_EQ(LockedBytes(), before + 16 * PageSize());
  }
  EXPECT_EQ(LockedBytes(), before) << "blocks in use end with the heap";
}

TEST(RegionHeap, UsesFreedBlocksAgainAndJoinsNeighbours) {
  RegionHeap heap(Small(16));
  // Frees three neighbours in every order: afterwards a block of all three fits in their place.
  std::array<int, 3> order = {0, 1, 2};
  do {
    std::array<std::byte*, 3> blocks;
    for (std::byte*& block : blocks) block = static_cast<std::byte*>(heap.allocate(64, 1));
    void* fence = heap.allocate(64, 1);
    for (const int index : order) heap.deallocate(blocks[static_cast<size_t>(index)], 64, 1);
    void* joined = heap.allocate(3 * 64, 1);
    EXPECT_EQ(joined, blocks[0]);
    heap.deallocate(joined, 3 * 64, 1);
    heap.deallocate(fence, 64, 1);
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(heap.locked_bytes(), 16 * PageSize()) << "never a second region";
}

TEST(RegionHeap, AlignsBeyondPages) {
  RegionHeap heap(Small(kNoLimit / PageSize()));
  for (size_t alignment = 1; alignment <= size_t{4} << 20; alignment *= 2) {
    for (const size_t bytes : {size_t{1}, size_t{100}, PageSize()}) {
      void* block = heap.allocate(bytes, alignment);
      EXPECT_TRUE(IsAligned(block, alignment)) << alignment;
      EXPECT_TRUE(AllLocked(block, bytes));
    }
  }
}

TEST(RegionHeap, ABlockLargerThanARegionGetsOneForItself) {
  RegionHeap heap(Small(1000));
  void* small = heap.allocate(1, 1);
  void* large = heap.allocate(40 * PageSize(), PageSize());
  EXPECT_EQ(heap.locked_bytes(), (16 + 41) * PageSize()) << "a page for its header";
  EXPECT_TRUE(AllLocked(large, 40 * PageSize()));
  heap.deallocate(large, 40 * PageSize(), PageSize());
  EXPECT_EQ(heap.locked_bytes(), 16 * PageSize());
  heap.deallocate(small, 1, 1);
}

TEST(RegionHeap, KeepsOneEmptyRegion) {
  const uint64_t before = LockedBytes();
  RegionHeap heap(Small(1000));
  const size_t most = 15 * PageSize();
  void* first = heap.allocate(most, 1);
  void* second = heap.allocate(most, 1);
  EXPECT_EQ(heap.locked_bytes(), 32 * PageSize());
  heap.deallocate(first, most, 1);
  EXPECT_EQ(heap.locked_bytes(), 32 * PageSize());
  heap.deallocate(second, most, 1);
  EXPECT_EQ(heap.locked_bytes(), 16 * PageSize());
  EXPECT_EQ(LockedBytes(), before + 16 * PageSize());
}

TEST(RegionHeap, GivesTheEmptyRegionUpWhereABlockNeedsItsShare) {
  RegionHeap heap(Small(20));
  heap.deallocate(heap.allocate(1, 1), 1, 1);
  EXPECT_EQ(heap.locked_bytes(), 16 * PageSize());
  void* block = heap.allocate(18 * PageSize(), 1);
  EXPECT_EQ(heap.locked_bytes(), 19 * PageSize());
  heap.deallocate(block, 18 * PageSize(), 1);
}

TEST(RegionHeap, TakesLessThanARegionWhereThatIsAllThereIs) {
  RegionHeap heap(Small(18));
  (void)heap.allocate(15 * PageSize(), 1);
  (void)heap.allocate(PageSize(), 1);
  EXPECT_EQ(heap.locked_bytes(), 18 * PageSize());
}

TEST(RegionHeap, BeyondItsMaximumItThrowsAndGoesOn) {
  RegionHeap heap(Small(16));
  void* block = heap.allocate(10 * PageSize(), 1);
  EXPECT_THROW((void)heap.allocate(10 * PageSize(), 1), std::bad_alloc);
  EXPECT_EQ(heap.last_error().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(heap.last_error().message().find("maximum_bytes"), absl::string_view::npos);
  heap.deallocate(block, 10 * PageSize(), 1);
  EXPECT_NO_THROW((void)heap.allocate(10 * PageSize(), 1));
}

TEST(RegionHeap, SizesThatCannotBeRoundedThrow) {
  RegionHeap heap({kNoLimit, PageSize(), LockedRegionOptions()});
  for (const size_t bytes : {kNoLimit, kNoLimit - 64, kNoLimit - 128, kNoLimit - PageSize()}) {
    EXPECT_THROW((void)heap.allocate(bytes, 1), std::bad_alloc);
    EXPECT_EQ(heap.last_error().code(), absl::StatusCode::kResourceExhausted);
  }
  EXPECT_EQ(heap.locked_bytes(), 0u);
}

TEST(RegionHeap, OverTheLockLimitItThrowsWithTheCause) {
  test_support::RunInChild(test_support::Limited(20 * PageSize()), [] {
    RegionHeap heap(Small(1000));
    (void)heap.allocate(15 * PageSize(), 1);
    EXPECT_THROW((void)heap.allocate(15 * PageSize(), 1), std::bad_alloc);
    EXPECT_NE(heap.last_error().message().find("RLIMIT_MEMLOCK"), absl::string_view::npos);
    (void)heap.allocate(3 * PageSize(), 1);
    EXPECT_EQ(LockedBytes(), 20 * PageSize());
  });
}

TEST(RegionHeap, UsesLentMemoryFirstAndDoesNotGiveItBack) {
  alignas(64) std::array<std::byte, 1024> lent;
  RegionHeap heap(Small(17));
  // Begins and ends anywhere.
  heap.Lend(absl::MakeSpan(lent).subspan(1, 1000), PageSize());
  EXPECT_EQ(heap.locked_bytes(), PageSize());
  auto* block = static_cast<std::byte*>(heap.allocate(512, 1));
  EXPECT_GE(block, lent.data());
  EXPECT_LT(block, lent.data() + lent.size());
  heap.deallocate(block, 512, 1);
  EXPECT_EQ(heap.allocate(512, 1), block);
  (void)heap.allocate(PageSize(), 1);
  EXPECT_EQ(heap.locked_bytes(), 17 * PageSize());
}

TEST(RegionHeap, TooLittleLentMemoryIsLeftAlone) {
  alignas(64) std::array<std::byte, 192> lent;
  for (size_t offset = 0; offset < 64; ++offset) {
    for (size_t bytes = 0; bytes <= lent.size() - offset; ++bytes) {
      lent.fill(std::byte{0x5a});
      RegionHeap heap(Small(0));
      heap.Lend(absl::MakeSpan(lent).subspan(offset, bytes), 0);
      const auto outside = [](std::byte byte) { return byte == std::byte{0x5a}; };
      ASSERT_TRUE(std::all_of(lent.begin(), lent.begin() + static_cast<long>(offset), outside));
      ASSERT_TRUE(
          std::all_of(lent.begin() + static_cast<long>(offset + bytes), lent.end(), outside));
    }
  }
}

// Blocks never overlap, are aligned and locked, and keep what is written to them.
TEST(RegionHeap, AnySequenceOfAllocationsIsSound) {
  struct Block {
    unsigned char* begin;
    size_t bytes, alignment;
    unsigned char mark;
  };
  std::mt19937_64 random(test_support::TestSeed());
  const uint64_t before = LockedBytes();
  {
    RegionHeap heap(Small(400));
    std::vector<Block> blocks;
    size_t refused = 0;
    const auto free_one = [&](size_t index) {
      const Block block = blocks[index];
      ASSERT_TRUE(std::all_of(block.begin, block.begin + block.bytes,
                              [&](unsigned char byte) { return byte == block.mark; }));
      heap.deallocate(block.begin, block.bytes, block.alignment);
      blocks[index] = blocks.back();
      blocks.pop_back();
    };
    for (int step = 0; step < 3000 && !::testing::Test::HasFatalFailure(); ++step) {
      if (!blocks.empty() && random() % 100 < 45) {
        free_one(random() % blocks.size());
        continue;
      }
      const size_t bytes = random() % (size_t{1} << (random() % 16 + 1)) + 1;
      const size_t alignment = size_t{1} << (random() % 14);
      try {
        auto* begin = static_cast<unsigned char*>(heap.allocate(bytes, alignment));
        ASSERT_TRUE(IsAligned(begin, alignment));
        ASSERT_TRUE(AllLocked(begin, bytes));
        const auto mark = static_cast<unsigned char>(step % 255 + 1);
        std::memset(begin, mark, bytes);
        blocks.push_back({begin, bytes, alignment, mark});
      } catch (const std::bad_alloc&) {
        ++refused;
        ASSERT_FALSE(blocks.empty());
      }
      ASSERT_LE(heap.locked_bytes(), 400 * PageSize());
      ASSERT_EQ(LockedBytes(), before + heap.locked_bytes());
    }
    std::cout << refused << " refused, " << blocks.size() << " in use" << std::endl;
    while (!blocks.empty() && !::testing::Test::HasFatalFailure()) free_one(blocks.size() - 1);
    EXPECT_LE(heap.locked_bytes(), 16 * PageSize());
  }
  EXPECT_EQ(LockedBytes(), before);
}

}  // namespace
}  // namespace pinlock::internal
