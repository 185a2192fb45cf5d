// SyscallCounter: counts the system calls of the calling thread.
//
// The evidence that a piece of code did not enter the kernel. It uses Syscall User Dispatch
// (prctl(2), PR_SET_SYSCALL_USER_DISPATCH): the kernel turns each call into a SIGSYS, whose handler
// counts it and lets it through. No privilege, no other process, no thread but this one. What the
// vDSO answers without the kernel (clock_gettime(2), mostly) is not a system call and not counted.
//
// Available with Linux 5.11 on x86-64; kernels of other machines do not have it.

#ifndef OS_SYSCALL_COUNT_H_
#define OS_SYSCALL_COUNT_H_

#include <cstdint>
#include <string>

#include "os/errno.h"

namespace os {

struct SyscallCount {
  uint64_t calls = 0;
  int first = -1;  // its number (SYS_*); -1: there was none
  // False where counting ended early: `calls` is what was counted until then, that call included.
  bool complete = true;
};

// As in "getpid", or "system call 9999" where the name is not known here.
std::string NameOfSyscall(int number);

// While it counts, calls do what they always do, with the same results and the same errno, a few
// microseconds slower. The program's action for SIGSYS comes back when the last thread stops.
//
// Some calls are let through and end the counting, because from then on SIGSYS could not be
// handled as needed: fork, vfork, clone, exec, and what blocks SIGSYS or replaces its action or
// this mechanism. What they start (a child, a thread) is never counted. Calls of signal handlers
// that run on this thread count as its own; a handler that blocks SIGSYS (sa_mask) and makes a
// system call while this thread is counted ends the process by SIGSYS.
//
// Thread-safety: threads may count at the same time, each with an object of its own, which is used
// by that thread only. fork: the child is not counted. Must not be left by longjmp(3).
class SyscallCounter {
 public:
  SyscallCounter() = default;
  SyscallCounter(const SyscallCounter&) = delete;
  SyscallCounter& operator=(const SyscallCounter&) = delete;
  ~SyscallCounter() { (void)Stop(); }

  // Begins at 0. Tries it on one call first, so the handler has been run before anything counts.
  // Aborts where this thread counts already. ENOSYS, EINVAL: this kernel or machine cannot; EPERM
  // and others: prctl(2) is forbidden by a seccomp filter.
  Errno Start();
  // Ends. Without a successful Start before it: nothing was counted.
  SyscallCount Stop();

 private:
  bool started_ = false;
};

}  // namespace os

#endif  // OS_SYSCALL_COUNT_H_
