// CallAroundFork: what a library has to do when the process forks (pthread_atfork(3)).

#ifndef OS_AT_FORK_H_
#define OS_AT_FORK_H_

namespace os {

// From now on fork(3) calls `before` first, then `in_parent` and `in_child` there, in the thread that
// forks. For good: there is no way back. False: no memory. What clone(2) makes is not noticed.
bool CallAroundFork(void (*before)(), void (*in_parent)(), void (*in_child)());

}  // namespace os

#endif  // OS_AT_FORK_H_
