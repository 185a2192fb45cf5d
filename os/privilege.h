// HasLockPrivilege: whether limits on locked memory bind this process.
//
// They do not bind who has CAP_IPC_LOCK in the initial user namespace. CapEff does not tell: it is
// complete inside of every user namespace, and worth nothing there. So mlock(2) itself is asked, as
// docs/design/lock-limit-probe.md describes. Where RLIMIT_MEMLOCK allows everything the answer
// would be yes for everyone, so a child asks that has lowered its own limit to 0 (side_child.h).
//
// Safe from every thread, but not from signal handlers; allocates nothing. A microsecond with a
// limit, some fifty without.

#ifndef OS_PRIVILEGE_H_
#define OS_PRIVILEGE_H_

#include <optional>

namespace os {

bool HasLockPrivilege();

// The answer of such a child, whatever the limit of this process. nullopt: no child could be made.
std::optional<bool> AskChildForLockPrivilege();

// Whether this process may raise a hard RLIMIT_MEMLOCK: CAP_SYS_RESOURCE in the initial user
// namespace. Asked by such a child too, which lowers its own to 0 and tries to raise it again: so
// nothing is changed here, and the limit of this process does not matter. nullopt: no child could
// be made.
std::optional<bool> MayRaiseHardLockLimit();

}  // namespace os

#endif  // OS_PRIVILEGE_H_
