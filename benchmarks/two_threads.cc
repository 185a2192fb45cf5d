#include "benchmarks/two_threads.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "benchmarks/bare.h"

namespace benchmarks {
namespace {

using Clock = std::chrono::steady_clock;

// How often an operation is repeated between two looks at whether the slice is over.
constexpr uint64_t kBatch = 64;

double NsSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
}

}  // namespace

double SlowerOfTwoNs(const Operation& first, const Operation& second,
                     std::chrono::nanoseconds slice) {
  std::atomic<int> ready{0};
  std::atomic<bool> go{false}, stop{false};
  const auto repeat = [&](size_t cpu, const Operation& operation, double& ns_each) {
    BindToCpu(cpu);
    operation(kBatch);  // warms up
    ready.fetch_add(1);
    while (!go.load()) std::this_thread::yield();
    uint64_t times = 0;
    const Clock::time_point begin = Clock::now();
    do {
      operation(kBatch);
      times += kBatch;
    } while (!stop.load(std::memory_order_relaxed));
    ns_each = NsSince(begin) / static_cast<double>(times);
  };
  double first_ns = 0, second_ns = 0;
  std::thread one([&] { repeat(0, first, first_ns); });
  std::thread other([&] { repeat(1, second, second_ns); });
  while (ready.load() < 2) std::this_thread::yield();
  go = true;
  std::this_thread::sleep_for(slice);
  stop = true;
  one.join();
  other.join();
  return std::max(first_ns, second_ns);
}

double LongestWaitNs(const std::function<void()>& work, const std::function<void()>& interrupted) {
  std::atomic<bool> begun{false}, stop{false};
  double longest_ns = 0;
  std::thread other([&] {
    BindToCpu(1);
    interrupted();  // warms up
    do {
      const Clock::time_point begin = Clock::now();
      interrupted();
      longest_ns = std::max(longest_ns, NsSince(begin));
      begun = true;
    } while (!stop);
  });
  std::thread worker([&] {
    BindToCpu(0);
    while (!begun) std::this_thread::yield();
    work();
  });
  worker.join();
  stop = true;
  other.join();
  return longest_ns;
}

}  // namespace benchmarks
