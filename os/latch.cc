#include "os/latch.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace os {
namespace {

// pthread calls on a valid latch fail only where an invariant is broken.
void CheckSuccess(int error, const char* call) {
  if (error == 0) return;
  std::fprintf(stderr, "%s: %s\n", call, std::strerror(error));
  std::abort();
}

}  // namespace

void Latch::Lock() { CheckSuccess(pthread_mutex_lock(&mutex_), "pthread_mutex_lock"); }
void Latch::Unlock() { CheckSuccess(pthread_mutex_unlock(&mutex_), "pthread_mutex_unlock"); }

LatchCondition::LatchCondition() {
  CheckSuccess(pthread_cond_init(&condition_, nullptr), "pthread_cond_init");
}
LatchCondition::~LatchCondition() { (void)pthread_cond_destroy(&condition_); }

void LatchCondition::Wait(Latch& latch) {
  CheckSuccess(pthread_cond_wait(&condition_, &latch.mutex_), "pthread_cond_wait");
}

bool LatchCondition::WaitUntil(Latch& latch, std::chrono::steady_clock::time_point deadline) {
  // libstdc++'s steady_clock is CLOCK_MONOTONIC.
  const std::chrono::steady_clock::time_point epoch;  // nothing to wait for before it
  const auto since_epoch = std::max(deadline, epoch).time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since_epoch);
  timespec when{};
  when.tv_sec = seconds.count();
  when.tv_nsec =
      std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch - seconds).count();
  const int error = pthread_cond_clockwait(&condition_, &latch.mutex_, CLOCK_MONOTONIC, &when);
  if (error == ETIMEDOUT) return false;
  CheckSuccess(error, "pthread_cond_clockwait");
  return true;
}

void LatchCondition::NotifyAll() {
  CheckSuccess(pthread_cond_broadcast(&condition_), "pthread_cond_broadcast");
}

}  // namespace os
