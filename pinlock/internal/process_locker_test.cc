#include "pinlock/internal/process_locker.h"

#include <atomic>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "os/fake_limits.h"
#include "os/forwarding_memory.h"
#include "tests/support/child.h"

namespace pinlock::internal {
namespace {

TEST(ProcessLocker, ThereIsOneStateForAllThreads) {
  constexpr int kThreads = 4;
  const uint64_t pins = ProcessGeneration() == 0 ? 0 : ProcessLocker()->Stats().pins;
  std::atomic<bool> begin{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&begin] {
      while (!begin) std::this_thread::yield();
      Failure failure;
      std::optional<PageLocker> locker = ProcessLocker();
      ASSERT_TRUE(locker.has_value());
      EXPECT_TRUE(locker->Lock(0, 0, failure).ok());
    });
  }
  begin = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ProcessLocker()->Stats().pins, pins + kThreads);
}

TEST(ProcessLocker, EveryGenerationOfProcessesHasANumberOfItsOwn) {
  ASSERT_TRUE(ProcessLocker().has_value());
  const uint64_t parent = ProcessGeneration();
  EXPECT_NE(parent, 0u);
  test_support::RunInChild([parent] {
    EXPECT_EQ(ProcessGeneration(), 0u) << "nothing was locked here yet";
    ASSERT_TRUE(ProcessLocker().has_value());
    const uint64_t child = ProcessGeneration();
    EXPECT_NE(child, parent);
    EXPECT_EQ(ProcessLocker()->Stats().pins, 0u);
    test_support::RunInChild([parent, child] {
      ASSERT_TRUE(ProcessLocker().has_value());
      EXPECT_NE(ProcessGeneration(), parent);
      EXPECT_NE(ProcessGeneration(), child);
    });
  });
  EXPECT_EQ(ProcessGeneration(), parent);
}

// A Memory whose locks always fail.
class RefusingMemory final : public os::ForwardingMemory {
 public:
  RefusingMemory() : ForwardingMemory(os::RealMemory()) {}
  os::Errno Lock(os::PageRange) override { return os::Errno(EAGAIN); }
};

alignas(4096) std::byte page[4096];

os::Errno LockPage() {
  Failure failure;
  return ProcessLocker()->Lock(reinterpret_cast<uintptr_t>(page), sizeof(page), failure);
}

os::Errno UnlockPage() {
  Failure failure;
  return ProcessLocker()->Unlock(reinterpret_cast<uintptr_t>(page), sizeof(page), failure);
}

TEST(ScopedProcessLocker, StandsInWhileItLives) {
  LockerState state;
  RefusingMemory memory;
  os::testing::FakeLimits limits;
  const uint64_t pins = ProcessLocker()->Stats().pins;
  {
    const ScopedProcessLocker substitute(state, memory, limits);
    EXPECT_EQ(ProcessLocker()->Stats().pins, 0u);
    EXPECT_EQ(LockPage(), os::Errno(EAGAIN));
    test_support::RunInChild([] { EXPECT_EQ(LockPage(), os::Errno(EAGAIN)); });
  }
  EXPECT_EQ(LockPage(), os::kSuccess);
  EXPECT_EQ(UnlockPage(), os::kSuccess);
  EXPECT_EQ(ProcessLocker()->Stats().pins, pins + 1);
}

TEST(ScopedProcessLockerDeathTest, DoesNotBeginWhilePagesAreLocked) {
  LockerState state;
  os::testing::FakeLimits limits;
  const auto begin = [&] {  // in the child, where nothing is locked at first
    (void)LockPage();
    ScopedProcessLocker(state, os::RealMemory(), limits);
  };
  EXPECT_DEATH(begin(), "pages are locked");
}

TEST(ScopedProcessLockerDeathTest, ThereIsOneAtATime) {
  LockerState state;
  LockerState other;
  os::testing::FakeLimits limits;
  const ScopedProcessLocker substitute(state, os::RealMemory(), limits);
  EXPECT_DEATH(ScopedProcessLocker(other, os::RealMemory(), limits), "another one");
}

}  // namespace
}  // namespace pinlock::internal
