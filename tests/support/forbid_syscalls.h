// ForbidSyscalls: a kernel, or a container, that refuses some system calls.

#ifndef TESTS_SUPPORT_FORBID_SYSCALLS_H_
#define TESTS_SUPPORT_FORBID_SYSCALLS_H_

#include <span>

namespace test_support {

// From now on the system calls of these numbers (SYS_*) fail in this thread, and in those that it
// makes, with `error`, an errno. Cannot be undone: for RunInChild. Skips the test where there are
// no seccomp filters (see IsSkipped). At most 16.
void ForbidSyscalls(std::span<const long> numbers, int error);

}  // namespace test_support

#endif  // TESTS_SUPPORT_FORBID_SYSCALLS_H_
