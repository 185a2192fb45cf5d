#include "mpool/internal/last_puts.h"

#include <latch>
#include <mutex>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace mpool::internal {
namespace {

TEST(LastPuts, KnowsNothingAtFirst) {
  const LastPuts puts;
  EXPECT_EQ(puts.OfThisThread(), kNoFrame);
}

TEST(LastPuts, RemembersTheLastOneOnly) {
  LastPuts puts;
  puts.Record(5);
  puts.Record(0);
  EXPECT_EQ(puts.OfThisThread(), 0u);
  puts.Forget(5);
  EXPECT_EQ(puts.OfThisThread(), 0u);
}

TEST(LastPuts, ForgetsAFrameForEveryThread) {
  LastPuts puts;
  puts.Record(3);
  std::thread([&] {
    EXPECT_EQ(puts.OfThisThread(), kNoFrame);
    puts.Record(3);
    puts.Forget(3);
    EXPECT_EQ(puts.OfThisThread(), kNoFrame);
  }).join();
  EXPECT_EQ(puts.OfThisThread(), kNoFrame);
}

// Runs `threads` threads, alive all at once: each records a frame of its own, in order, and checks
// it once all have. Returns how many are remembered then.
int CountRemembered(LastPuts& puts, unsigned threads) {
  std::mutex mutex;  // in the place of the pool's latch
  std::latch recorded(threads);
  int remembered = 0;
  std::vector<std::thread> running;
  for (FrameIndex frame = 0; frame < threads; ++frame) {
    std::latch done(1);
    running.emplace_back([&puts, &mutex, &recorded, &remembered, &done, frame] {
      {
        const std::scoped_lock lock(mutex);
        puts.Record(frame);
        done.count_down();
      }
      recorded.arrive_and_wait();
      const std::scoped_lock lock(mutex);
      const FrameIndex seen = puts.OfThisThread();
      EXPECT_TRUE(seen == frame || seen == kNoFrame) << seen;
      if (seen == frame) ++remembered;
    });
    done.wait();
    const std::scoped_lock lock(mutex);  // until `done` is no longer touched
  }
  for (std::thread& thread : running) thread.join();
  return remembered;
}

TEST(LastPuts, Serves64ThreadsAtOnce) {
  LastPuts puts;
  EXPECT_EQ(CountRemembered(puts, 64), 64);
}

TEST(LastPuts, LosesTheOldestClaimsOfMoreThreadsButNeverMixesThemUp) {
  LastPuts puts;
  EXPECT_EQ(CountRemembered(puts, 100), 64);
}

TEST(LastPuts, GoesOnAfterASlotWasReused) {
  LastPuts puts;
  puts.Record(1000);
  EXPECT_EQ(CountRemembered(puts, 70), 64);
  EXPECT_EQ(puts.OfThisThread(), kNoFrame);  // this thread's claim was the oldest
  puts.Record(1001);
  EXPECT_EQ(puts.OfThisThread(), 1001u);
}

}  // namespace
}  // namespace mpool::internal
