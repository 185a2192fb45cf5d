// Limits: what this process may lock, has locked, and where it runs.
//
// Read-only questions to the kernel (getrlimit(2), proc(5)); nothing here changes a limit. Whether
// a lock would be allowed is not decided from these numbers but by Memory::CheckLockLimit, which
// asks the kernel: a capability in a user namespace looks complete here and is worth nothing there.

#ifndef OS_LIMITS_H_
#define OS_LIMITS_H_

#include <cstdint>
#include <optional>

#include "os/result.h"

namespace os {

// A resource limit in bytes; nullopt is "unlimited".
struct ByteLimit {
  std::optional<uint64_t> soft;
  std::optional<uint64_t> hard;
};

// RLIMIT_MEMLOCK, in bytes. (The shell's `ulimit -l` prints it in KiB.)
ByteLimit MemlockLimit();

// Bytes that the kernel counts as locked by this process (VmLck of /proc/self/status): lengths of
// locked mappings, resident or not.
Result<uint64_t> LockedBytes();

// Whether CapEff names CAP_IPC_LOCK: what the process seems to hold, not what it is worth.
Result<bool> ClaimsLockCapability();

// Whether uid_map is that of the initial user namespace: all of 0..2^32-2 onto itself.
Result<bool> InInitialUserNamespace();

// The most mappings a process may have (vm.max_map_count), and how many this one has.
Result<uint64_t> MaxMappings();
Result<uint64_t> CountMappings();

// Bytes of physical memory of the machine: no process can lock more.
uint64_t PhysicalMemoryBytes();

}  // namespace os

#endif  // OS_LIMITS_H_
