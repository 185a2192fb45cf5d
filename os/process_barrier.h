// ProcessBarrier: the dear half of an asymmetric memory fence.
//
// Two threads that each write a word of their own and then read the other's need a full fence on
// both sides, so that not both read the old value. Where one side runs a thousand times as often as
// the other, it can do without: the seldom one makes every thread of the process pass a full fence
// (membarrier(2), MEMBARRIER_CMD_PRIVATE_EXPEDITED). The frequent side then needs only that the
// compiler keeps the order (std::atomic_signal_fence).

#ifndef OS_PROCESS_BARRIER_H_
#define OS_PROCESS_BARRIER_H_

#include <atomic>

#include "os/thread_sanitizer.h"

namespace os {

// How the frequent side stores its own word, and loads the other one after that. ThreadSanitizer knows no
// such barrier: for it both sides have fences of the language.
inline constexpr bool kBarrierIsSeen = OS_THREAD_SANITIZER == 0;
inline constexpr std::memory_order kStoreBeforeLoad =
    kBarrierIsSeen ? std::memory_order_release : std::memory_order_seq_cst;
inline constexpr std::memory_order kLoadAfterStore =
    kBarrierIsSeen ? std::memory_order_acquire : std::memory_order_seq_cst;

// Makes ProcessBarrier() usable in this process. False where the kernel (older than 4.14) or a
// sandbox has no membarrier(2). May be called again; a forked child needs a call of its own.
// Thread-safe. Enters the kernel.
bool PrepareProcessBarrier();

// Every thread of the process has executed a full memory fence between the call and its return; the
// caller too. Aborts where PrepareProcessBarrier() has not returned true. Thread-safe. Enters the
// kernel: some 0.2 µs where no other thread runs, else some microseconds, and interrupts those that
// do.
void ProcessBarrier();

// The same between processes, for memory that they share: every thread of every process that has
// prepared it (MEMBARRIER_CMD_GLOBAL_EXPEDITED, Linux 4.16).
bool PrepareSharedBarrier();
void SharedBarrier();

}  // namespace os

#endif  // OS_PROCESS_BARRIER_H_
