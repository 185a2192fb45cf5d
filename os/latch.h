// Latch and LatchCondition: mutual exclusion on this project's own data.
//
// A thin class over pthread_mutex_t rather than absl::Mutex for two reasons: a latch made of zero
// bytes is a free latch, so one that lives in memory wiped by fork is free in the child whoever
// held it; and Debian's prebuilt Abseil is not instrumented, so ThreadSanitizer would not see its
// mutexes. An uncontended Lock or Unlock does not enter the kernel. Neither is reentrant.

#ifndef OS_LATCH_H_
#define OS_LATCH_H_

#include <pthread.h>

#include <chrono>

#include "absl/base/thread_annotations.h"

// clang's analysis takes ABSL_UNLOCK_FUNCTION on a constructor for something else.
#ifdef __clang__
#define OS_RELEASES_EXCLUSIVELY(latch) __attribute__((release_capability(latch)))
#else
#define OS_RELEASES_EXCLUSIVELY(latch)
#endif

namespace os {

class ABSL_LOCKABLE Latch {
 public:
  constexpr Latch() = default;
  Latch(const Latch&) = delete;
  Latch& operator=(const Latch&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION();
  void Unlock() ABSL_UNLOCK_FUNCTION();

 private:
  friend class LatchCondition;
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
};

// Holds a latch for a scope; may let go of it in between, for I/O.
class ABSL_SCOPED_LOCKABLE LatchHolder {
 public:
  explicit LatchHolder(Latch& latch) ABSL_EXCLUSIVE_LOCK_FUNCTION(latch) : latch_(latch) {
    latch_.Lock();
  }
  ~LatchHolder() ABSL_UNLOCK_FUNCTION() { latch_.Unlock(); }
  LatchHolder(const LatchHolder&) = delete;
  LatchHolder& operator=(const LatchHolder&) = delete;

 private:
  Latch& latch_;
};

// The opposite: lets go of a held latch for a scope, and takes it again at its end.
class ABSL_SCOPED_LOCKABLE LatchRelease {
 public:
  explicit LatchRelease(Latch& latch) OS_RELEASES_EXCLUSIVELY(latch) : latch_(latch) {
    latch_.Unlock();
  }
  // Says to clang's analysis that what the constructor did is over: the latch is held again.
  ~LatchRelease() ABSL_UNLOCK_FUNCTION() { latch_.Lock(); }
  LatchRelease(const LatchRelease&) = delete;
  LatchRelease& operator=(const LatchRelease&) = delete;

 private:
  Latch& latch_;
};

// Waiting for a change of the data under a latch. Wakes spuriously: wait in a loop.
class LatchCondition {
 public:
  LatchCondition();
  ~LatchCondition();
  LatchCondition(const LatchCondition&) = delete;
  LatchCondition& operator=(const LatchCondition&) = delete;

  void Wait(Latch& latch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch);
  // False where the deadline passed first.
  bool WaitUntil(Latch& latch, std::chrono::steady_clock::time_point deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch);
  void NotifyAll();

 private:
  pthread_cond_t condition_;
};

}  // namespace os

#endif  // OS_LATCH_H_
