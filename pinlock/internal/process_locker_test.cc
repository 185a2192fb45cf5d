#include "pinlock/internal/process_locker.h"

#include <atomic>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
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

}  // namespace
}  // namespace pinlock::internal
