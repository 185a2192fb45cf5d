// Latch and LatchCondition: mutual exclusion on this project's own data.
//
// A thin class over pthread_mutex_t rather than absl::Mutex for two reasons: a latch made of zero
// bytes is a free latch, so one that lives in memory wiped by fork is free in the child whoever
// held it; and Debian's prebuilt Abseil is not instrumented, so ThreadSanitizer would not see its
// mutexes. An uncontended Lock or Unlock does not enter the kernel. Not reentrant.
//
// A latch in memory that processes share (Share()) survives the death of any of them: the next
// holder is told that what it guards may be half changed (abandoned()). A condition works between
// processes as it is; one of zero bytes is as good as new.

#ifndef OS_LATCH_H_
#define OS_LATCH_H_

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstdint>

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

  // Makes it one for several processes. Once, before anybody uses it.
  void Share();
  // For the holder: a process has died while it held the latch, and nobody has called SetRepaired()
  // since. Of one that is not shared: never.
  bool abandoned() const { return abandoned_; }
  void SetRepaired() { abandoned_ = false; }

 private:
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  bool abandoned_ = false;
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

// Waiting for a change of the data under a latch. Wakes spuriously: wait in a loop. Where the
// process of a waiter dies, later notifications enter the kernel in vain, and that is all.
class LatchCondition {
 public:
  LatchCondition() = default;
  LatchCondition(const LatchCondition&) = delete;
  LatchCondition& operator=(const LatchCondition&) = delete;

  void Wait(Latch& latch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch);
  // False where the deadline passed first.
  bool WaitUntil(Latch& latch, std::chrono::steady_clock::time_point deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch);
  // Does not enter the kernel where nobody waits.
  void NotifyAll();

 private:
  std::atomic<uint32_t> sequence_ = 0;  // of notifications; what the kernel waits on
  std::atomic<uint32_t> waiters_ = 0;
};

}  // namespace os

#endif  // OS_LATCH_H_
