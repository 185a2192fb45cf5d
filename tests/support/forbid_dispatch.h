// ForbidSyscallDispatch: a kernel that cannot count system calls.

#ifndef TESTS_SUPPORT_FORBID_DISPATCH_H_
#define TESTS_SUPPORT_FORBID_DISPATCH_H_

namespace test_support {

// From now on prctl(PR_SET_SYSCALL_USER_DISPATCH) fails in this process with `error`, an errno; 0:
// it does nothing and succeeds. Cannot be undone: for RunInChild. Skips the test where there are no
// seccomp filters (see IsSkipped).
void ForbidSyscallDispatch(int error);

}  // namespace test_support

#endif  // TESTS_SUPPORT_FORBID_DISPATCH_H_
