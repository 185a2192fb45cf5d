#include "mpool/internal/pin_lines.h"

namespace mpool::internal {
namespace {

// Where all lines are taken, each call of a thread without one asks for one. To ask the kernel for
// every thread costs as much as reading some pages, so it is done once in so many.
constexpr uint32_t kClaimsBetweenSweeps = 1024;

}  // namespace

PinLine* PinLines::Claim(os::ThreadId thread) {
  for (size_t i = 0; i < used_; ++i) {
    PinLine& line = (*this)[i];
    // A dead thread may have had the same number: then this is its line, and free to be had.
    if (line.owner.load(std::memory_order_relaxed) == thread) return &line;
  }
  if (used_ < first_.size() + more_.size()) {
    PinLine& line = (*this)[used_++];
    line.owner.store(thread, std::memory_order_relaxed);
    return &line;
  }
  if (claims_until_sweep_ > 0) {
    --claims_until_sweep_;
    return nullptr;
  }
  for (size_t i = 0; i < used_; ++i) {
    PinLine& line = (*this)[i];
    if (os::IsAlive(line.owner.load(std::memory_order_relaxed))) continue;
    line.owner.store(thread, std::memory_order_relaxed);
    line.last_put.store(0, std::memory_order_relaxed);
    return &line;
  }
  claims_until_sweep_ = kClaimsBetweenSweeps;
  return nullptr;
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
  Totals totals;
  for (size_t i = 0; i < used_; ++i) totals.hits += (*this)[i].hits.load(std::memory_order_relaxed);
  ForEachPin([&](FrameIndex) { ++totals.pins; });
  return totals;
}

}  // namespace mpool::internal
