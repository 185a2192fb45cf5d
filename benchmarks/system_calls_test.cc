#include "benchmarks/system_calls.h"

#include <cstddef>
#include <functional>
#include <optional>

#include "benchmarks/bare.h"
#include "gtest/gtest.h"

namespace benchmarks {
namespace {

// A function that enters the kernel so many times. Not by mmap(2) and the like, which the thread
// sanitizer accompanies by calls of its own.
std::function<void()> Enter(int times) {
  return [times] {
    alignas(4096) static std::byte page[4096];
    for (int i = 0; i < times; ++i) BareUnlock(page, sizeof(page));
  };
}

TEST(CountSystemCalls, CountsEachCall) {
  const std::optional<uint64_t> calls = CountSystemCalls([] { return Enter(100); });
  if (!calls) GTEST_SKIP() << "this process may not trace its child";
  EXPECT_EQ(*calls, 100u);
}

TEST(CountSystemCalls, CountsNothingWhereNothingIsCalled) {
  volatile uint64_t sum = 0;
  const std::optional<uint64_t> calls = CountSystemCalls([&] {
    return [&] {
      for (uint64_t i = 0; i < 100'000; ++i) sum = sum + i;
    };
  });
  if (!calls) GTEST_SKIP() << "this process may not trace its child";
  EXPECT_EQ(*calls, 0u);
}

TEST(CountSystemCalls, LeavesOutThePreparations) {
  const std::optional<uint64_t> calls = CountSystemCalls([] {
    Enter(10)();
    return Enter(2);
  });
  if (!calls) GTEST_SKIP() << "this process may not trace its child";
  EXPECT_EQ(*calls, 2u);
}

TEST(CountSystemCalls, RunsInAChild) {
  int prepared = 0;
  (void)CountSystemCalls([&] {
    ++prepared;
    return [] {};
  });
  EXPECT_EQ(prepared, 0);
}

}  // namespace
}  // namespace benchmarks
