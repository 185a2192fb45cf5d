#include "cli/touch.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <vector>

#include "os/fault_count.h"

namespace cli {
namespace {

using Clock = std::chrono::steady_clock;

// Touches the pages and writes how long each took, in nanoseconds.
void TimeTouches(std::span<const std::byte* const> pages, std::span<uint32_t> nanoseconds) {
  for (size_t i = 0; i < pages.size(); ++i) {
    const Clock::time_point begin = Clock::now();
    const volatile std::byte* byte = pages[i];
    (void)*byte;
    const auto taken = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin);
    nanoseconds[i] = static_cast<uint32_t>(
        std::min<int64_t>(taken.count(), std::numeric_limits<uint32_t>::max()));
  }
}

double Percentile(std::vector<uint32_t>& values, double fraction) {
  const auto place = static_cast<ptrdiff_t>(fraction * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + place, values.end());
  return values[static_cast<size_t>(place)];
}

}  // namespace

TouchResult TouchPages(std::span<const std::byte* const> pages) {
  if (pages.empty()) return {};
  // A rehearsal, so that code, stack, clock and results are there: only the pages' own faults
  // count.
  std::vector<uint32_t> nanoseconds(pages.size());
  const std::byte rehearsal{};
  const std::byte* const one[] = {&rehearsal};
  TimeTouches(one, nanoseconds);
  const os::FaultCount before = os::FaultCount::OfThisThread();
  TimeTouches(pages, nanoseconds);
  const os::FaultCount faults = os::FaultCount::OfThisThread() - before;
  return {faults.total(), Percentile(nanoseconds, 0.5), Percentile(nanoseconds, 0.999)};
}

}  // namespace cli
