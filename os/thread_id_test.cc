#include "os/thread_id.h"

#include <atomic>
#include <thread>

#include "gtest/gtest.h"

namespace os {
namespace {

TEST(ThreadId, IsTheThreadsOwn) {
  const ThreadId here = CurrentThread();
  EXPECT_EQ(CurrentThread(), here);
  EXPECT_TRUE(IsAlive(here));
  std::atomic<ThreadId> there{0};
  std::atomic<bool> seen{false};
  std::thread other([&] {
    there = CurrentThread();
    while (!seen) std::this_thread::yield();
  });
  while (there == 0) std::this_thread::yield();
  EXPECT_NE(there, here);
  EXPECT_TRUE(IsAlive(there));
  seen = true;
  other.join();
}

TEST(ThreadId, OfAnEndedThreadIsNotAlive) {
  ThreadId there = 0;
  std::thread([&] { there = CurrentThread(); }).join();
  // join(3) returns when the kernel has begun to take the thread down; the number goes a little
  // later.
  while (IsAlive(there)) std::this_thread::yield();
  EXPECT_FALSE(IsAlive(there));
  EXPECT_TRUE(IsAlive(CurrentThread()));
}

}  // namespace
}  // namespace os
