#include "os/latch.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace os {
namespace {

// pthread calls on a valid latch fail only where an invariant is broken.
void CheckSuccess(int error, const char* call) {
  if (error == 0) return;
  std::fprintf(stderr, "%s: %s\n", call, std::strerror(error));
  std::abort();
}

timespec AbsoluteTime(std::chrono::steady_clock::time_point deadline) {
  // libstdc++'s steady_clock is CLOCK_MONOTONIC.
  const std::chrono::steady_clock::time_point epoch;  // nothing to wait for before it
  const auto since_epoch = std::max(deadline, epoch).time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since_epoch);
  timespec when{};
  when.tv_sec = seconds.count();
  when.tv_nsec =
      std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch - seconds).count();
  return when;
}

// Not the variant for one process alone: the word may be in shared memory.
long Futex(std::atomic<uint32_t>& word, int operation, uint32_t value, const timespec* deadline) {
  return syscall(SYS_futex, &word, operation, value, deadline, nullptr, FUTEX_BITSET_MATCH_ANY);
}

}  // namespace

void Latch::Share() {
  pthread_mutexattr_t attributes;
  CheckSuccess(pthread_mutexattr_init(&attributes), "pthread_mutexattr_init");
  CheckSuccess(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED),
               "pthread_mutexattr_setpshared");
  CheckSuccess(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST),
               "pthread_mutexattr_setrobust");
  CheckSuccess(pthread_mutex_init(&mutex_, &attributes), "pthread_mutex_init");
  CheckSuccess(pthread_mutexattr_destroy(&attributes), "pthread_mutexattr_destroy");
}

void Latch::Lock() {
  const int error = pthread_mutex_lock(&mutex_);
  if (error == EOWNERDEAD) {
    abandoned_ = true;  // first: whoever is killed after the next line has said so
    std::atomic_signal_fence(std::memory_order_seq_cst);
    CheckSuccess(pthread_mutex_consistent(&mutex_), "pthread_mutex_consistent");
    return;
  }
  CheckSuccess(error, "pthread_mutex_lock");
}

void Latch::Unlock() { CheckSuccess(pthread_mutex_unlock(&mutex_), "pthread_mutex_unlock"); }

void LatchCondition::Wait(Latch& latch) {
  (void)WaitUntil(latch, std::chrono::steady_clock::time_point::max());
}

// The waiter has looked at the sequence, and counted itself, before it let go of the latch. Who
// notifies changes the sequence and then looks at the count: one of them sees the other.
bool LatchCondition::WaitUntil(Latch& latch, std::chrono::steady_clock::time_point deadline) {
  const uint32_t seen = sequence_.load(std::memory_order_seq_cst);
  waiters_.fetch_add(1, std::memory_order_seq_cst);
  const bool has_end = deadline != std::chrono::steady_clock::time_point::max();
  const timespec when = has_end ? AbsoluteTime(deadline) : timespec{};
  latch.Unlock();
  const bool in_time = Futex(sequence_, FUTEX_WAIT_BITSET, seen, has_end ? &when : nullptr) == 0 ||
                       errno != ETIMEDOUT;
  latch.Lock();
  waiters_.fetch_sub(1, std::memory_order_seq_cst);
  return in_time;
}

void LatchCondition::NotifyAll() {
  sequence_.fetch_add(1, std::memory_order_seq_cst);
  if (waiters_.load(std::memory_order_seq_cst) == 0) return;
  (void)Futex(sequence_, FUTEX_WAKE_BITSET, std::numeric_limits<int>::max(), nullptr);
}

}  // namespace os
