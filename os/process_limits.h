// ProcessLimits: what another process may lock, by the numbers that the kernel shows of it.
//
// Nothing can be tried for another process, so these are the kernel's figures and no proof. A field
// that may not be read, or makes no sense, is nullopt.

#ifndef OS_PROCESS_LIMITS_H_
#define OS_PROCESS_LIMITS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "os/limits.h"
#include "os/result.h"

namespace os {

struct ProcessLimits {
  int pid = 0;
  std::string name;                  // at most 15 bytes, as the process likes; may hold any byte
  std::optional<uint32_t> uid;       // effective, in the caller's user namespace
  std::vector<int> namespace_pids;   // its numbers, from the caller's pid namespace inwards
  bool has_memory = true;            // false: a kernel thread or a zombie
  std::optional<ByteLimit> memlock;  // RLIMIT_MEMLOCK
  std::optional<ByteLimit> rss;      // RLIMIT_RSS
  std::optional<uint64_t> locked_bytes;  // VmLck
  std::optional<bool> claims_lock_capability;
  std::optional<bool> in_initial_user_namespace;  // by its uid_map
  std::optional<bool> shares_user_namespace;      // with the caller
  std::optional<uint64_t> mappings;
};

// `proc_root` stands for /proc. ENOENT: there is no such process. EACCES: it is hidden from this
// user. Safe from every thread; enters the kernel.
Result<ProcessLimits> ReadProcessLimits(int pid, const std::string& proc_root = "/proc");

// The user's name; empty: there is none.
std::string UserName(uint32_t uid);

}  // namespace os

#endif  // OS_PROCESS_LIMITS_H_
