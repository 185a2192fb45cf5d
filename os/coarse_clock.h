// CoarseNow: a clock that costs a few nanoseconds and ticks every few milliseconds.
//
// CLOCK_MONOTONIC_COARSE, for deciding whether something is older than some milliseconds. Does not
// enter the kernel where the kernel has a vDSO.

#ifndef OS_COARSE_CLOCK_H_
#define OS_COARSE_CLOCK_H_

#include <chrono>

namespace os {

// Time since the machine was started; plain data, zero bytes are the start.
using CoarseTime = std::chrono::nanoseconds;

CoarseTime CoarseNow();

}  // namespace os

#endif  // OS_COARSE_CLOCK_H_
