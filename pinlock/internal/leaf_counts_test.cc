#include "pinlock/internal/leaf_counts.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "gtest/gtest.h"

namespace pinlock::internal {
namespace {

constexpr size_t kStates = 40;
using States = std::array<PageState, kStates>;

States Filled(PageState state) {
  States states;
  states.fill(state);
  return states;
}

// Every length and every place of the one state that forbids the change, so that no lane and no
// rest of a few states is forgotten.
void ExpectRefusedByOneOf(bool (*change)(PageState*, size_t), PageState good, PageState bad) {
  for (size_t count = 1; count < kStates - 1; ++count) {
    for (size_t place = 0; place < count; ++place) {
      States states = Filled(good);
      states[1 + place] = bad;
      const States before = states;
      EXPECT_FALSE(change(states.data() + 1, count)) << count << " at " << place;
      EXPECT_EQ(states, before) << count << " at " << place;
    }
  }
}

void ExpectDone(bool (*change)(PageState*, size_t), PageState from, PageState to) {
  for (size_t count = 1; count < kStates - 1; ++count) {
    States states = Filled(from), expected = states;
    std::fill_n(expected.begin() + 1, count, to);
    EXPECT_TRUE(change(states.data() + 1, count)) << count;
    EXPECT_EQ(states, expected) << count;
  }
}

TEST(LeafCounts, AddsToCountsAbove0AndBelowTheMaximum) {
  ExpectDone(IncrementNested, 1, 2);
  ExpectDone(IncrementNested, kCountMax - 1, kCountMax);
  ExpectRefusedByOneOf(IncrementNested, 5, 0);
  ExpectRefusedByOneOf(IncrementNested, 5, kCountMax);
  ExpectRefusedByOneOf(IncrementNested, 5, kResidualMark);
  ExpectRefusedByOneOf(IncrementNested, 5, kResidualMark | 3);
}

TEST(LeafCounts, TakesFromCountsAbove1) {
  ExpectDone(DecrementNested, 2, 1);
  ExpectDone(DecrementNested, kCountMax, kCountMax - 1);
  ExpectRefusedByOneOf(DecrementNested, 5, 1);
  ExpectRefusedByOneOf(DecrementNested, 5, 0);
  ExpectRefusedByOneOf(DecrementNested, 5, kResidualMark);
  ExpectRefusedByOneOf(DecrementNested, 5, kResidualMark | 3);
}

TEST(LeafCounts, BoundsAreThoseOfEveryPlace) {
  EXPECT_EQ(BoundsOf(nullptr, 0).least, kCountMax);
  EXPECT_EQ(BoundsOf(nullptr, 0).most, 0);
  for (size_t count = 1; count < kStates - 1; ++count) {
    for (size_t place = 0; place < count; ++place) {
      for (const PageState odd : {PageState{0}, PageState{3}, kCountMax, kResidualMark}) {
        States states = Filled(0);
        std::fill_n(states.begin() + 1, count, PageState{100});
        states[1 + place] = odd;
        const uint16_t value = odd & kCountMax;
        const CountBounds bounds = BoundsOf(states.data() + 1, count);
        EXPECT_EQ(bounds.least, count == 1 ? value : std::min<uint16_t>(100, value));
        EXPECT_EQ(bounds.most, count == 1 ? value : std::max<uint16_t>(100, value));
      }
    }
  }
}

TEST(LeafCounts, TheLatchExcludes) {
  constexpr int kRounds = 20000;
  const auto leaf = std::make_unique<LeafCounts>();
  leaf->states[7] = 1;
  const auto work = [&] {
    for (int i = 0; i < kRounds;) {
      if (!leaf->TryLatch()) continue;
      ASSERT_TRUE(IncrementNested(leaf->states + 7, 1));
      ASSERT_TRUE(DecrementNested(leaf->states + 7, 1));
      ++leaf->nested_pins;
      leaf->Unlatch();
      ++i;
    }
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(leaf->states[7], 1);
  EXPECT_EQ(leaf->nested_pins, 2u * kRounds);
}

TEST(LeafCounts, ALatchThatStaysHeldIsNotWaitedForForEver) {
  const auto leaf = std::make_unique<LeafCounts>();
  ASSERT_TRUE(leaf->TryLatch());
  EXPECT_FALSE(leaf->TryLatch());
  std::atomic<bool> free{false};
  std::thread other([&] {
    free = true;
    leaf->Unlatch();
  });
  leaf->AwaitFree();
  EXPECT_TRUE(free);
  other.join();
}

}  // namespace
}  // namespace pinlock::internal
