// Two threads at a time, each bound to a CPU of its own: measured by the wall clock, because waiting
// for each other is what such figures are about.

#ifndef BENCHMARKS_TWO_THREADS_H_
#define BENCHMARKS_TWO_THREADS_H_

#include <chrono>
#include <functional>

#include "benchmarks/in_turn.h"

namespace benchmarks {

// Both threads repeat their operation at the same time for `slice`. Nanoseconds for each, of the
// thread that had the worse of it.
double SlowerOfTwoNs(const Operation& first, const Operation& second,
                     std::chrono::nanoseconds slice);

// One thread does `work` once, while another one repeats `interrupted` from before its beginning to
// after its end. Nanoseconds of the longest time that `interrupted` took.
double LongestWaitNs(const std::function<void()>& work, const std::function<void()>& interrupted);

}  // namespace benchmarks

#endif  // BENCHMARKS_TWO_THREADS_H_
