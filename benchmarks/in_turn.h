// InTurn: two ways of doing the same thing, measured in turn.
//
// A machine drifts: clock rates, other programs, the state of caches. Two figures that were taken a
// minute apart say little about their ratio. Here ours and the bare way run one right after the
// other, for a slice of some milliseconds each, round by round; who is first alternates. Each round
// gives a ratio of its own, and what is quoted are medians over the rounds.

#ifndef BENCHMARKS_IN_TURN_H_
#define BENCHMARKS_IN_TURN_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

namespace benchmarks {

// Runs one side for a slice. Returns what an operation costs: in nanoseconds, mostly.
using Side = std::function<double()>;

// What both sides cost in one round. NaN: there is no such side.
struct Round {
  double ours;
  double bare;
};

// Medians over the rounds; that of the ratio is not the ratio of the medians.
struct Summary {
  double ours;
  double bare;
  double ours_to_bare;  // NaN where a side is missing
  double ours_max;      // the costliest round
  double bare_max;
  double ours_less_bare;  // the difference; NaN where a side is missing
};

// The middle one, or the mean of the two in the middle. NaN where there are no values, or one of
// them is NaN.
double Median(std::vector<double> values);

Summary Summarize(const std::vector<Round>& rounds);

// Not thread-safe.
class InTurn {
 public:
  // `bare` may be empty: nothing to compare with.
  InTurn(Side ours, Side bare);

  // Measures the next round: ours first in the first one, bare first in the second, and so on.
  Round Next();

 private:
  Side ours_;
  Side bare_;
  bool ours_first_ = true;
};

// Does an operation so many times.
using Operation = std::function<void(uint64_t times)>;

// Nanoseconds of CPU time that the calling thread has used, user and system. Another program's turn
// on this CPU is nobody's cost; the kernel's work in a system call is in it, waiting is not.
double ThreadCpuNs();
// Nanoseconds that have passed, for what is about waiting: storage.
double WallNs();

// A side that repeats the operation for about `slice`, and tells how many nanoseconds of the clock
// each took. How often the operation fits into a slice is found out at the first call, which also
// warms up, and corrected by each further one.
Side ForSlice(Operation operation, std::chrono::nanoseconds slice, double (*clock)() = ThreadCpuNs);

}  // namespace benchmarks

#endif  // BENCHMARKS_IN_TURN_H_
