// PageLocker: nested page locks, all or nothing.
//
// The coordinator of this library: owns the latch, keeps LockTable and the kernel in step, and
// finds out why a lock failed. Invariants, at every moment that the latch is free:
//  1. A page with a count above 0 is locked in the kernel, and was resident before it was counted.
//  2. A page with count 0 is not locked by us, or it is marked residual.
//  3. A call that failed left every count and every kernel lock of this library as they were.
//
// The state is plain data whose zero bytes mean "nothing is locked". In a process it lives in
// memory that fork wipes (ProcessLocker), because a child inherits no locks from the kernel.
// Thread-safe. Blocks while pages are read in.

#ifndef PINLOCK_INTERNAL_PAGE_LOCKER_H_
#define PINLOCK_INTERNAL_PAGE_LOCKER_H_

#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "os/latch.h"
#include "os/memory.h"
#include "pinlock/internal/failure.h"
#include "pinlock/internal/lock_table.h"

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
};

// A range's pages, as counted here and as present in the page tables.
struct RangeInfo {
  uint64_t pages = 0;
  uint64_t pages_locked = 0;
  uint64_t pages_resident = 0;
  uint16_t count_min = 0;
  uint16_t count_max = 0;
};

// Unused blocks of table memory, and the rest of the last chunk that was mapped for them.
struct BlockPool {
  struct FreeBlock {
    FreeBlock* next;
  };
  FreeBlock* free_nodes = nullptr;
  FreeBlock* free_counts = nullptr;
  std::byte* chunk_next = nullptr;
  std::byte* chunk_end = nullptr;
};

struct LockerState {
  os::Latch latch;
  LockTable table ABSL_GUARDED_BY(latch);
  BlockPool blocks ABSL_GUARDED_BY(latch);
  LockStats stats ABSL_GUARDED_BY(latch);
};

class PageLocker {
 public:
  // Both must outlive the locker, which has no state of its own.
  PageLocker(LockerState& state, os::Memory& memory) : state_(state), memory_(memory) {}

  // Adds one to the count of every page that holds any of the bytes, locking those that were at 0.
  // On failure `failure` tells why and nothing has changed; its error is returned.
  os::Errno Lock(uintptr_t address, size_t bytes, Failure& failure);
  // Takes one from the count of every page, unlocking those that get to 0.
  os::Errno Unlock(uintptr_t address, size_t bytes, Failure& failure);

  os::Errno Query(uintptr_t address, size_t bytes, RangeInfo& info, Failure& failure);
  LockStats Stats();

 private:
  class Blocks;

  os::Errno LockRuns(os::PageRange range, Failure& failure)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::Errno UnlockRuns(os::PageRange range, Failure& failure)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  void UndoLock(os::PageRange range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  void UndoUnlock(os::PageRange range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  void UnlockUncounted(os::PageRange run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::PageCount CountUnlocked(os::PageRange range) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  void RetryResidual() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::Errno KernelLock(os::PageRange run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  os::Errno KernelUnlock(os::PageRange run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  // Whether every page of the range is mapped.
  bool Mapped(os::PageRange range) const;
  os::Errno Fail(Cause cause, os::PageNumber where, Failure& failure)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);
  // The pages of the range, or the failure.
  os::Result<os::PageRange> PagesOf(uintptr_t address, size_t bytes, Operation operation,
                                    Failure& failure) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.latch);

  LockerState& state_;
  os::Memory& memory_;
};

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_PAGE_LOCKER_H_
