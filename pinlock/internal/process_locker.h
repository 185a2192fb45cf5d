// ProcessLocker: the one PageLocker of this process.
//
// Its state lives in memory that fork(2) and clone(2) without CLONE_VM wipe, so a child starts with
// no counts and a free latch, whatever the parent's other threads were doing, as it starts with no
// locks in the kernel. exec ends everything, in the kernel and here.

#ifndef PINLOCK_INTERNAL_PROCESS_LOCKER_H_
#define PINLOCK_INTERNAL_PROCESS_LOCKER_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "os/limits.h"
#include "os/memory.h"
#include "pinlock/internal/page_locker.h"

namespace pinlock::internal {

// nullopt: no memory for the state (or a kernel older than Linux 4.14). Safe from every thread.
std::optional<PageLocker> ProcessLocker();

// The same, but nullopt also where nothing was ever locked in this process: then there is nothing
// to be told; and in a signal handler that has interrupted a call of this library, which holds what
// it would wait for.
std::optional<PageLocker> ProcessLockerInUse();

// PageLocker::Lock and Unlock for nested pins, by the short way: false, with nothing changed, where
// it is not to be had. Never enter the kernel, never wait.
bool TryNestedPin(uintptr_t address, size_t bytes);
bool TryNestedUnpin(uintptr_t address, size_t bytes);

// PLOCK_MAX of this process and, unlike the counts, of the children that it forks from now on.
// False: no memory for the state.
bool SetProcessMaxPages(uint64_t pages);

// A number that no ancestor of this process has had: tells a lock that was taken in this process
// from one that was inherited with a copy of the memory. 0: nothing was ever locked here.
uint64_t ProcessGeneration();

// For tests: while it lives, ProcessLocker() works on another state, memory and limits, in children
// of fork(2) too. Aborts, saying why, where pages are locked when it begins, or another one lives.
// No call of the library may be under way in another thread when it begins or ends.
class ScopedProcessLocker {
 public:
  // The caller keeps all three alive. Where the test forks, `state` lies in memory that fork wipes.
  ScopedProcessLocker(LockerState& state, os::Memory& memory, const os::Limits& limits);
  ScopedProcessLocker(const ScopedProcessLocker&) = delete;
  ScopedProcessLocker& operator=(const ScopedProcessLocker&) = delete;
  ~ScopedProcessLocker();

  PageLocker locker() const { return PageLocker(state_, memory_, limits_); }

 private:
  LockerState& state_;
  os::Memory& memory_;
  const os::Limits& limits_;
};

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_PROCESS_LOCKER_H_
