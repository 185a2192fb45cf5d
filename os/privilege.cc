#include "os/privilege.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "os/limits.h"
#include "os/side_child.h"

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

// The same of the child that raises its limit.
struct Raise {
  rlimit lowest, raised;
  bool answered;
  bool allowed;
};

// A length of 1 byte at the last page wraps: EINVAL is the answer of a limit that does not bind.
OS_RUNS_IN_SIDE_CHILD int Ask(void* argument) {
  auto* probe = static_cast<Probe*>(argument);
  if (syscall(SYS_prlimit64, 0, RLIMIT_MEMLOCK, &probe->limit, nullptr) != 0) return 0;
  const long result = syscall(SYS_mlock, probe->last_page, 1L);
  probe->privileged = result != 0 && errno == EINVAL;
  probe->answered = true;
  return 0;
}

OS_RUNS_IN_SIDE_CHILD int TryToRaise(void* argument) {
  auto* raise = static_cast<Raise*>(argument);
  if (syscall(SYS_prlimit64, 0, RLIMIT_MEMLOCK, &raise->lowest, nullptr) != 0) return 0;
  raise->allowed = syscall(SYS_prlimit64, 0, RLIMIT_MEMLOCK, &raise->raised, nullptr) == 0;
  raise->answered = true;
  return 0;
}

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
  Probe probe{LastPage(), {}, false, false};
  if (getrlimit(RLIMIT_MEMLOCK, &probe.limit) != 0) return std::nullopt;
  probe.limit.rlim_cur = 0;
  if (!RunInSideChild(Ask, &probe) || !probe.answered) return std::nullopt;
  return probe.privileged;
}

std::optional<bool> MayRaiseHardLockLimit() {
  Raise raise{{0, 0}, {0, 1}, false, false};
  if (!RunInSideChild(TryToRaise, &raise) || !raise.answered) return std::nullopt;
  return raise.allowed;
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
