// PageLocker: nested page locks, all or nothing.
//
// The coordinator of this library: keeps LockTable and the kernel in step, and finds out why a lock
// failed. Invariants, for every page that nobody has a claim on (locker_state.h):
//  1. A page with a count above 0 is locked in the kernel, and was resident before it was counted.
//  2. A page with count 0 is not locked by us, or it is marked residual.
//  3. A call that failed left every count and every kernel lock of this library as they were.
// They hold as far as nobody else unlocks or unmaps the pages, or who does says so: Forget, Moved,
// Replacing, Remapping.
//
// Thread-safe. All calls go over the latch of the process, which is not held while the kernel works.
// The nested pins that need no latch (lock_table.h) are tried before (process_locker.h).

#ifndef PINLOCK_INTERNAL_PAGE_LOCKER_H_
#define PINLOCK_INTERNAL_PAGE_LOCKER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "os/limits.h"
#include "os/memory.h"
#include "pinlock/internal/failure.h"
#include "pinlock/internal/locker_state.h"

namespace pinlock::internal {

// A range's pages, as counted here and as present in the page tables.
struct RangeInfo {
  uint64_t pages = 0;
  uint64_t pages_locked = 0;
  uint64_t pages_resident = 0;
  uint16_t count_min = 0;
  uint16_t count_max = 0;
};

// Where a call puts a range of addresses, in bytes.
struct ByteRange {
  uintptr_t address = 0;
  size_t bytes = 0;
};

class Pacer;

class PageLocker {
 public:
  // All must outlive the locker, which has no state of its own.
  PageLocker(LockerState& state, os::Memory& memory, const os::Limits& limits)
      : state_(state), memory_(memory), limits_(limits) {}

  // Adds one to the count of every page that holds any of the bytes, locking those that were at 0.
  // On failure `failure` tells why and nothing has changed; its error is returned.
  os::Errno Lock(uintptr_t address, size_t bytes, Failure& failure);
  // Whether Lock would be refused now, and why, as far as that is known without locking. Counts and
  // locks nothing.
  os::Errno Check(uintptr_t address, size_t bytes, Failure& failure);
  // Takes one from the count of every page, unlocking those that get to 0.
  os::Errno Unlock(uintptr_t address, size_t bytes, Failure& failure);
  // Locks pages again that all have counts: after a fork, or after somebody else's munlock.
  os::Errno Refresh(uintptr_t address, size_t bytes, Failure& failure);

  // The memory was unmapped or replaced: counts get to 0. What is mapped there now is unlocked.
  os::Errno Forget(uintptr_t address, size_t bytes, Failure& failure);
  // The memory was moved, and perhaps resized, by mremap(2): its counts go with it. Pages that it
  // grew by have no counts and are unlocked.
  os::Errno Moved(ByteRange from, ByteRange to, Failure& failure);

  // Makes a call that unmaps or replaces the memory of the range, and forgets it if it succeeds
  // (where it fails, what has become a hole all the same). Nobody sees the counts of memory that is
  // gone. With `unlock`, the memory stays mapped and is unlocked. False: the call failed, or there
  // was no memory for the counters and errno is ENOMEM.
  bool Replacing(ByteRange range, bool unlock, absl::FunctionRef<bool()> call);
  // Makes a call that moves memory to where it returns; 0 is failure. The same of mremap(2).
  // `new_address`: where it is told to go (MREMAP_FIXED).
  uintptr_t Remapping(ByteRange from, size_t new_bytes, std::optional<uintptr_t> new_address,
                      absl::FunctionRef<uintptr_t()> call);

  // While a thread is between the two, another's Unlock of the pages is EBUSY.
  os::Errno IoBegin(uintptr_t address, size_t bytes, Failure& failure);
  os::Errno IoEnd(uintptr_t address, size_t bytes, Failure& failure);

  os::Errno Query(uintptr_t address, size_t bytes, RangeInfo& info, Failure& failure);
  LockStats Stats();
  // PLOCK_MAX, in distinct pages; 0 is none. Binds callers without privilege.
  // Reads it with the latch held: of two callers, what was stored last holds.
  void SetMaxPages(const std::atomic<uint64_t>& pages);
  // Whether every nested pin is compared with the kernel's locks; a difference aborts.
  void SetVerify(bool verify);

 private:
  // Those of the range that a call has to deal with. EINVAL, told in `failure`: it wraps.
  os::Result<os::PageRange> PagesOf(ByteRange bytes, Operation operation, Failure& failure);

  os::Errno LockClaimed(os::PageRange range, Failure& failure)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::Errno LockUncounted(os::PageRange range, bool some_counted, Failure& failure)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::Errno FindObstacle(os::PageRange range, os::PageCount more, Failure& failure)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::Errno CheckLimits(os::PageRange range, os::PageCount held, os::PageCount more,
                        Failure& failure) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::Errno CheckAtOnce(os::PageRange range, os::PageCount more, Failure& failure)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::PageCount CountUncharged(os::PageRange range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  bool IsPrivileged() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::Errno LockRuns(os::PageRange range, bool whole, Failure& failure)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::Errno Explain(os::PageRange range, os::PageCount more, os::Errno error, Failure& failure)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::Errno LockStep(os::PageRange step, bool& touched, Failure& failure)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::Errno UnlockClaimed(os::PageRange range, Failure& failure)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::Errno UnlockLastOfPage(os::PageRange page, Failure& failure)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  void UnlockRuns(os::PageRange range, bool (*wanted)(const LockTable::Segment&))
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  bool UnlockUncounted(os::PageRange run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  void RetryResidual() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  void BetweenSteps(Pacer& pacer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::PageCount CountUnlocked(os::PageRange range) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  std::optional<os::PageNumber> FirstHole(os::PageRange range)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::Errno Prepare(os::PageRange range, bool all_counted, Failure& failure)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  bool HoldsAny(os::PageRange range) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  void Drop(os::PageRange range, bool unlock) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  void DropHoles(os::PageRange range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  void DropHeld(os::PageRange range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  void ForgetPlain();
  bool IsLocked(os::PageRange range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  bool ReserveForMove(os::PageRange from, os::PageCount grown)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  void MoveCounts(os::PageRange from, os::PageRange to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  void FollowMove(os::PageRange from, os::PageRange to, bool was_locked)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  uintptr_t RemappingHeld(os::PageRange from, os::PageCount pages,
                          std::optional<os::PageNumber> place, absl::FunctionRef<uintptr_t()> call)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  void VerifyLocked(os::PageRange range, const Failure& call)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::Errno Fail(Cause cause, os::PageNumber where, Failure& failure)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  void CountFailure(const Failure& failure) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::Errno FailAtFirst(Cause cause, os::PageRange range, uint16_t count, Failure& failure)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);

  LockerState& state_;
  os::Memory& memory_;
  const os::Limits& limits_;
};

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_PAGE_LOCKER_H_
