// RunInChild: a part of a test in a process of its own.
//
// For what a test cannot undo (a lowered limit, dropped privilege, a namespace) and for what must
// be seen from a child (fork). The body uses GoogleTest as usual: its failures and its skip become
// those of the calling test.

#ifndef TESTS_SUPPORT_CHILD_H_
#define TESTS_SUPPORT_CHILD_H_

#include <cstdint>
#include <functional>
#include <optional>

namespace test_support {

struct ChildOptions {
  // RLIMIT_MEMLOCK in bytes, soft and hard; above the present hard limit it fails the test.
  std::optional<uint64_t> memlock_bytes = {};
  // Gives up all capabilities, so that the limit binds root too.
  bool drop_privilege = false;
  // CLONE_NEW* flags; where the kernel forbids them the test is skipped. The caller's user is root
  // in a user namespace.
  int namespaces = 0;
  // The clone system call itself, without the C library's fork handlers. Implied by `namespaces`.
  bool raw_clone = false;
};

// Runs `body` in a child, without capabilities and under a lock limit of `memlock_bytes`.
ChildOptions Limited(uint64_t memlock_bytes);

// Forks, runs `body` in the child and waits for it. A child that throws, dies by a signal or is not
// done after a minute fails the test. The child ends at once: no destructor outside of `body` runs.
// Test::HasFailure() in `body` does not see the failures of `body`: they are kept for the caller.
void RunInChild(const ChildOptions& options, const std::function<void()>& body);
inline void RunInChild(const std::function<void()>& body) { RunInChild(ChildOptions(), body); }

// For a parent that counts faults: a fork makes the calling thread's own memory copy-on-write too,
// its stack and the place where the kernel notes its CPU after each switch (rseq(2)). Has both copied
// before the count. Other memory of the process can still take a fault now and then.
void CopyOwnMemoryAfterFork();

}  // namespace test_support

#endif  // TESTS_SUPPORT_CHILD_H_
