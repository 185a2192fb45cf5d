#include "os/latch.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <thread>
#include <vector>

namespace os {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct Guarded {
  Latch latch;
  LatchCondition changed;
  int value ABSL_GUARDED_BY(latch) = 0;
};

TEST(Latch, ExcludesOtherThreads) {
  constexpr int kThreads = 4, kRounds = 5000;
  Guarded guarded;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&guarded] {
      for (int round = 0; round < kRounds; ++round) {
        LatchHolder holder(guarded.latch);
        ++guarded.value;  // ThreadSanitizer would see a race here
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  LatchHolder holder(guarded.latch);
  EXPECT_EQ(guarded.value, kThreads * kRounds);
}

// What memory that is wiped by fork holds. Were it not free, the test would hang.
TEST(Latch, OfZeroBytesIsFree) {
  alignas(Latch) std::array<std::byte, sizeof(Latch)> bytes{};
  Latch& latch = *reinterpret_cast<Latch*>(bytes.data());
  latch.Lock();
  latch.Unlock();
  { LatchHolder holder(latch); }
}

TEST(Latch, ANewOneIsAllZero) {
  const Latch latch;
  std::array<std::byte, sizeof(Latch)> bytes;
  std::memcpy(bytes.data(), static_cast<const void*>(&latch), sizeof(latch));
  for (const std::byte byte : bytes) EXPECT_EQ(byte, std::byte{0});
}

TEST(LatchRelease, LetsGoAndTakesAgain) {
  Guarded guarded;
  guarded.latch.Lock();
  {
    LatchRelease release(guarded.latch);
    std::thread([&guarded] {
      LatchHolder holder(guarded.latch);
      guarded.value = 1;
    }).join();
  }
  EXPECT_EQ(guarded.value, 1);
  guarded.latch.Unlock();
}

TEST(LatchCondition, WakesEveryWaiter) {
  Guarded guarded;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&guarded] {
      LatchHolder holder(guarded.latch);
      while (guarded.value == 0) guarded.changed.Wait(guarded.latch);
      ++guarded.value;
    });
  }
  {
    LatchHolder holder(guarded.latch);
    guarded.value = 1;
    guarded.changed.NotifyAll();
  }
  for (std::thread& thread : threads) thread.join();
  LatchHolder holder(guarded.latch);
  EXPECT_EQ(guarded.value, 4);
}

TEST(LatchCondition, WaitUntilEndsAtTheDeadline) {
  Guarded guarded;
  LatchHolder holder(guarded.latch);
  const auto deadline = steady_clock::now() + milliseconds(20);
  while (guarded.changed.WaitUntil(guarded.latch, deadline)) {
  }
  EXPECT_GE(steady_clock::now(), deadline);
}

TEST(LatchCondition, WaitUntilOfThePastReturnsAtOnce) {
  Guarded guarded;
  LatchHolder holder(guarded.latch);
  EXPECT_FALSE(guarded.changed.WaitUntil(guarded.latch, steady_clock::time_point()));
  EXPECT_FALSE(guarded.changed.WaitUntil(guarded.latch, steady_clock::time_point::min()));
  EXPECT_FALSE(guarded.changed.WaitUntil(guarded.latch, steady_clock::now() - milliseconds(1500)));
}

TEST(LatchCondition, WaitUntilIsWokenBeforeTheDeadline) {
  Guarded guarded;
  std::thread notifier([&guarded] {
    LatchHolder holder(guarded.latch);
    guarded.value = 1;
    guarded.changed.NotifyAll();
  });
  {
    LatchHolder holder(guarded.latch);
    bool in_time = true;
    while (guarded.value == 0 && in_time) {
      in_time = guarded.changed.WaitUntil(guarded.latch, steady_clock::time_point::max());
    }
    EXPECT_TRUE(in_time);
  }
  notifier.join();
}

}  // namespace
}  // namespace os
