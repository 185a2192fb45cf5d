// LockerState: all that is known about the locks of a process, and who may look at it when.
//
// Two things keep callers apart:
//  * the latch, held for as long as somebody looks at the state or changes it, never while the
//    kernel locks, unlocks or reads in. TableHolder takes it and closes the gate to nested pins.
//  * claims. A caller that is about to call the kernel for some pages claims the leaves that they
//    lie in; whoever needs one of these waits. So a page on its way from 0 to 1 or back is one
//    caller's alone, and a thread that pins a gigabyte holds up nobody but who wants a part of it.
//
// The state is plain data whose zero bytes mean "nothing is locked". In a process it lives in
// memory that fork wipes (ProcessLocker), because a child inherits no locks from the kernel.

#ifndef PINLOCK_INTERNAL_LOCKER_STATE_H_
#define PINLOCK_INTERNAL_LOCKER_STATE_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "os/latch.h"
#include "os/page_range.h"
#include "pinlock/internal/admission.h"
#include "pinlock/internal/gate.h"
#include "pinlock/internal/inside.h"
#include "pinlock/internal/io_ranges.h"
#include "pinlock/internal/lock_table.h"
#include "pinlock/internal/table_blocks.h"

namespace pinlock::internal {

// Counts since the process began; the first two are how things stand now.
struct LockStats {
  uint64_t pages_locked = 0;
  uint64_t pages_residual = 0;
  uint64_t pins = 0;
  uint64_t unpins = 0;
  uint64_t kernel_locks = 0;
  uint64_t kernel_unlocks = 0;
  uint64_t failures = 0;
  uint64_t forgotten = 0;
  uint64_t pages_max = 0;
  uint64_t failures_limit = 0;
  uint64_t failures_room = 0;
};

class Claim;

struct LockerState {
  os::Latch latch;
  Gate gate;
  os::LatchCondition claims_changed;
  LockTable table ABSL_GUARDED_BY(latch);
  BlockPool blocks ABSL_GUARDED_BY(latch);
  LockStats stats ABSL_GUARDED_BY(latch);
  IoRanges io ABSL_GUARDED_BY(latch);
  AdmissionNotes notes ABSL_GUARDED_BY(latch);
  const Claim* claims ABSL_GUARDED_BY(latch) = nullptr;
  uint64_t pages_pending ABSL_GUARDED_BY(latch) = 0;  // being locked, not counted yet
  // Pages at 0 that somebody is unlocking: marked residual until that is done.
  uint64_t pages_unlocking ABSL_GUARDED_BY(latch) = 0;
  os::PageNumber next_retry ABSL_GUARDED_BY(latch);  // where to go on with residual pages
  uint64_t pages_max ABSL_GUARDED_BY(latch) = 0;     // PLOCK_MAX; 0 is none
  bool verify ABSL_GUARDED_BY(latch) = false;        // PINLOCK_VERIFY
  // Somebody moves memory to where the kernel chooses (page_changes.cc).
  bool moving ABSL_GUARDED_BY(latch) = false;

  // What a nested pin may use without the latch (lock_table.h).
  LockTable& shared_table() ABSL_NO_THREAD_SAFETY_ANALYSIS { return table; }
  // Whether the kernel has refused to unlock pages, and nobody is at it now.
  bool has_residual() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch) {
    return table.pages_residual() > pages_unlocking;
  }
  // Opens the gate unless every call has to come by.
  void OpenGate() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch) {
    if (!verify && !moving && io.empty() && !has_residual()) gate.Open();
  }
};

// Holds the latch for a scope, with the gate closed.
class ABSL_SCOPED_LOCKABLE TableHolder {
 public:
  explicit TableHolder(LockerState& state) ABSL_EXCLUSIVE_LOCK_FUNCTION(state.latch)
      : state_(state) {
    state_.latch.Lock();
    state_.gate.Close();
  }
  ~TableHolder() ABSL_UNLOCK_FUNCTION() {
    state_.OpenGate();
    state_.latch.Unlock();
  }
  TableHolder(const TableHolder&) = delete;
  TableHolder& operator=(const TableHolder&) = delete;

 private:
  const ScopedInside inside_;
  LockerState& state_;
};

// The opposite, for a call of the kernel: lets go of both for a scope.
class ABSL_SCOPED_LOCKABLE TableRelease {
 public:
  explicit TableRelease(LockerState& state) OS_RELEASES_EXCLUSIVELY(state.latch) : state_(state) {
    state_.OpenGate();
    state_.latch.Unlock();
  }
  ~TableRelease() ABSL_UNLOCK_FUNCTION() {
    state_.latch.Lock();
    state_.gate.Close();
  }
  TableRelease(const TableRelease&) = delete;
  TableRelease& operator=(const TableRelease&) = delete;

 private:
  LockerState& state_;
};

// Keeps others from the leaves of one or two ranges for a scope. Made and ended with the latch
// held. Waits where somebody else has a claim on one of them, for the end of one call; nobody who
// has a claim waits for another, but for one at a time who moves memory (page_changes.cc). At its
// end, leaves that have become empty are given up.
class Claim {
 public:
  Claim(LockerState& state, os::Memory& memory, os::PageRange pages, os::PageRange more = {})
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.latch);
  ~Claim() ABSL_NO_THREAD_SAFETY_ANALYSIS;
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;

  // Whether somebody has a claim on a leaf of the pages, `but` left out.
  static bool IsClaimed(const LockerState& state, os::PageRange pages, const Claim* but = nullptr)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.latch);
  // Waits until a claim ends, or a move; the latch is not held meanwhile.
  static void Await(LockerState& state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.latch);

 private:
  bool Touches(os::PageRange leaves) const;

  LockerState& state_;
  os::Memory& memory_;
  const os::PageRange leaves_;
  const os::PageRange more_leaves_;
  const Claim* next_ = nullptr;
};

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_LOCKER_STATE_H_
