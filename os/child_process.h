// RunInChild and helpers: tests that fork, or that give up privilege for good.
//
// A child of a test must not run the test framework's epilogue: it reports by its exit status.

#ifndef OS_CHILD_PROCESS_H_
#define OS_CHILD_PROCESS_H_

#include <cstddef>
#include <functional>

#include "os/errno.h"

namespace os::testing {

// Forks, runs `body` in the child, ends the child by _exit with what it returns (0 to 255; a body
// that throws ends with 255), and waits. Returns that status, or 256 plus the number of the signal
// that killed the child. -1: no child could be forked. Precondition: no other thread holds a latch
// or is in malloc.
int RunInChild(const std::function<int()>& body);

// Sets RLIMIT_MEMLOCK, soft alone, in bytes, so that it can be raised again up to the hard limit.
Errno SetMemlockLimit(size_t bytes);

// Gives up CAP_IPC_LOCK for good, so that the lock limit holds for root too. Works without
// privilege and in any user namespace; the user stays the same.
Errno DropLockPrivilege();

}  // namespace os::testing

#endif  // OS_CHILD_PROCESS_H_
