#include "os/privilege.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>

#include "os/limits.h"

// clone(3) by the C library's second name for it: ThreadSanitizer replaces the first by a function
// that takes the child for a fork and then forbids new threads, in the parent too.
extern "C" int __clone(int (*function)(void*), void* stack, int flags, void* argument, ...);

namespace os {
namespace {

// A soft limit from here on is more than an address space: no probe is refused by it.
constexpr uint64_t kAllowsEverything = uint64_t{1} << 62;

// Arguments and answer of the child.
struct Probe {
  uintptr_t last_page;
  rlimit limit;
  bool answered;
  bool privileged;
};

// Runs in a child that shares the memory, the stack's surroundings and the thread-local variables
// of a thread that waits for it. So it only enters the kernel, and a sanitizer must not instrument
// it. A length of 1 byte at the last page wraps: EINVAL is the answer of a limit that does not bind.
__attribute__((no_sanitize("address"), no_sanitize("thread"), no_sanitize("undefined"))) int Ask(
    void* argument) {
  auto* probe = static_cast<Probe*>(argument);
  if (syscall(SYS_prlimit64, 0, RLIMIT_MEMLOCK, &probe->limit, nullptr) != 0) return 0;
  const long result = syscall(SYS_mlock, probe->last_page, 1L);
  probe->privileged = result != 0 && errno == EINVAL;
  probe->answered = true;
  return 0;
}

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

uintptr_t LastPage() {
  return ~static_cast<uintptr_t>(0) - (static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)) - 1);
}

// The most that can be asked for, which no finite limit allows.
bool AskHere() {
  const uintptr_t last_page = LastPage();
  return syscall(SYS_mlock, last_page, last_page) != 0 && errno == EINVAL;
}

}  // namespace

std::optional<bool> AskChildForLockPrivilege() {
  const int saved_errno = errno;
  Probe probe{LastPage(), {}, false, false};
  if (getrlimit(RLIMIT_MEMLOCK, &probe.limit) != 0) return std::nullopt;
  probe.limit.rlim_cur = 0;
  alignas(64) std::array<std::byte, 8192> stack;
  const SignalsBlocked blocked;
  // Returns when the child has ended. Without an exit signal: nobody is told of its end.
  const int child = __clone(Ask, stack.data() + stack.size(), CLONE_VM | CLONE_VFORK, &probe);
  if (child > 0) {
    // ECHILD: another thread waits for every child of any kind.
    while (syscall(SYS_wait4, child, nullptr, __WCLONE, nullptr) < 0 && errno == EINTR) {
    }
  }
  errno = saved_errno;
  // The child wrote behind the compiler's back.
  const volatile Probe& answer = probe;
  if (child <= 0 || !answer.answered) return std::nullopt;
  return answer.privileged;
}

bool HasLockPrivilege() {
  const std::optional<uint64_t> limit = MemlockLimit().soft;
  if (limit && *limit < kAllowsEverything) {
    const int saved_errno = errno;
    const bool privileged = AskHere();
    errno = saved_errno;
    return privileged;
  }
  if (const std::optional<bool> answer = AskChildForLockPrivilege()) return *answer;
  // Where no child can be made (seccomp, RLIMIT_NPROC): what the process seems to hold.
  const Result<bool> claims = ClaimsLockCapability();
  const Result<bool> initial = InInitialUserNamespace();
  return claims.ok() && *claims && initial.ok() && *initial;
}

}  // namespace os
