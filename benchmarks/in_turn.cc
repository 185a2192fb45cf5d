#include "benchmarks/in_turn.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <limits>
#include <utility>

namespace benchmarks {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

using Clock = double();

double Read(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double Time(const Operation& operation, uint64_t times, Clock* clock) {
  const double begin = clock();
  operation(times);
  return clock() - begin;
}

// How often the operation fits into the slice; at least once.
uint64_t TimesFor(const Operation& operation, double slice_ns, Clock* clock) {
  uint64_t times = 1;
  for (;;) {
    // A clock that stood still says nothing yet.
    const double ns = std::max(Time(operation, times, clock), 1.0);
    if (ns >= slice_ns / 8) {
      return std::max<uint64_t>(1,
                                static_cast<uint64_t>(static_cast<double>(times) * slice_ns / ns));
    }
    times *= 2;
  }
}

double Largest(const std::vector<double>& values) {
  return values.empty() ? kNone : *std::max_element(values.begin(), values.end());
}

}  // namespace

double Median(std::vector<double> values) {
  const auto is_nan = [](double value) { return std::isnan(value); };
  if (values.empty() || std::any_of(values.begin(), values.end(), is_nan)) return kNone;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  if (values.size() % 2 == 1) return values[middle];
  return (values[middle - 1] + values[middle]) / 2;
}

Summary Summarize(const std::vector<Round>& rounds) {
  std::vector<double> ours, bare, ratios, differences;
  for (const Round& round : rounds) {
    ours.push_back(round.ours);
    bare.push_back(round.bare);
    ratios.push_back(round.ours / round.bare);
    differences.push_back(round.ours - round.bare);
  }
  return {Median(ours),  Median(bare),  Median(ratios),
          Largest(ours), Largest(bare), Median(differences)};
}

InTurn::InTurn(Side ours, Side bare) : ours_(std::move(ours)), bare_(std::move(bare)) {}

Round InTurn::Next() {
  Round round{kNone, kNone};
  if (ours_first_) round.ours = ours_();
  if (bare_) round.bare = bare_();
  if (!ours_first_) round.ours = ours_();
  ours_first_ = !ours_first_;
  return round;
}

Side ForSlice(Operation operation, std::chrono::nanoseconds slice, Clock* clock) {
  return [operation = std::move(operation), slice_ns = static_cast<double>(slice.count()), clock,
          times = uint64_t{0}]() mutable {
    if (times == 0) times = TimesFor(operation, slice_ns, clock);
    const double ns = std::max(Time(operation, times, clock), 1.0);
    const double cost_ns = ns / static_cast<double>(times);
    // A first slice can be much slower than the rest, where the host of a virtual machine still brings
    // its memory.
    const double fitting = static_cast<double>(times) * std::clamp(slice_ns / ns, 0.5, 2.0);
    times = std::max<uint64_t>(1, static_cast<uint64_t>(fitting));
    return cost_ns;
  };
}

double ThreadCpuNs() { return Read(CLOCK_THREAD_CPUTIME_ID); }

double WallNs() { return Read(CLOCK_MONOTONIC); }

}  // namespace benchmarks
