// LeafCounts: the states of the 512 pages of a leaf, and the latch that lets a nested pin change
// them without the latch of the process.
//
// A *nested* change is one that no kernel call belongs to: every count of the range is above 0
// before and after it. Any thread may make it, holding the leaf's latch for some nanoseconds.
// Everything else is done by whoever holds the latch of the process. How the two keep out of each
// other's way is told in lock_table.h.
//
// Lives in memory that starts as zeros and is reused for other leaves; its latch is free whenever
// nobody is inside. Plain data, never copied.

#ifndef PINLOCK_INTERNAL_LEAF_COUNTS_H_
#define PINLOCK_INTERNAL_LEAF_COUNTS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace pinlock::internal {

// The state of a page: its count, and the residual mark on top.
using PageState = uint16_t;
inline constexpr PageState kResidualMark = 0x8000;
inline constexpr PageState kCountMax = 0x7fff;

// Adds one to each of `count` states, or nothing at all: false where one of them is not nested
// (its count is 0 or at its maximum, or it has a mark).
bool IncrementNested(PageState* states, size_t count);
// Takes one from each; false and no change where a count is below 2, or has a mark.
bool DecrementNested(PageState* states, size_t count);

using NestedChange = bool (*)(PageState* states, size_t count);

// The lowest and the highest count of some states; of none, the extremes the other way round.
struct CountBounds {
  uint16_t least = kCountMax;
  uint16_t most = 0;
};
CountBounds BoundsOf(const PageState* states, size_t count);

struct alignas(64) LeafCounts {
  static constexpr size_t kPages = 512;

  // The first word is the free list's while nobody uses the block.
  uint64_t nested_pins;
  uint64_t nested_unpins;
  std::atomic<uint32_t> latch;
  uint32_t held;  // states other than 0; nested changes do not change it
  // In a cache line of their own: who waits for the latch does not slow down who has it.
  alignas(64) PageState states[kPages];

  // Takes the latch for a nested change. False where it was not free for some hundred
  // nanoseconds: its holder may not be running.
  bool TryLatch();
  void Unlatch() { latch.store(0, std::memory_order_release); }
  // Returns when nobody is inside. For a thread that keeps others from going in.
  void AwaitFree() const;
};

static_assert(sizeof(LeafCounts) == 64 + 2 * LeafCounts::kPages);

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_LEAF_COUNTS_H_
