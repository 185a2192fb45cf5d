// ProcessLocker: the one PageLocker of this process.
//
// Its state lives in memory that fork(2) and clone(2) without CLONE_VM wipe, so a child starts with
// no counts and a free latch, whatever the parent's other threads were doing, as it starts with no
// locks in the kernel. exec ends everything, in the kernel and here.

#ifndef PINLOCK_INTERNAL_PROCESS_LOCKER_H_
#define PINLOCK_INTERNAL_PROCESS_LOCKER_H_

#include <cstdint>
#include <optional>

#include "pinlock/internal/page_locker.h"

namespace pinlock::internal {

// nullopt: no memory for the state (or a kernel older than Linux 4.14). Safe from every thread.
std::optional<PageLocker> ProcessLocker();

// A number that no ancestor of this process has had: tells a lock that was taken in this process
// from one that was inherited with a copy of the memory. 0: nothing was ever locked here.
uint64_t ProcessGeneration();

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_PROCESS_LOCKER_H_
