// Measure: all modes in turn, in slices of some milliseconds, so that what happens on the machine
// happens to all of them alike.

#ifndef CLI_BENCH_MEASURE_H_
#define CLI_BENCH_MEASURE_H_

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/bench/area.h"
#include "cli/bench/result.h"

namespace cli::bench {

struct MeasureOptions {
  std::chrono::nanoseconds length;  // of all together
  std::chrono::nanoseconds slice;   // of one mode before the next has its turn
  uint64_t outlier_ns = 100'000;
  bool page_out = false;  // a slice begins with MADV_PAGEOUT of its area
  // Asked between slices, with what was found so far: false ends it early.
  std::function<bool(std::chrono::nanoseconds passed, std::span<const ModeResult> modes)> go_on;
};

struct Measurement {
  std::vector<ModeResult> modes;  // in the order of the areas
  std::chrono::nanoseconds length{};
  bool ended_early = false;
};

// Warms up, calls `begin`, measures. The error of an area.
absl::StatusOr<Measurement> Measure(std::span<const std::unique_ptr<Area>> areas,
                                    const MeasureOptions& options,
                                    const std::function<void()>& begin);

// The least that reading the clock adds to a touch.
uint64_t ClockNs();

}  // namespace cli::bench

#endif  // CLI_BENCH_MEASURE_H_
