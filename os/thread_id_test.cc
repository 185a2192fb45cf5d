#include "os/thread_id.h"

#include <sys/wait.h>
#include <unistd.h>

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

TEST(ThreadId, IsRememberedButNotAcrossFork) {
  const ThreadId here = ThisThread();
  EXPECT_EQ(here, CurrentThread());
  const pid_t child = fork();
  if (child == 0) _exit(ThisThread() == getpid() ? 0 : 1);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(ThisThread(), here);
}

TEST(ThreadId, IsOfOneProcessAlone) {
  EXPECT_TRUE(IsThreadOf(getpid(), ThisThread()));
  EXPECT_FALSE(IsThreadOf(getpid(), getppid()));
  EXPECT_FALSE(IsThreadOf(getpid(), 0));
}

}  // namespace
}  // namespace os
