// Threads at the same time, each bound to a CPU of its own.
//
// Measured by the wall clock, because waiting for each other is what such figures are about; but
// without the time for which a thread was ready to run and another program had its CPU.

#ifndef BENCHMARKS_TWO_THREADS_H_
#define BENCHMARKS_TWO_THREADS_H_

#include <chrono>
#include <functional>
#include <vector>

#include "benchmarks/in_turn.h"

namespace benchmarks {

// One thread for each operation, which it repeats for `slice` while the others do. Nanoseconds for
// each time, thread by thread.
std::vector<double> AtOnceNs(const std::vector<Operation>& operations,
                             std::chrono::nanoseconds slice);
// Of two threads, that of the one that had the worse of it.
double SlowerOfTwoNs(const Operation& first, const Operation& second,
                     std::chrono::nanoseconds slice);

// One thread does `work` once, while another one makes the `calls`, in order and again and again,
// from before its beginning to after its end. Nanoseconds of the call that took longest.
double LongestCallNs(const std::function<void()>& work,
                     const std::vector<std::function<void()>>& calls);

}  // namespace benchmarks

#endif  // BENCHMARKS_TWO_THREADS_H_
