#include "os/process_barrier.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <thread>

#include "gtest/gtest.h"
#include "tests/support/child.h"
#include "tests/support/forbid_syscalls.h"

namespace os {
namespace {

using test_support::RunInChild;

// What two sides share, each word on cache lines of its own. One announces a number, as often as it
// can, and then looks at the other's word; the other changes its word, now and then, and then looks
// at what has been announced. Either the first sees the change or the second the announcement.
class Litmus {
 public:
  // Announces with no more than the compiler's fence, until it is told to stop.
  void BeFrequent() {
    for (uint64_t i = 1; stop_.load(std::memory_order_relaxed) == 0; ++i) {
      announced_.store(i, std::memory_order_release);
      std::atomic_signal_fence(std::memory_order_seq_cst);
      seen_[i % kSeen].store(word_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    }
  }
  // Looks around barriers, for a while. Returns how often neither side saw the other.
  int BeSeldom(void (*barrier)()) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
    int neither = 0;
    for (uint32_t i = 1; i <= kRounds && std::chrono::steady_clock::now() < end; ++i) {
      word_.store(i, std::memory_order_relaxed);
      barrier();
      const uint64_t last = announced_.load(std::memory_order_acquire);
      while (announced_.load(std::memory_order_acquire) < last + 2) std::this_thread::yield();
      // Of the next announcement, or, where that was long ago, of a later one.
      if (seen_[(last + 1) % kSeen].load(std::memory_order_relaxed) < i) ++neither;
    }
    stop_.store(1, std::memory_order_relaxed);
    return neither;
  }

 private:
  static constexpr uint32_t kRounds = 20'000;
  static constexpr size_t kSeen = size_t{1} << 16;

  alignas(128) std::atomic<uint64_t> announced_{0};
  alignas(128) std::atomic<uint32_t> word_{0};
  alignas(128) std::atomic<int> stop_{0};
  alignas(128) std::atomic<uint32_t> seen_[kSeen] = {};  // by the frequent side, after each number
};

TEST(ProcessBarrier, CanBePreparedMoreThanOnce) {
  ASSERT_TRUE(PrepareProcessBarrier());
  EXPECT_TRUE(PrepareProcessBarrier());
  ProcessBarrier();
}

TEST(ProcessBarrierDeathTest, AbortsWhereItWasNotPrepared) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a process of its own
  EXPECT_DEATH(ProcessBarrier(), "was it prepared");
}

// Without the other side's part of the barrier x86 lets both miss each other, every so often.
TEST(ProcessBarrier, OneOfTwoThreadsSeesTheOther) {
  ASSERT_TRUE(PrepareProcessBarrier());
  const auto litmus = std::make_unique<Litmus>();
  std::thread other([&litmus] { litmus->BeFrequent(); });
  EXPECT_EQ(litmus->BeSeldom(ProcessBarrier), 0);
  other.join();
}

TEST(ProcessBarrier, CannotBePreparedWhereItIsForbidden) {
  RunInChild([] {
    const long calls[] = {SYS_membarrier};
    test_support::ForbidSyscalls(calls, ENOSYS);
    if (::testing::Test::IsSkipped()) return;
    EXPECT_FALSE(PrepareProcessBarrier());
    EXPECT_FALSE(PrepareSharedBarrier());
  });
}

TEST(SharedBarrier, CanBePreparedMoreThanOnce) {
  ASSERT_TRUE(PrepareSharedBarrier());
  EXPECT_TRUE(PrepareSharedBarrier());
  SharedBarrier();
}

TEST(SharedBarrierDeathTest, AbortsWhereItIsForbidden) {
  EXPECT_DEATH(
      {
        const long calls[] = {SYS_membarrier};
        test_support::ForbidSyscalls(calls, ENOSYS);
        SharedBarrier();
      },
      "was it prepared");
}

TEST(SharedBarrier, OneOfTwoThreadsSeesTheOther) {
  ASSERT_TRUE(PrepareSharedBarrier());
  const auto litmus = std::make_unique<Litmus>();
  std::thread other([&litmus] { litmus->BeFrequent(); });
  EXPECT_EQ(litmus->BeSeldom(SharedBarrier), 0);
  other.join();
}

TEST(SharedBarrier, OneOfTwoProcessesSeesTheOther) {
  void* const memory =
      mmap(nullptr, sizeof(Litmus), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  Litmus& litmus = *new (memory) Litmus();
  const pid_t child = fork();
  if (child == 0) {
    (void)alarm(60);
    const bool prepared = PrepareSharedBarrier();
    litmus.BeFrequent();
    for (;;) syscall(SYS_exit_group, prepared ? 0 : 1);
  }
  EXPECT_TRUE(PrepareSharedBarrier());
  EXPECT_EQ(litmus.BeSeldom(SharedBarrier), 0);
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ASSERT_EQ(munmap(memory, sizeof(Litmus)), 0);
}

}  // namespace
}  // namespace os
