#include "mpool/internal/pin_lines.h"

namespace mpool::internal {

PinLine* PinLines::Claim(os::ThreadId thread) {
  PinLine* left = nullptr;
  const auto look = [&] {
    left = nullptr;
    for (size_t i = 0; i < used_; ++i) {
      PinLine& line = (*this)[i];
      const os::ThreadId owner = line.owner.load(std::memory_order_relaxed);
      // A dead thread may have had the same number: then this is its line, and free to be had.
      if (owner == thread) return &line;
      if (owner == 0 && left == nullptr) left = &line;
    }
    return static_cast<PinLine*>(nullptr);
  };
  if (PinLine* const own = look()) return own;
  // Whoever takes frames looks through all lines, so those of dead threads are used first. To find
  // them costs a system call for each line; each of so many claims pays for one.
  if (left == nullptr && used_ >= first_.size()) {
    if (claims_until_sweep_ > 0) {
      --claims_until_sweep_;
    } else {
      Sweep();
      (void)look();
    }
  }
  if (left == nullptr && used_ < first_.size() + more_.size()) left = &(*this)[used_++];
  if (left != nullptr) left->owner.store(thread, std::memory_order_relaxed);
  return left;
}

// Takes their lines from threads that are no more. What is pinned in them stays pinned.
void PinLines::Sweep() {
  for (size_t i = 0; i < used_; ++i) {
    PinLine& line = (*this)[i];
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
  while (used_ > 0 && is_empty((*this)[used_ - 1])) {
    earlier_hits_ += (*this)[--used_].hits.exchange(0, std::memory_order_relaxed);
  }
  claims_until_sweep_ = used_;
}

uint32_t PinLines::CountPins(FrameIndex frame) const {
  uint32_t pins = 0;
  ForEachPin([&](FrameIndex pinned) {
    if (pinned == frame) ++pins;
  });
  return pins;
}

void PinLines::ForgetLastPut(FrameIndex frame) {
  for (size_t i = 0; i < used_; ++i) {
    std::atomic<uint32_t>& last_put = (*this)[i].last_put;
    uint32_t expected = SlotWord(frame);
    if (last_put.load(std::memory_order_relaxed) != expected) continue;
    last_put.compare_exchange_strong(expected, 0, std::memory_order_relaxed);
  }
}

PinLines::Totals PinLines::Sum() const {
  Totals totals{.hits = earlier_hits_, .pins = 0};
  for (size_t i = 0; i < used_; ++i) totals.hits += (*this)[i].hits.load(std::memory_order_relaxed);
  ForEachPin([&](FrameIndex) { ++totals.pins; });
  return totals;
}

}  // namespace mpool::internal
