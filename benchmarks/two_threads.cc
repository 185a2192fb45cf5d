#include "benchmarks/two_threads.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <utility>

#include "benchmarks/bare.h"
#include "benchmarks/run_queue.h"

namespace benchmarks {
namespace {

using Clock = std::chrono::steady_clock;

// How often an operation is repeated between two looks at whether the slice is over.
constexpr uint64_t kBatch = 64;

// Time since it was made, without the run queue delays of some threads meanwhile.
class Stopwatch {
 public:
  explicit Stopwatch(std::vector<const RunQueueDelay*> threads)
      : threads_(std::move(threads)), delay_ns_(DelayNs()), begin_(Clock::now()) {}

  double Ns() const {
    const std::chrono::duration<double, std::nano> passed = Clock::now() - begin_;
    return std::max(0.0, passed.count() - (DelayNs() - delay_ns_));
  }

 private:
  double DelayNs() const {
    double sum = 0;
    for (const RunQueueDelay* thread : threads_) sum += thread->Ns();
    return sum;
  }

  std::vector<const RunQueueDelay*> threads_;
  double delay_ns_;
  Clock::time_point begin_;
};

void WaitUntil(const std::atomic<bool>& flag) {
  while (!flag) std::this_thread::yield();
}

}  // namespace

double SlowerOfTwoNs(const Operation& first, const Operation& second,
                     std::chrono::nanoseconds slice) {
  std::atomic<int> ready{0};
  std::atomic<bool> go{false}, stop{false};
  const auto repeat = [&](size_t cpu, const Operation& operation, double& ns_each) {
    BindToCpu(cpu);
    operation(kBatch);  // warms up
    const RunQueueDelay delay;
    ready.fetch_add(1);
    WaitUntil(go);
    uint64_t times = 0;
    const Stopwatch stopwatch({&delay});
    do {
      operation(kBatch);
      times += kBatch;
    } while (!stop.load(std::memory_order_relaxed));
    ns_each = stopwatch.Ns() / static_cast<double>(times);
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

double LongestCallNs(const std::function<void()>& work,
                     const std::vector<std::function<void()>>& calls) {
  std::atomic<bool> worker_ready{false}, begun{false}, done{false}, watched{false};
  std::optional<RunQueueDelay> worker_delay;
  double longest_ns = 0;
  std::thread worker([&] {
    BindToCpu(0);
    worker_delay.emplace();
    worker_ready = true;
    WaitUntil(begun);
    work();
    done = true;
    WaitUntil(watched);  // its delay is asked for until then
  });
  std::thread other([&] {
    BindToCpu(1);
    const RunQueueDelay own_delay;
    WaitUntil(worker_ready);
    for (const auto& call : calls) call();  // warms up
    do {
      for (const auto& call : calls) {
        // The worker's delay, because a call may wait for what the worker holds meanwhile.
        const Stopwatch stopwatch({&own_delay, &*worker_delay});
        call();
        longest_ns = std::max(longest_ns, stopwatch.Ns());
      }
      begun = true;
    } while (!done);
    watched = true;
  });
  worker.join();
  other.join();
  return longest_ns;
}

}  // namespace benchmarks
