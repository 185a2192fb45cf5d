#include "cli/bench/touch_probe.h"

#include <algorithm>
#include <ctime>

namespace cli::bench {
namespace {

// Of the process, which has one thread.
uint64_t CpuNs() { return static_cast<uint64_t>(std::clock()) * (1'000'000'000 / CLOCKS_PER_SEC); }

}  // namespace

void TouchProbe::Begin(Clock::time_point start, std::chrono::nanoseconds length, OutlierLog* log) {
  latency_.Clear();
  start_ = start;
  log_ = log;
  run_queue_ns_ = run_queue_.Ns();
  cpu_begin_ns_ = CpuNs();
  faults_begin_ = faults_ = os::FaultCount::OfThisThread();
  begin_ = last_ = Clock::now();
  end_ = begin_ + length;
}

void TouchProbe::LookAtSlow(uint32_t page, Clock::time_point begin, uint64_t ns) {
  const os::FaultCount now = os::FaultCount::OfThisThread();
  SlowTouch touch;
  touch.at_ns = static_cast<uint64_t>((begin - start_).count());
  touch.ns = ns;
  touch.page = page;
  touch.major = (now - faults_).major;
  touch.minor = (now - faults_).minor;
  faults_ = now;
  if (ns > static_cast<uint64_t>(kMayHaveWaitedNs)) {
    const double waited_ns = run_queue_.Ns();
    touch.run_queue_ns = std::min(ns, static_cast<uint64_t>(waited_ns - run_queue_ns_));
    run_queue_ns_ = waited_ns;
  }
  if (ns > outlier_ns_ && log_ != nullptr) log_->Add(touch);
}

Slice TouchProbe::End() {
  Slice slice;
  slice.faults = os::FaultCount::OfThisThread() - faults_begin_;
  slice.cpu_ns = CpuNs() - cpu_begin_ns_;
  slice.at_ns = static_cast<uint64_t>((begin_ - start_).count());
  slice.ns = static_cast<uint64_t>((last_ - begin_).count());
  slice.touches = latency_.count();
  slice.p99_ns = latency_.Percentile(0.99);
  slice.max_ns = latency_.max();
  return slice;
}

}  // namespace cli::bench
