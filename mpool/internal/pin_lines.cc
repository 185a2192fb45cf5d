#include "mpool/internal/pin_lines.h"

namespace mpool::internal {

size_t PinLines::used() const {
  size_t used = 0;
  for (uint32_t block = 0; block < blocks(); ++block) used += states_[block].used;
  return used;
}

PinLine* PinLines::Claim(os::ThreadId thread, uint32_t waiting_writers) {
  PinLinesState& own = states_[own_];
  PinLine* left = nullptr;
  const auto look = [&] {
    left = nullptr;
    for (size_t i = 0; i < own.used; ++i) {
      PinLine& line = Own(i);
      const os::ThreadId owner = line.owner.load(std::memory_order_relaxed);
      // A dead thread may have had the same number: then this is its line, and free to be had.
      if (owner == thread) return &line;
      if (owner == 0 && left == nullptr) left = &line;
    }
    return static_cast<PinLine*>(nullptr);
  };
  if (PinLine* const line = look()) return line;
  // Whoever takes frames looks through all lines, so those of dead threads are used first. To find
  // them costs a system call for each line; each of so many claims pays for one.
  if (left == nullptr && own.used >= first_.size()) {
    if (own.claims_until_sweep > 0) {
      --own.claims_until_sweep;
    } else {
      Sweep();
      (void)look();
    }
  }
  if (left == nullptr && own.used < first_.size() + more_.size()) left = &Own(own.used++);
  if (left == nullptr) return left;
  left->waiting_writers.store(waiting_writers, std::memory_order_relaxed);
  left->owner.store(thread, std::memory_order_relaxed);
  return left;
}

// Takes their lines from threads that are no more. What is pinned in them stays pinned.
void PinLines::Sweep() {
  PinLinesState& own = states_[own_];
  for (size_t i = 0; i < own.used; ++i) {
    PinLine& line = Own(i);
    const os::ThreadId owner = line.owner.load(std::memory_order_relaxed);
    if (owner == 0 || os::IsAlive(owner)) continue;
    line.owner.store(0, std::memory_order_relaxed);
    line.last_put.store(0, std::memory_order_relaxed);
  }
  const auto is_empty = [](PinLine& line) {
    bool empty = line.owner.load(std::memory_order_relaxed) == 0;
    for (PinSlot& slot : line.slots) empty &= slot.load(std::memory_order_acquire) == 0;
    return empty;
  };
  while (own.used > 0 && is_empty(Own(own.used - 1))) {
    own.earlier_hits += Own(--own.used).hits.exchange(0, std::memory_order_relaxed);
  }
  own.claims_until_sweep = own.used;
}

uint32_t PinLines::CountPins(FrameIndex frame) const {
  uint32_t pins = 0;
  for (uint32_t block = 0; block < blocks(); ++block) pins += CountPinsIn(block, frame);
  return pins;
}

uint32_t PinLines::CountPinsIn(uint32_t block, FrameIndex frame) const {
  uint32_t pins = 0;
  ForEachPinIn(block, [&](FrameIndex pinned) {
    if (pinned == frame) ++pins;
  });
  return pins;
}

void PinLines::ForgetLastPut(FrameIndex frame) {
  for (uint32_t block = 0; block < blocks(); ++block) {
    for (size_t i = 0; i < states_[block].used; ++i) {
      std::atomic<uint32_t>& last_put = Line(block, i).last_put;
      uint32_t expected = SlotWord(frame);
      if (last_put.load(std::memory_order_relaxed) != expected) continue;
      last_put.compare_exchange_strong(expected, 0, std::memory_order_relaxed);
    }
  }
}

void PinLines::SetWaitingWriters(uint32_t count) {
  for (uint32_t block = 0; block < blocks(); ++block) {
    for (size_t i = 0; i < states_[block].used; ++i) {
      Line(block, i).waiting_writers.store(count, std::memory_order_seq_cst);
    }
  }
}

// May be ended half way, by the end of this process too, and begun again.
void PinLines::EndPinsIn(uint32_t block) {
  PinLinesState& state = states_[block];
  for (size_t i = 0; i < state.used; ++i) {
    PinLine& line = Line(block, i);
    for (PinSlot& slot : line.slots) slot.store(0, kSlotStore);
    line.last_put.store(0, std::memory_order_relaxed);
    line.owner.store(0, std::memory_order_relaxed);
    state.earlier_hits += line.hits.exchange(0, std::memory_order_relaxed);
  }
  state.used = state.claims_until_sweep = 0;
}

PinLines::Totals PinLines::Sum() const {
  Totals totals;
  for (uint32_t block = 0; block < blocks(); ++block) {
    totals.hits += states_[block].earlier_hits;
    for (size_t i = 0; i < states_[block].used; ++i) {
      totals.hits += Line(block, i).hits.load(std::memory_order_relaxed);
    }
  }
  ForEachPin([&](FrameIndex) { ++totals.pins; });
  return totals;
}

}  // namespace mpool::internal
