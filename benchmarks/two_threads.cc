#include "benchmarks/two_threads.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <utility>

#include "benchmarks/bare.h"
#include "os/run_queue.h"

namespace benchmarks {
namespace {

using Clock = std::chrono::steady_clock;

// How often an operation is repeated between two looks at whether the slice is over.
constexpr uint64_t kBatch = 64;

// Time since it was made, without the run queue delays of some threads meanwhile.
class Stopwatch {
 public:
  explicit Stopwatch(std::vector<const os::RunQueueDelay*> threads)
      : threads_(std::move(threads)), delay_ns_(DelayNs()), begin_(Clock::now()) {}

  double Ns() const {
    const std::chrono::duration<double, std::nano> passed = Clock::now() - begin_;
    return std::max(0.0, passed.count() - (DelayNs() - delay_ns_));
  }

 private:
  double DelayNs() const {
    double sum = 0;
    for (const os::RunQueueDelay* thread : threads_) sum += thread->Ns();
    return sum;
  }

  std::vector<const os::RunQueueDelay*> threads_;
  double delay_ns_;
  Clock::time_point begin_;
};

void WaitUntil(const std::atomic<bool>& flag) {
  while (!flag) std::this_thread::yield();
}

}  // namespace

std::vector<double> AtOnceNs(const std::vector<Operation>& operations,
                             std::chrono::nanoseconds slice) {
  std::atomic<size_t> ready{0};
  std::atomic<bool> go{false}, stop{false};
  std::vector<double> ns_each(operations.size());
  const auto repeat = [&](size_t index) {
    BindToCpu(index);
    operations[index](kBatch);  // warms up
    const os::RunQueueDelay delay;
    ready.fetch_add(1);
    WaitUntil(go);
    uint64_t times = 0;
    double ns = 0;
    const Stopwatch stopwatch({&delay});
    while (ns == 0) {  // again, where the thread had no CPU for the whole slice
      do {
        operations[index](kBatch);
        times += kBatch;
      } while (!stop.load(std::memory_order_relaxed));
      ns = stopwatch.Ns();
    }
    ns_each[index] = ns / static_cast<double>(times);
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < operations.size(); ++i) threads.emplace_back(repeat, i);
  while (ready.load() < operations.size()) std::this_thread::yield();
  go = true;
  std::this_thread::sleep_for(slice);
  stop = true;
  for (std::thread& thread : threads) thread.join();
  return ns_each;
}

double SlowerOfTwoNs(const Operation& first, const Operation& second,
                     std::chrono::nanoseconds slice) {
  const std::vector<double> ns = AtOnceNs({first, second}, slice);
  return std::max(ns[0], ns[1]);
}

double LongestCallNs(const std::function<void()>& work,
                     const std::vector<std::function<void()>>& calls) {
  std::atomic<bool> worker_ready{false}, begun{false}, done{false}, watched{false};
  std::optional<os::RunQueueDelay> worker_delay;
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
    const os::RunQueueDelay own_delay;
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
