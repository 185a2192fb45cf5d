#include "os/process_barrier.h"

#include <atomic>
#include <thread>

#include "gtest/gtest.h"

namespace os {
namespace {

TEST(ProcessBarrier, CanBePreparedMoreThanOnce) {
  ASSERT_TRUE(PrepareProcessBarrier());
  EXPECT_TRUE(PrepareProcessBarrier());
  ProcessBarrier();
}

TEST(ProcessBarrierDeathTest, AbortsWhereItWasNotPrepared) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a process of its own
  EXPECT_DEATH(ProcessBarrier(), "was it prepared");
}

// Each round one thread writes its word and reads the other's with no more than the compiler's
// fence, and the other does so around a barrier. Without it x86 lets both read 0, every so often.
TEST(ProcessBarrier, OneOfTwoThreadsSeesTheOther) {
  ASSERT_TRUE(PrepareProcessBarrier());
  constexpr int kRounds = 3'000;
  alignas(128) std::atomic<int> frequent{0};
  alignas(128) std::atomic<int> seldom{0};
  alignas(128) std::atomic<int> round{0};
  alignas(128) std::atomic<int> answered{0};
  int seen_by_frequent = 0;
  std::thread other([&] {
    for (int i = 1; i <= kRounds; ++i) {
      while (round.load(std::memory_order_acquire) < i) std::this_thread::yield();
      frequent.store(i, std::memory_order_relaxed);
      std::atomic_signal_fence(std::memory_order_seq_cst);
      seen_by_frequent = seldom.load(std::memory_order_relaxed);
      answered.store(i, std::memory_order_release);
    }
  });
  int neither = 0;
  for (int i = 1; i <= kRounds; ++i) {
    round.store(i, std::memory_order_release);
    seldom.store(i, std::memory_order_relaxed);
    ProcessBarrier();
    const int seen = frequent.load(std::memory_order_relaxed);
    while (answered.load(std::memory_order_acquire) < i) std::this_thread::yield();
    if (seen != i && seen_by_frequent != i) ++neither;
  }
  other.join();
  EXPECT_EQ(neither, 0);
}

}  // namespace
}  // namespace os
