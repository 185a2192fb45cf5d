#include "cli/bench/measure.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/status/status.h"

namespace cli::bench {
namespace {

// Reports show so many parts of an area.
constexpr size_t kResidencyParts = 128;

std::vector<ModeResult> EmptyResults(std::span<const std::unique_ptr<Area>> areas, size_t slices) {
  std::vector<ModeResult> results(areas.size());
  for (size_t i = 0; i < areas.size(); ++i) {
    results[i].mode = areas[i]->mode();
    results[i].locked_bytes = areas[i]->locked_bytes();
    results[i].memory_bytes = areas[i]->memory_bytes();
    // Written to as well: to get the memory in the middle of a slice would be a fault.
    results[i].slices.resize(slices);
    results[i].slices.clear();
  }
  return results;
}

void Account(const Slice& slice, const Histogram& latency, ModeResult& result) {
  result.latency.Add(latency);
  result.faults.major += slice.faults.major;
  result.faults.minor += slice.faults.minor;
  result.cpu_ns += slice.cpu_ns;
  if (result.slices.size() < result.slices.capacity()) result.slices.push_back(slice);
}

// How the areas look before anything is unmapped.
void LookAtTheEnd(std::span<const std::unique_ptr<Area>> areas, std::vector<ModeResult>& results) {
  for (size_t i = 0; i < areas.size(); ++i) {
    results[i].present_pages = areas[i]->PresentPages().value_or(0);
    results[i].residency = areas[i]->Residency(kResidencyParts);
    results[i].pool_misses = areas[i]->misses();
  }
}

}  // namespace

absl::StatusOr<Measurement> Measure(std::span<const std::unique_ptr<Area>> areas,
                                    const MeasureOptions& options,
                                    const std::function<void()>& begin) {
  const auto turns = static_cast<size_t>(options.length / options.slice) / areas.size() + 2;
  Measurement measurement;
  measurement.modes = EmptyResults(areas, turns);
  std::vector<ModeResult>& results = measurement.modes;
  TouchProbe probe(options.outlier_ns);
  for (const auto& area : areas) {
    probe.Begin(Clock::now(), options.slice, nullptr);
    if (absl::Status status = area->TouchPages(probe); !status.ok()) return status;
    (void)probe.End();
  }
  begin();
  const Clock::time_point start = Clock::now();
  for (size_t turn = 0;; ++turn) {
    measurement.length = Clock::now() - start;
    if (measurement.length >= options.length && turn >= areas.size()) break;
    if (options.go_on && !options.go_on(measurement.length, results)) {
      measurement.ended_early = true;
      break;
    }
    const size_t i = turn % areas.size();
    if (options.page_out) {
      ++(areas[i]->PageOut() ? results[i].page_outs_refused : results[i].page_outs_done);
    }
    probe.Begin(start, options.slice, &results[i].outliers);
    if (absl::Status status = areas[i]->TouchPages(probe); !status.ok()) return status;
    Account(probe.End(), probe.latency(), results[i]);
  }
  LookAtTheEnd(areas, results);
  return measurement;
}

uint64_t ClockNs() {
  uint64_t least = std::numeric_limits<uint64_t>::max();
  for (int i = 0; i < 10'000; ++i) {
    const Clock::time_point begin = Clock::now();
    least = std::min(least, static_cast<uint64_t>((Clock::now() - begin).count()));
  }
  return least;
}

}  // namespace cli::bench
