// Limits: what this process may lock, has locked, and where it runs.
//
// Read-only questions to the kernel (getrlimit(2), proc(5)); nothing here changes a limit. Whether
// a lock would be allowed is not decided from these numbers but by Memory::CheckLockLimit, which
// asks the kernel: a capability in a user namespace looks complete here and is worth nothing there.

#ifndef OS_LIMITS_H_
#define OS_LIMITS_H_

#include <array>
#include <cstdint>
#include <optional>

#include "os/result.h"

namespace os {

// A resource limit in bytes; nullopt is "unlimited".
struct ByteLimit {
  std::optional<uint64_t> soft;
  std::optional<uint64_t> hard;
};

// How much more memory can be made resident before the kernel has to take it from somebody by
// force, and what bounds it: the memory cgroup of the process or one above it, or the machine. What
// the kernel can get back without harm (clean and dirty page cache) counts as free; what it would
// have to swap out does not. A snapshot, and an estimate: others take memory as well.
struct Headroom {
  enum class Bound { kNone, kSystem, kCgroupV1, kCgroupV2 };
  Bound bound = Bound::kNone;  // the tightest; kNone where nothing could be read
  uint64_t bytes = ~uint64_t{0};
  uint64_t limit_bytes = 0;          // of the bound: the cgroup's limit, the machine's memory
  uint64_t used_bytes = 0;           // of the bound
  std::array<char, 256> group = {};  // directory of the cgroup, cut to fit, NUL-terminated
};

// What bounds the memory that this process may lock, besides the kernel's own answer to mlock(2).
// Thread-safe; no call fails for want of memory.
class Limits {
 public:
  virtual ~Limits() = default;
  // RLIMIT_MEMLOCK, in bytes.
  virtual ByteLimit Memlock() const = 0;
  // RLIMIT_RSS, soft, in bytes; nullopt: none. Linux itself ignores it.
  virtual std::optional<uint64_t> Rss() const = 0;
  // Bytes that the kernel counts as locked by this process; 0 where it cannot be read.
  virtual uint64_t LockedBytes() const = 0;
  // Costs some ten microseconds, and as many again for each cgroup above where one has a limit:
  // reads files of /proc and of the cgroup file system (os/headroom.h).
  virtual Headroom ReadHeadroom() const = 0;
  // Whether limits on locked memory do not bind this process: CAP_IPC_LOCK in the initial user
  // namespace. Found out by trying, from CapEff only where that is forbidden. May cost some hundred
  // microseconds (os/privilege.h).
  virtual bool Privileged() const = 0;
};

// The kernel's own. Has no state; lives for ever.
Limits& RealLimits();

// RLIMIT_MEMLOCK, in bytes. (The shell's `ulimit -l` prints it in KiB.)
ByteLimit MemlockLimit();

// Bytes that the kernel counts as locked by this process (VmLck of /proc/self/status): lengths of
// locked mappings, resident or not.
Result<uint64_t> LockedBytes();

// Whether CapEff names CAP_IPC_LOCK: what the process seems to hold, not what it is worth.
Result<bool> ClaimsLockCapability();

// Whether uid_map is that of the initial user namespace: all of 0..2^32-2 onto itself.
Result<bool> InInitialUserNamespace();
// The same of a file /proc/PID/uid_map. True where there is no such file.
Result<bool> IsInitialUidMap(const char* path);

// The most mappings a process may have (vm.max_map_count), and how many this one has.
Result<uint64_t> MaxMappings();
Result<uint64_t> CountMappings();
// In a file /proc/PID/maps. ENOENT: it cannot be opened; 0 where it may not be read.
Result<uint64_t> CountMappingsIn(const char* path);

// Bytes of physical memory of the machine: no process can lock more.
uint64_t PhysicalMemoryBytes();

}  // namespace os

#endif  // OS_LIMITS_H_
