#include "benchmarks/latency.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "benchmarks/bare.h"

namespace benchmarks {

double NsPerTick() {
  static const double ns_per_tick = [] {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point begin = Clock::now();
    const uint64_t ticks = Ticks();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const uint64_t passed_ticks = Ticks() - ticks;
    const std::chrono::duration<double, std::nano> passed = Clock::now() - begin;
    return passed.count() / static_cast<double>(passed_ticks);
  }();
  return ns_per_tick;
}

uint64_t Percentile999(std::vector<uint64_t> values) {
  const auto at = static_cast<std::ptrdiff_t>((values.size() - 1) * 999 / 1000);
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<size_t>(at)];
}

double InThread(const std::function<double()>& measure, const std::function<void()>& beside) {
  std::atomic<bool> begun{!beside}, done{false};
  double result = 0;
  std::thread measuring([&] {
    BindToCpu(0);
    while (!begun) std::this_thread::yield();
    result = measure();
    done = true;
  });
  std::thread other([&] {
    if (!beside) return;
    BindToCpu(1);
    do {
      beside();
      begun = true;
    } while (!done);
  });
  measuring.join();
  other.join();
  return result;
}

}  // namespace benchmarks
