// RunInSideChild: a function in a child that shares this process' memory, but nothing else.
//
// Resource limits and descriptors of the child are copies: it can lower a limit, or open and close
// a file without taking away the record locks that the process holds on it (a close in the process
// itself drops them all, see fcntl(2)). The caller's thread waits meanwhile and gets no signals;
// other threads go on. The program does not see the child: no signal at its end, not found by
// wait(2) without __WCLONE or __WALL, no handlers of fork run.
//
// Allocates nothing. Safe from every thread, not from signal handlers. Costs some fifty
// microseconds.

#ifndef OS_SIDE_CHILD_H_
#define OS_SIDE_CHILD_H_

namespace os {

// What runs there uses the stack and the thread-local variables of a thread that it is not: it may
// only call syscall(2), read and write what its argument leads to, and use 4 KiB of stack.
#define OS_RUNS_IN_SIDE_CHILD \
  __attribute__((no_sanitize("address"), no_sanitize("thread"), no_sanitize("undefined")))

// Returns when the function has, or the child was killed: an answer is left where `argument` leads
// to. False: no child could be made (seccomp, RLIMIT_NPROC). Leaves errno alone.
bool RunInSideChild(int (*function)(void* argument), void* argument);

}  // namespace os

#endif  // OS_SIDE_CHILD_H_
