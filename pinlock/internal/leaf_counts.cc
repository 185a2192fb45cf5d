#include "pinlock/internal/leaf_counts.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "os/pause.h"

namespace pinlock::internal {
namespace {

// Eight states. As signed numbers: marked states are below 0, counts are themselves.
using Lanes = int16_t __attribute__((vector_size(16)));
constexpr size_t kLanes = sizeof(Lanes) / sizeof(PageState);

Lanes Load(const PageState* states) {
  Lanes lanes;
  std::memcpy(&lanes, states, sizeof(lanes));
  return lanes;
}

void Store(Lanes lanes, PageState* states) { std::memcpy(states, &lanes, sizeof(lanes)); }

bool AnySet(Lanes lanes) {
  uint64_t halves[2];
  std::memcpy(halves, &lanes, sizeof(halves));
  return (halves[0] | halves[1]) != 0;
}

// Whether each state, as a signed number, is at least `least` and at most `most`.
bool AllBetween(const PageState* states, size_t count, int16_t least, int16_t most) {
  const Lanes low = Lanes{} + least, high = Lanes{} + most;
  Lanes outside = {};
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Lanes lanes = Load(states + i);
    outside |= (lanes < low) | (lanes > high);
  }
  bool inside = !AnySet(outside);
  for (; i < count; ++i) {
    const auto state = static_cast<int16_t>(states[i]);
    inside = inside && state >= least && state <= most;
  }
  return inside;
}

void AddToAll(PageState* states, size_t count, int16_t difference) {
  const Lanes all = Lanes{} + difference;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(Load(states + i) + all, states + i);
  for (; i < count; ++i) states[i] = static_cast<PageState>(states[i] + difference);
}

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

bool IncrementNested(PageState* states, size_t count) {
  if (!AllBetween(states, count, 1, kCountMax - 1)) return false;
  AddToAll(states, count, 1);
  return true;
}

bool DecrementNested(PageState* states, size_t count) {
  if (!AllBetween(states, count, 2, kCountMax)) return false;
  AddToAll(states, count, -1);
  return true;
}

CountBounds BoundsOf(const PageState* states, size_t count) {
  const Lanes mask = Lanes{} + static_cast<int16_t>(kCountMax);
  Lanes least = mask, most = {};
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Lanes counts = Load(states + i) & mask;
    least = counts < least ? counts : least;
    most = counts > most ? counts : most;
  }
  CountBounds bounds;
  const auto note = [&](PageState state) {
    const uint16_t value = state & kCountMax;
    bounds = {std::min(bounds.least, value), std::max(bounds.most, value)};
  };
  for (size_t lane = 0; i > 0 && lane < kLanes; ++lane) {
    note(static_cast<PageState>(least[lane]));
    note(static_cast<PageState>(most[lane]));
  }
  for (; i < count; ++i) note(states[i]);
  return bounds;
}

bool LeafCounts::TryLatch() {
  constexpr int kSpins = 200;
  for (int spins = 0; latch.exchange(1, std::memory_order_seq_cst) != 0;) {
    do {
      if (++spins > kSpins) return false;
      Pause();
    } while (latch.load(std::memory_order_relaxed) != 0);
  }
  return true;
}

void LeafCounts::AwaitFree() const {
  constexpr int kSpins = 100, kYields = 20;
  for (int spins = 0; latch.load(std::memory_order_seq_cst) != 0; ++spins) {
    if (spins < kSpins) {
      Pause();
    } else if (spins < kSpins + kYields) {
      std::this_thread::yield();  // its holder is not running
    } else {
      os::Pause();  // and a thread of lower priority would not be let run by yielding
    }
  }
}

}  // namespace pinlock::internal
