#include "pinlock/locked_memory_resource.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory_resource>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "os/memory.h"
#include "pinlock/mpin.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/test_mapping.h"

namespace pinlock {
namespace {

using test_support::LockedBytes;
using test_support::PageSize;
using Fork = LockedRegionOptions::Fork;

static_assert(!std::is_copy_constructible_v<LockedMemoryResource>);

os::PageRange PagesOf(const void* block, size_t bytes) {
  return *os::PageRange::Covering(reinterpret_cast<uintptr_t>(block), bytes, PageSize());
}

bool AllLocked(const void* block, size_t bytes) {
  const os::Result<bool> all = os::RealMemory().AllLocked(PagesOf(block, bytes));
  return all.ok() && *all;
}

uint64_t PinnedPages() {
  mpin_stat stat;
  EXPECT_EQ(mpin_get_stat(&stat, sizeof(stat)), 0);
  return stat.pages_locked;
}

// Ends with everything unlocked, which each test is asked for.
class LockedMemoryResourceTest : public ::testing::Test {
 protected:
  void TearDown() override {
    EXPECT_EQ(LockedBytes(), locked_before_);
    EXPECT_EQ(PinnedPages(), pinned_before_);
  }

 private:
  const uint64_t locked_before_ = LockedBytes();
  const uint64_t pinned_before_ = PinnedPages();
};

TEST_F(LockedMemoryResourceTest, LocksItsInitialBytesAndAllocatesThemWithoutTheKernel) {
  const uint64_t before = LockedBytes();
  LockedMemoryResource resource({.initial_bytes = 64 * PageSize()});
  EXPECT_EQ(resource.locked_bytes(), 64 * PageSize());
  EXPECT_EQ(LockedBytes(), before + 64 * PageSize());
  mpin_stat at_first, now;
  ASSERT_EQ(mpin_get_stat(&at_first, sizeof(at_first)), 0);
  std::pmr::vector<std::pmr::string> strings(&resource);
  for (int i = 0; i < 1000; ++i) strings.emplace_back(static_cast<size_t>(i % 100), 'x');
  ASSERT_EQ(mpin_get_stat(&now, sizeof(now)), 0);
  EXPECT_EQ(now.kernel_locks, at_first.kernel_locks);
  EXPECT_EQ(resource.locked_bytes(), 64 * PageSize());
}

TEST_F(LockedMemoryResourceTest, EveryElementOfAVectorIsLocked) {
  LockedMemoryResource resource;
  std::pmr::vector<uint64_t> numbers(&resource);
  for (uint64_t i = 0; i < 100000; ++i) numbers.push_back(i * i);
  EXPECT_TRUE(AllLocked(numbers.data(), numbers.size() * sizeof(uint64_t)));
  EXPECT_TRUE(test_support::AllResident(PagesOf(numbers.data(), numbers.size() * 8)));
  for (uint64_t i = 0; i < numbers.size(); ++i) ASSERT_EQ(numbers[i], i * i);
}

TEST_F(LockedMemoryResourceTest, EveryNodeOfAMapIsLocked) {
  LockedMemoryResource resource;
  std::pmr::map<int, std::pmr::string> names(&resource);
  for (int i = 0; i < 2000; ++i) {
    names.emplace(i, "the number " + std::to_string(i) + " in more than a few characters");
  }
  for (int i = 0; i < 2000; i += 2) names.erase(i);
  ASSERT_EQ(names.size(), 1000u);
  for (const auto& [number, name] : names) {
    ASSERT_EQ(std::string(name),
              "the number " + std::to_string(number) + " in more than a few characters");
    ASSERT_TRUE(AllLocked(&number, sizeof(number)));
    ASSERT_TRUE(AllLocked(name.data(), name.size()));
  }
}

TEST_F(LockedMemoryResourceTest, ALongStringIsLocked) {
  LockedMemoryResource resource;
  std::pmr::string text(&resource);
  for (int i = 0; i < 50000; ++i) text += static_cast<char>('a' + i % 26);
  EXPECT_EQ(text.size(), 50000u);
  EXPECT_EQ(text[25], 'z');
  EXPECT_TRUE(AllLocked(text.data(), text.size() + 1));
}

TEST_F(LockedMemoryResourceTest, BeyondItsMaximumItThrowsAndTheContainerIsAsItWas) {
  LockedMemoryResource resource({.maximum_bytes = 64 * PageSize(), .growth_bytes = PageSize()});
  std::pmr::vector<uint32_t> numbers(&resource);
  uint32_t next = 0;
  EXPECT_THROW(
      for (;;) {
        numbers.push_back(next);
        ++next;
      },
      std::bad_alloc);
  EXPECT_GT(next, 0u);
  ASSERT_EQ(numbers.size(), next);
  for (uint32_t i = 0; i < next; ++i) ASSERT_EQ(numbers[i], i);
  EXPECT_LE(resource.locked_bytes(), 64 * PageSize());
  EXPECT_EQ(resource.last_error().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(resource.last_error().message().find("maximum_bytes"), absl::string_view::npos);
  numbers.clear();
  numbers.shrink_to_fit();
  EXPECT_NO_THROW(numbers.resize(1000));
}

TEST_F(LockedMemoryResourceTest, SmallBlocksRunIntoTheMaximumToo) {
  LockedMemoryResource resource({.maximum_bytes = 32 * PageSize(), .growth_bytes = PageSize()});
  std::pmr::map<int, int> numbers(&resource);
  int next = 0;
  EXPECT_THROW(for (;; ++next) numbers.emplace(next, -next), std::bad_alloc);
  ASSERT_EQ(numbers.size(), static_cast<size_t>(next));
  EXPECT_GT(next, 100);
  for (const auto& [key, value] : numbers) ASSERT_EQ(value, -key);
}

TEST_F(LockedMemoryResourceTest, OverTheLockLimitItThrowsWithTheWordsOfMpinError) {
  test_support::RunInChild(test_support::Limited(16 * PageSize()), [] {
    LockedMemoryResource resource;
    EXPECT_TRUE(resource.last_error().ok());
    EXPECT_THROW((void)resource.allocate(16 * PageSize()), std::bad_alloc);
    EXPECT_EQ(resource.last_error().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_NE(resource.last_error().message().find("RLIMIT_MEMLOCK"), absl::string_view::npos);
    void* block = resource.allocate(14 * PageSize());
    EXPECT_TRUE(AllLocked(block, 14 * PageSize()));
    resource.deallocate(block, 14 * PageSize());
  });
}

TEST_F(LockedMemoryResourceTest, WithoutItsInitialBytesItSaysSoAndThrows) {
  test_support::RunInChild(test_support::Limited(4 * PageSize()), [] {
    LockedMemoryResource resource({.initial_bytes = 5 * PageSize()});
    EXPECT_NE(resource.last_error().message().find("RLIMIT_MEMLOCK"), absl::string_view::npos);
    EXPECT_EQ(resource.locked_bytes(), 0u);
    EXPECT_THROW((void)resource.allocate(1), std::bad_alloc);
    EXPECT_EQ(LockedBytes(), 0u);
  });
  const LockedMemoryResource small({.initial_bytes = 2, .maximum_bytes = 1});
  EXPECT_EQ(small.last_error().code(), absl::StatusCode::kResourceExhausted);
  const LockedMemoryResource wrong({.region = {.alignment = 3}});
  EXPECT_EQ(wrong.last_error().code(), absl::StatusCode::kInvalidArgument);
  const LockedMemoryResource huge({.initial_bytes = ~size_t{0}});
  EXPECT_EQ(huge.last_error().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(LockedMemoryResourceTest, SizesBeyondTheAddressSpaceThrow) {
  LockedMemoryResource resource;
  for (size_t missing = 0; missing < 300; ++missing) {
    EXPECT_THROW((void)resource.allocate(~size_t{0} - missing, 1), std::bad_alloc) << missing;
  }
}

TEST_F(LockedMemoryResourceTest, AlignsEverySizeUpTo4096AndBeyond) {
  LockedMemoryResource resource;
  struct Block {
    void* address;
    size_t bytes, alignment;
  };
  constexpr size_t kSizes[] = {0,  1,   7,   8,   9,    17,   24,   40,
                               48, 100, 200, 500, 1000, 1024, 1025, 5000};
  std::vector<Block> blocks;
  for (size_t alignment = 1; alignment <= 16 * PageSize(); alignment *= 2) {
    for (const size_t bytes : kSizes) {
      void* address = resource.allocate(bytes, alignment);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(address) % alignment, 0u) << bytes << " " << alignment;
      EXPECT_TRUE(AllLocked(address, std::max<size_t>(bytes, 1)));
      std::memset(address, 1, bytes);
      blocks.push_back({address, bytes, alignment});
    }
  }
  std::vector<std::pair<uintptr_t, uintptr_t>> places;
  for (const Block& block : blocks) {
    const auto begin = reinterpret_cast<uintptr_t>(block.address);
    places.emplace_back(begin, begin + std::max<size_t>(block.bytes, 1));
  }
  std::sort(places.begin(), places.end());
  for (size_t i = 1; i < places.size(); ++i) EXPECT_LE(places[i - 1].second, places[i].first);
  for (const Block& b : blocks) resource.deallocate(b.address, b.bytes, b.alignment);
}

TEST_F(LockedMemoryResourceTest, ABlockLargerThanARegionComesAndGoes) {
  LockedMemoryResource resource({.growth_bytes = 4 * PageSize()});
  const size_t before = resource.locked_bytes();
  const size_t bytes = 100 * PageSize();
  void* block = resource.allocate(bytes);
  const os::PageRange pages = PagesOf(block, bytes);
  EXPECT_TRUE(AllLocked(block, bytes));
  resource.deallocate(block, bytes);
  EXPECT_EQ(resource.locked_bytes(), before);
  EXPECT_FALSE(os::RealMemory().CheckMapped(pages).ok());
}

TEST_F(LockedMemoryResourceTest, ZeroesFreedBlocksUnlessToldNotTo) {
  for (const bool zero : {true, false}) {
    LockedMemoryResource resource({.initial_bytes = 16 * PageSize(), .zero_freed = zero});
    for (const size_t bytes : {size_t{200}, 3 * PageSize()}) {  // of a pool, and of the heap
      auto* block = static_cast<unsigned char*>(resource.allocate(bytes, 1));
      void* fence = resource.allocate(bytes, 1);
      std::memset(block, 0x5a, bytes);
      resource.deallocate(block, bytes, 1);
      // Reading a freed block is what an intruder would do. The heap's note is at its beginning.
      for (size_t i = 16; i < bytes; ++i) ASSERT_EQ(block[i], zero ? 0 : 0x5a) << i;
      resource.deallocate(fence, bytes, 1);
    }
  }
}

TEST_F(LockedMemoryResourceTest, EndsWithBlocksThatWereNotFreed) {
  os::PageRange pages;
  {
    LockedMemoryResource resource;
    (void)resource.allocate(100);
    const size_t bytes = 300 * PageSize();
    pages = PagesOf(resource.allocate(bytes), bytes);
  }
  EXPECT_FALSE(os::RealMemory().CheckMapped(pages).ok());
}

TEST_F(LockedMemoryResourceTest, IsEqualToItselfOnly) {
  LockedMemoryResource one, other;
  EXPECT_TRUE(one == one);
  EXPECT_FALSE(one == other);
}

TEST_F(LockedMemoryResourceTest, ServesThreads) {
  LockedMemoryResource resource;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&resource, thread] {
      std::pmr::map<int, std::pmr::vector<int>> mine(&resource);
      for (int i = 0; i < 300; ++i) {
        mine[i % 20].assign(static_cast<size_t>(i % 700), thread);
        if (i % 7 == 0) mine.erase(i % 20);
      }
      for (const auto& [key, values] : mine) {
        EXPECT_TRUE(std::all_of(values.begin(), values.end(), [&](int v) { return v == thread; }));
        EXPECT_TRUE(AllLocked(values.data(), values.size() * sizeof(int)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(LockedMemoryResourceTest, OmittedFromAChildDoesNothingThere) {
  std::optional<LockedMemoryResource> resource(std::in_place);
  std::pmr::vector<int> numbers({1, 2, 3}, &*resource);
  test_support::RunInChild([&] {
    EXPECT_THROW((void)resource->allocate(1), std::bad_alloc);
    EXPECT_EQ(resource->last_error().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(resource->locked_bytes(), 0u);
    std::pmr::vector<int>(std::move(numbers)).clear();
    resource.reset();
    LockedMemoryResource own;
    EXPECT_TRUE(AllLocked(own.allocate(10), 10));
  });
  EXPECT_EQ(numbers.size(), 3u);
  EXPECT_EQ(numbers[2], 3);
}

TEST_F(LockedMemoryResourceTest, CopiedToAChildGoesOnThere) {
  std::optional<LockedMemoryResource> resource(
      std::in_place, LockedMemoryResourceOptions{.region = {.fork = Fork::kCopy}});
  std::pmr::vector<int> numbers({1, 2, 3}, &*resource);
  (void)resource->allocate(100 * PageSize());
  test_support::RunInChild([&] {
    EXPECT_EQ(numbers[2], 3);
    numbers.resize(1 << 20, 4);
    EXPECT_EQ(numbers[2], 3);
    EXPECT_TRUE(AllLocked(&numbers[1000], 100000)) << "the child's own region";
    numbers.clear();
    numbers.shrink_to_fit();
    resource.reset();
    EXPECT_EQ(LockedBytes(), 0u);
    EXPECT_EQ(PinnedPages(), 0u);
  });
  EXPECT_EQ(numbers.size(), 3u);
}

}  // namespace
}  // namespace pinlock
