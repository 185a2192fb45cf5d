#include "os/latch.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <functional>
#include <new>
#include <thread>
#include <vector>

#include "tests/support/child.h"

namespace os {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using test_support::RunInChild;

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

TEST(LatchCondition, OfZeroBytesIsAsGoodAsNew) {
  alignas(LatchCondition) std::array<std::byte, sizeof(LatchCondition)> bytes{};
  LatchCondition& changed = *reinterpret_cast<LatchCondition*>(bytes.data());
  Guarded guarded;
  changed.NotifyAll();
  std::thread waiter([&] {
    LatchHolder holder(guarded.latch);
    guarded.value = 1;
    while (guarded.value == 1) changed.Wait(guarded.latch);
  });
  for (bool waits = false; !waits; std::this_thread::yield()) {
    LatchHolder holder(guarded.latch);
    waits = guarded.value == 1;  // or is about to, and has let go of the latch
  }
  {
    LatchHolder holder(guarded.latch);
    guarded.value = 2;
    changed.NotifyAll();
  }
  waiter.join();
  LatchHolder holder(guarded.latch);
  EXPECT_FALSE(changed.WaitUntil(guarded.latch, steady_clock::time_point::min()));
}

TEST(LatchCondition, ANewOneIsAllZero) {
  const LatchCondition changed;
  std::array<std::byte, sizeof(LatchCondition)> bytes;
  std::memcpy(bytes.data(), static_cast<const void*>(&changed), sizeof(changed));
  for (const std::byte byte : bytes) EXPECT_EQ(byte, std::byte{0});
}

// --- Between processes --------------------------------------------------------------------------

// In memory that forked children share.
struct Shared {
  Latch latch;
  LatchCondition changed;
  int value ABSL_GUARDED_BY(latch) = 0;
  int copy ABSL_GUARDED_BY(latch) = 0;  // of value, but while somebody changes both
  std::atomic<int> step{0};
};

class SharedLatch : public testing::Test {
 protected:
  SharedLatch() : shared_(*new (Map()) Shared()) { shared_.latch.Share(); }
  ~SharedLatch() override { (void)munmap(&shared_, sizeof(Shared)); }

  Shared& shared() { return shared_; }

  // Takes the latch and lets go of it; whether it was abandoned.
  bool FindsItAbandoned() {
    LatchHolder holder(shared_.latch);
    return shared_.latch.abandoned();
  }

 private:
  static void* Map() {
    void* const memory =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(memory, MAP_FAILED);
    return memory;
  }

  Shared& shared_;
};

[[noreturn]] void BeKilled() {
  for (;;) syscall(SYS_kill, getpid(), SIGKILL);
}

// Runs the body, which is to end it.
pid_t StartChild(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child != 0) return child;
  (void)alarm(60);
  body();
  for (;;) syscall(SYS_exit_group, 1);
}

void ExpectKilled(pid_t child) {
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
}

// A child that is killed while it holds the latch.
void DieAsHolder(Shared& shared) {
  ExpectKilled(StartChild([&shared] {
    shared.latch.Lock();
    BeKilled();
  }));
}

// Till it is notified, and not by the end of the time.
bool AwaitValue(Shared& shared, int value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(shared.latch) {
  const auto deadline = steady_clock::now() + std::chrono::seconds(30);
  bool in_time = true;
  while (shared.value != value && in_time) {
    in_time = shared.changed.WaitUntil(shared.latch, deadline);
  }
  return in_time;
}

TEST_F(SharedLatch, ExcludesOtherProcesses) {
  constexpr int kRounds = 20'000;
  const auto count = [this] {
    for (int round = 0; round < kRounds; ++round) {
      LatchHolder holder(shared().latch);
      const int value = shared().value;
      std::atomic_signal_fence(std::memory_order_seq_cst);
      shared().value = value + 1;
    }
  };
  const pid_t child = StartChild([&] {
    shared().step = 1;
    count();
    BeKilled();
  });
  while (shared().step == 0) std::this_thread::yield();
  count();
  ExpectKilled(child);
  LatchHolder holder(shared().latch);
  EXPECT_EQ(shared().value, 2 * kRounds);
  EXPECT_FALSE(shared().latch.abandoned());
}

TEST_F(SharedLatch, IsNotAbandonedByAProcessThatHoldsItNoMore) {
  ExpectKilled(StartChild([this] {
    { LatchHolder holder(shared().latch); }
    BeKilled();
  }));
  EXPECT_FALSE(FindsItAbandoned());
}

TEST_F(SharedLatch, IsAbandonedByAHolderThatIsKilled) {
  DieAsHolder(shared());
  EXPECT_TRUE(FindsItAbandoned());
}

TEST_F(SharedLatch, StaysAbandonedUntilItIsRepaired) {
  DieAsHolder(shared());
  EXPECT_TRUE(FindsItAbandoned());
  EXPECT_TRUE(FindsItAbandoned());
  RunInChild([this] { EXPECT_TRUE(FindsItAbandoned()) << "another process is told too"; });
  {
    LatchHolder holder(shared().latch);
    shared().latch.SetRepaired();
    EXPECT_FALSE(shared().latch.abandoned());
  }
  EXPECT_FALSE(FindsItAbandoned());
  RunInChild([this] { EXPECT_FALSE(FindsItAbandoned()); });
}

TEST_F(SharedLatch, IsAbandonedAgainByWhoIsKilledWhileRepairing) {
  DieAsHolder(shared());
  DieAsHolder(shared());  // told, and killed before SetRepaired()
  EXPECT_TRUE(FindsItAbandoned());
  ExpectKilled(StartChild([this] {
    shared().latch.Lock();
    shared().latch.SetRepaired();
    BeKilled();
  }));
  EXPECT_TRUE(FindsItAbandoned());
  LatchHolder holder(shared().latch);
  shared().latch.SetRepaired();
}

TEST_F(SharedLatch, IsAbandonedByAThreadThatEndsAsHolder) {
  std::thread([this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { shared().latch.Lock(); }).join();
  EXPECT_TRUE(FindsItAbandoned());
}

TEST_F(SharedLatch, WakesWhoWaitsForItWhenItsHolderIsKilled) {
  const pid_t child = StartChild([this] {
    shared().latch.Lock();
    shared().step = 1;
    while (shared().step == 1) std::this_thread::yield();
    BeKilled();
  });
  while (shared().step == 0) std::this_thread::yield();
  shared().step = 2;
  EXPECT_TRUE(FindsItAbandoned());
  ExpectKilled(child);
}

// Killed at any place whatever, within Lock() and Unlock() too.
TEST_F(SharedLatch, TellsOfEveryChangeThatIsHalfMade) {
  constexpr int kRounds = 100;
  for (int round = 0; round < kRounds; ++round) {
    shared().step = 0;
    const pid_t child = StartChild([this] {
      for (;;) {
        LatchHolder holder(shared().latch);
        ++shared().value;
        shared().step.fetch_add(1);
        ++shared().copy;
      }
    });
    while (shared().step < 1 + 10 * round) std::this_thread::yield();
    ASSERT_EQ(kill(child, SIGKILL), 0);
    ExpectKilled(child);
    LatchHolder holder(shared().latch);
    if (shared().value == shared().copy && !shared().latch.abandoned()) continue;
    EXPECT_TRUE(shared().latch.abandoned());
    shared().copy = shared().value;
    shared().latch.SetRepaired();
  }
}

TEST(Latch, ThatIsNotSharedIsNeverAbandoned) {
  Guarded guarded;
  ExpectKilled(StartChild([&guarded] {
    guarded.latch.Lock();
    BeKilled();
  }));
  LatchHolder holder(guarded.latch);
  EXPECT_FALSE(guarded.latch.abandoned());
}

class SharedLatchCondition : public SharedLatch {
 protected:
  // A child that waits for the value 1, and is then killed.
  pid_t StartWaiter() {
    shared().step = 0;
    const pid_t child = StartChild([this] {
      {
        LatchHolder holder(shared().latch);
        shared().step = 1;
        if (!AwaitValue(shared(), 1)) return;
      }
      BeKilled();
    });
    while (shared().step == 0) std::this_thread::yield();
    LatchHolder holder(shared().latch);  // it has let go, to wait
    return child;
  }
  void Notify(int value) {
    LatchHolder holder(shared().latch);
    shared().value = value;
    shared().changed.NotifyAll();
  }
};

TEST_F(SharedLatchCondition, NotifiedByAChildWakesItsParent) {
  const pid_t child = StartChild([this] {
    while (shared().step == 0) std::this_thread::yield();
    {
      LatchHolder holder(shared().latch);  // the parent waits by now
      shared().value = 1;
      shared().changed.NotifyAll();
    }
    BeKilled();
  });
  {
    LatchHolder holder(shared().latch);
    shared().step = 1;
    EXPECT_TRUE(AwaitValue(shared(), 1));
  }
  ExpectKilled(child);
}

TEST_F(SharedLatchCondition, WakesEveryWaitingProcess) {
  const pid_t first = StartWaiter(), second = StartWaiter();
  Notify(1);
  ExpectKilled(first);
  ExpectKilled(second);
}

// Also of those that come between the waiter's letting go of the latch and its sleep.
TEST_F(SharedLatchCondition, LosesNoNotification) {
  constexpr int kRounds = 5'000;
  // One makes the value odd, the other even.
  const auto take_turns = [this](int first) {
    LatchHolder holder(shared().latch);
    for (int value = first; value < 2 * kRounds; value += 2) {
      if (!AwaitValue(shared(), value)) return false;
      shared().value = value + 1;
      shared().changed.NotifyAll();
    }
    return true;
  };
  const pid_t child = StartChild([&] {
    if (take_turns(1)) BeKilled();
  });
  EXPECT_TRUE(take_turns(0));
  ExpectKilled(child);
}

TEST_F(SharedLatchCondition, IsNoneTheWorseForAWaiterThatWasKilled) {
  for (int round = 0; round < 3; ++round) {
    const pid_t victim = StartWaiter();
    ASSERT_EQ(kill(victim, SIGKILL), 0);
    ExpectKilled(victim);
    EXPECT_FALSE(FindsItAbandoned()) << "it held nothing";
    Notify(0);
    const pid_t waiter = StartWaiter();
    Notify(1);
    ExpectKilled(waiter);
    Notify(0);
    LatchHolder holder(shared().latch);
    EXPECT_FALSE(shared().changed.WaitUntil(shared().latch, steady_clock::time_point::min()));
  }
}

}  // namespace
}  // namespace os
