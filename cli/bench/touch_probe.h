// TouchProbe: watches the touches of one slice, each by the clock, and the slow ones by what the
// kernel counted meanwhile.
//
// A touch of more than a quarter of a microsecond may have faulted: the thread's fault counts are
// read after it, outside of what is timed. One of more than 20 us may have waited for a CPU: the run
// queue delay is read too.

#ifndef CLI_BENCH_TOUCH_PROBE_H_
#define CLI_BENCH_TOUCH_PROBE_H_

#include <chrono>
#include <cstdint>

#include "cli/bench/histogram.h"
#include "cli/bench/outlier.h"
#include "cli/bench/result.h"
#include "os/fault_count.h"
#include "os/run_queue.h"

namespace cli::bench {

using Clock = std::chrono::steady_clock;

// For the thread that made it. Allocates when it is made, and never after.
class TouchProbe {
 public:
  explicit TouchProbe(uint64_t outlier_ns) : outlier_ns_(outlier_ns) {}

  // Begins a slice. `start` is that of the measurement; outliers go to `log`, where there is one.
  void Begin(Clock::time_point start, std::chrono::nanoseconds length, OutlierLog* log);
  // A touch began and ended. Returns whether the slice goes on.
  bool Took(uint32_t page, Clock::time_point begin, Clock::time_point end) {
    const auto ns = static_cast<uint64_t>((end - begin).count());
    latency_.Add(ns);
    if (ns > kMayHaveFaultedNs) [[unlikely]] {
      LookAtSlow(page, begin, ns);
    } else if ((begin - last_).count() > kMayHaveWaitedNs) [[unlikely]] {
      // The thread lost its CPU between two touches: nothing that the next slow one is to blame for.
      run_queue_ns_ = run_queue_.Ns();
    }
    last_ = end;
    return end < end_;
  }
  // What the slice was; its latencies are in latency() until the next one begins.
  Slice End();

  const Histogram& latency() const { return latency_; }
  // An even random number below `end`.
  uint32_t Random(uint32_t end) {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return static_cast<uint32_t>(((random_ >> 32) * end) >> 32);
  }

 private:
  static constexpr uint64_t kMayHaveFaultedNs = 250;
  static constexpr int64_t kMayHaveWaitedNs = 20'000;

  void LookAtSlow(uint32_t page, Clock::time_point begin, uint64_t ns);

  const uint64_t outlier_ns_;
  Histogram latency_;
  os::RunQueueDelay run_queue_;
  double run_queue_ns_ = 0;      // when it was looked at last
  os::FaultCount faults_;        // the same
  os::FaultCount faults_begin_;  // at the beginning of the slice
  uint64_t cpu_begin_ns_ = 0;
  Clock::time_point start_, begin_, last_, end_;
  OutlierLog* log_ = nullptr;
  uint64_t random_ = 0x9e3779b97f4a7c15;
};

}  // namespace cli::bench

#endif  // CLI_BENCH_TOUCH_PROBE_H_
