#include "os/side_child.h"

#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>

// clone(3) by the C library's second name for it: ThreadSanitizer replaces the first by a function
// that takes the child for a fork and then forbids new threads, in the parent too.
extern "C" int __clone(int (*function)(void*), void* stack, int flags, void* argument, ...);

namespace os {
namespace {

// Signals of the calling thread, those of the C library included, held back for a scope.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    const uint64_t all = ~uint64_t{0};
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before_, sizeof(before_));
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() {
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before_, nullptr, sizeof(before_));
  }

 private:
  uint64_t before_ = 0;
};

}  // namespace

bool RunInSideChild(int (*function)(void*), void* argument) {
  const int saved_errno = errno;
  alignas(64) std::array<std::byte, 8192> stack;
  int child = 0;
  {
    const SignalsBlocked blocked;
    // Returns when the child has ended. No exit signal: nobody is told of its end.
    child = __clone(function, stack.data() + stack.size(), CLONE_VM | CLONE_VFORK, argument);
    if (child > 0) {
      // ECHILD: another thread waits for every child of any kind, and was first.
      while (syscall(SYS_wait4, child, nullptr, __WCLONE, nullptr) < 0 && errno == EINTR) {
      }
    }
  }
  std::atomic_signal_fence(
      std::memory_order_seq_cst);  // the child wrote behind the compiler's back
  errno = saved_errno;
  return child > 0;
}

}  // namespace os
