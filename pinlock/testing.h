// Assertions on residency, locks, page faults and system calls, for GoogleTest tests of programs
// that lock memory; and a lock limit to test them under.
//
//   EXPECT_THAT(buffer, IsResident());
//   EXPECT_THAT(buffer, IsLocked());
//   EXPECT_NO_PAGE_FAULTS(Search(index, key));
//   EXPECT_NO_SYSCALLS(Search(index, key));
//   FakeLockLimit limit(64 * 1024);
//
// Bazel only: @mpool//pinlock:testing. See docs/testing-residency.md.

#ifndef PINLOCK_TESTING_H_
#define PINLOCK_TESTING_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <iterator>
#include <memory>

#include "pinlock/testing_internal.h"

namespace pinlock::testing {

// Whether all pages that hold any of the `bytes` bytes are in this process' page tables now: the
// present bits of /proc/self/pagemap. A page that was swapped out, or never touched, is not. Says
// how many are, and at which offset in bytes from `data` the first that is not begins. No bytes are
// resident. What is resident but not locked may be gone the next moment. Does not touch the memory,
// which need not be mapped. Where /proc cannot be read the test fails, whichever answer it expects.
::testing::AssertionResult IsResident(const void* data, size_t bytes);

// Whether the kernel holds all of these pages locked: by mlock(2), mpin(3), mlockall(2), whoever
// called it. While a FakeLockLimit lives: whether they are locked under that. Otherwise as above.
::testing::AssertionResult IsLocked(const void* data, size_t bytes);

// The same as matchers, for what has data() and size(), and for arrays: all bytes of the elements.
// A failing EXPECT_THAT prints the elements: for memory that must not be read use the above.
inline ::testing::PolymorphicMatcher<internal::RangeMatcher> IsResident() {
  return ::testing::MakePolymorphicMatcher(internal::RangeMatcher(&IsResident, "resident"));
}
inline ::testing::PolymorphicMatcher<internal::RangeMatcher> IsLocked() {
  return ::testing::MakePolymorphicMatcher(internal::RangeMatcher(&IsLocked, "locked"));
}

// Whether EXPECT_NO_SYSCALLS works here; found out by doing. For a test that would rather be
// skipped. False: a kernel before Linux 5.11, a machine other than x86-64, or a seccomp filter that
// forbids prctl(2).
bool CanCountSyscalls();

// While it lives, this process may lock `bytes` bytes, and 0 forbids every lock: mpin(3),
// LockPages() and what is built on them see this limit instead of RLIMIT_MEMLOCK and privilege, and
// fail as they do at the real one. The kernel is not asked for locks: pages pinned meanwhile are
// made resident (which takes Linux 5.14), but can be evicted. Everything else, counters and
// statistics too, works as ever, from 0.
//
// Aborts, saying why, where pages are pinned when it begins, or there is another one. Pages that
// are still pinned when it ends fail the test, and are no longer pinned. No call of the library may
// be under way in another thread when it begins or ends. A child of fork(2) inherits the limit, and
// no pins.
class FakeLockLimit {
 public:
  explicit FakeLockLimit(size_t bytes);
  FakeLockLimit(const FakeLockLimit&) = delete;
  FakeLockLimit& operator=(const FakeLockLimit&) = delete;
  ~FakeLockLimit();

  // What is pinned stays so.
  void Set(size_t bytes);
  // In whole pages.
  size_t locked_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pinlock::testing

// Runs the statement, which may be a block and may hold commas, and fails if the calling thread
// took a page fault meanwhile, minor or major. Says how many. Code that runs for the first time may
// fault itself, as may the stack below what was used so far: run the statement once before. What
// the compiler leaves out cannot fault: use its result.
#define EXPECT_NO_PAGE_FAULTS(...) \
  PINLOCK_INTERNAL_EXPECT_NO(NoPageFaults, pinlock_faults, ADD_FAILURE(), #__VA_ARGS__, __VA_ARGS__)
#define ASSERT_NO_PAGE_FAULTS(...) \
  PINLOCK_INTERNAL_EXPECT_NO(NoPageFaults, pinlock_faults, GTEST_FAIL(), #__VA_ARGS__, __VA_ARGS__)

// Runs the statement and fails if the calling thread made a system call meanwhile. Says how many,
// and the name of the first. They take effect as always. Fails also where calls cannot be counted
// (CanCountSyscalls). Does not nest: aborts. What it means for signals, fork, clone and exec is
// said in os/syscall_count.h.
#define EXPECT_NO_SYSCALLS(...) \
  PINLOCK_INTERNAL_EXPECT_NO(NoSyscalls, pinlock_calls, ADD_FAILURE(), #__VA_ARGS__, __VA_ARGS__)
#define ASSERT_NO_SYSCALLS(...) \
  PINLOCK_INTERNAL_EXPECT_NO(NoSyscalls, pinlock_calls, GTEST_FAIL(), #__VA_ARGS__, __VA_ARGS__)

#endif  // PINLOCK_TESTING_H_
