// From values to places in a chart, and the ticks at an axis.

#ifndef CLI_BENCH_SCALES_H_
#define CLI_BENCH_SCALES_H_

#include <cstdint>
#include <string>
#include <vector>

namespace cli::bench {

// Nanoseconds on a logarithmic axis of whole decades, upwards from `bottom` to `top`. Pure.
class LogScale {
 public:
  // Takes the decades that hold both values; at least one.
  LogScale(uint64_t least_ns, uint64_t most_ns, double bottom, double top);

  double Place(uint64_t ns) const;  // of values beyond: the end
  struct Tick {
    double place;
    std::string text;  // "1 ns", "10 us"
  };
  std::vector<Tick> Ticks() const;

 private:
  int low_, high_;  // powers of 10
  double bottom_, top_;
};

// A step of 1, 2 or 5 times a power of 10 that divides the length into at most `steps` parts.
double NiceStep(double length, int steps);

}  // namespace cli::bench

#endif  // CLI_BENCH_SCALES_H_
