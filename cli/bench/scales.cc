#include "cli/bench/scales.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace cli::bench {

LogScale::LogScale(uint64_t least_ns, uint64_t most_ns, double bottom, double top)
    : low_(static_cast<int>(
          std::floor(std::log10(static_cast<double>(std::max<uint64_t>(least_ns, 1)))))),
      high_(static_cast<int>(
          std::ceil(std::log10(static_cast<double>(std::max<uint64_t>(most_ns, 1)))))),
      bottom_(bottom),
      top_(top) {
  high_ = std::max(high_, low_ + 1);
}

double LogScale::Place(uint64_t ns) const {
  const double power = std::log10(static_cast<double>(std::max<uint64_t>(ns, 1)));
  const double share = (power - low_) / (high_ - low_);
  return bottom_ + std::clamp(share, 0.0, 1.0) * (top_ - bottom_);
}

std::vector<LogScale::Tick> LogScale::Ticks() const {
  constexpr const char* kUnits[] = {"ns", "us", "ms"};
  std::vector<Tick> ticks;
  for (int power = low_; power <= high_; ++power) {
    const double place = bottom_ + (top_ - bottom_) * (power - low_) / (high_ - low_);
    const int unit = std::min(power / 3, 3);
    const double value = std::pow(10, power - 3 * unit);
    ticks.push_back({place, absl::StrCat(value, " ", unit == 3 ? "s" : kUnits[unit])});
  }
  return ticks;
}

double NiceStep(double length, int steps) {
  const double least = std::max(length, 1e-9) / steps;
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= least * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

}  // namespace cli::bench
