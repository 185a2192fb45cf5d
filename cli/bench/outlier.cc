#include "cli/bench/outlier.h"

#include <algorithm>
#include <numeric>

namespace cli::bench {
namespace {

bool IsSlower(const SlowTouch& a, const SlowTouch& b) { return a.ns > b.ns; }

}  // namespace

std::string_view CauseName(Cause cause) {
  constexpr std::string_view kNames[] = {"major_fault", "minor_fault", "run_queue", "other"};
  return kNames[static_cast<size_t>(cause)];
}

std::string_view CauseText(Cause cause) {
  constexpr std::string_view kTexts[] = {"major fault", "minor fault", "run queue", "other"};
  return kTexts[static_cast<size_t>(cause)];
}

Cause CauseOf(const SlowTouch& touch) {
  if (touch.run_queue_ns > 0 && touch.run_queue_ns >= touch.ns - touch.ns / 2) {
    return Cause::kRunQueue;
  }
  if (touch.major > 0) return Cause::kMajorFault;
  if (touch.minor > 0) return Cause::kMinorFault;
  return Cause::kOther;
}

OutlierLog::OutlierLog(size_t kept_max) : kept_max_(kept_max) { worst_.reserve(kept_max); }

void OutlierLog::Add(const SlowTouch& touch) {
  ++counts_[static_cast<size_t>(CauseOf(touch))];
  if (worst_.size() < kept_max_) {
    worst_.push_back(touch);
    std::ranges::push_heap(worst_, IsSlower);
  } else if (kept_max_ > 0 && IsSlower(touch, worst_.front())) {
    std::ranges::pop_heap(worst_, IsSlower);
    worst_.back() = touch;
    std::ranges::push_heap(worst_, IsSlower);
  }
}

uint64_t OutlierLog::count() const {
  return std::accumulate(counts_.begin(), counts_.end(), uint64_t{0});
}

std::vector<SlowTouch> OutlierLog::Worst() const {
  std::vector<SlowTouch> sorted = worst_;
  std::ranges::sort(sorted, IsSlower);
  return sorted;
}

}  // namespace cli::bench
