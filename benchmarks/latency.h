// The slow ones among many single operations.

#ifndef BENCHMARKS_LATENCY_H_
#define BENCHMARKS_LATENCY_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace benchmarks {

// A clock for some nanoseconds: the processor's counter where there is one. What was begun before
// is done before it is read, and nothing begins earlier.
inline uint64_t Ticks() {
#if defined(__x86_64__)
  _mm_lfence();
  const uint64_t ticks = __rdtsc();
  _mm_lfence();
  return ticks;
#else
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

// How long a tick is. Measured once, which takes some milliseconds.
double NsPerTick();

// The value that one in a thousand exceeds. Precondition: there is a value.
uint64_t Percentile999(std::vector<uint64_t> values);

// Repeats the operation for `slice`, in the calling thread, and tells the nanoseconds that one in a
// thousand exceeds; with what reading the clock costs, some ten of them.
template <typename Operate>
double P999Ns(std::chrono::nanoseconds slice, Operate operate) {
  constexpr int kBatch = 64;
  const auto slice_ticks = static_cast<uint64_t>(static_cast<double>(slice.count()) / NsPerTick());
  std::vector<uint64_t> ticks(1'000'000);  // touched now, so that it does not fault meanwhile
  ticks.clear();
  const uint64_t begin = Ticks();
  do {
    for (int i = 0; i < kBatch; ++i) {
      const uint64_t before = Ticks();
      operate();
      ticks.push_back(Ticks() - before);
    }
  } while (Ticks() - begin < slice_ticks);
  return static_cast<double>(Percentile999(ticks)) * NsPerTick();
}

// Runs `measure` in a thread bound to a CPU, and, unless it is empty, `beside` again and again in
// one bound to another CPU meanwhile.
double InThread(const std::function<double()>& measure, const std::function<void()>& beside);

}  // namespace benchmarks

#endif  // BENCHMARKS_LATENCY_H_
