// DoctorFacts: all that `mpool doctor` knows before it judges.
//
// Either of this process, where what can be tried was tried, or of another one, by the numbers that
// the kernel shows of it. Checks, fixes and report are pure functions of these facts.
//
// Sizes are in bytes. Not thread-safe.

#ifndef CLI_DOCTOR_FACTS_H_
#define CLI_DOCTOR_FACTS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "os/container.h"
#include "os/errno.h"
#include "os/machine_settings.h"
#include "os/process_limits.h"
#include "os/result.h"
#include "pinlock/limits.h"

namespace cli {

struct DoctorFacts {
  uint64_t size = uint64_t{64} << 20;  // that is to be locked
  bool size_is_default = false;
  uint64_t page_size = 4096;
  uint64_t physical_bytes = ~uint64_t{0};  // of the machine

  // Another process; nullopt: this one.
  std::optional<os::ProcessLimits> process;
  // Of the one in question. `privileged` of another one is what it claims.
  pinlock::Limits limits;
  bool memlock_known = true;
  bool locked_known = true;
  std::optional<bool> claims_capability;  // CapEff names CAP_IPC_LOCK
  std::string user;                       // its user's name; empty: not known
  std::optional<uint32_t> uid;
  os::Surroundings surroundings;

  // Of the process that asks: this one.
  struct {
    uint32_t uid = 0;
    bool may_raise_hard_limit = false;  // tried
    bool in_initial_user_namespace = true;
    bool in_container = false;
  } caller;

  os::MachineSettings machine;
  std::optional<os::FileSystemRoom> shared_memory;  // of the process' /dev/shm; nullopt: none
  bool shared_memory_known = true;
  // Tried; nullopt: it was not, or neither is to be had nor refused (`io_uring_error`).
  std::optional<bool> io_uring;
  os::Errno io_uring_error;
  std::optional<bool> membarrier;

  // What became of locking `size` bytes (TryToLock). nullopt: it was not tried.
  std::optional<absl::Status> trial;

  bool is_own() const { return !process; }
  // False: a kernel thread or a zombie.
  bool has_memory() const { return !process || process->has_memory; }
};

// Of this process. Tries what can be tried but the lock itself, and leaves nothing changed.
DoctorFacts ReadOwnFacts(uint64_t size);

// Of the process `pid`. `root` is put before the paths of /proc and /sys; a test gives another.
// ENOENT: there is none. EACCES: its limits may not be read.
os::Result<DoctorFacts> ReadFactsOf(int pid, uint64_t size, const std::string& root = "");

// More is not locked in a trial: it would push the caches of all others out of memory.
inline constexpr uint64_t kTrialBytesMax = uint64_t{1} << 30;

// Locks fresh memory as mpin(3) does, in steps of 2 MiB, and unlocks it again: `size` bytes, or
// kTrialBytesMax of them and the kernel is asked whether its limit allows the whole. Whoever calls
// it has seen that there is room. Takes some 0.3 ms for each MiB.
absl::Status TryToLock(uint64_t size);

}  // namespace cli

#endif  // CLI_DOCTOR_FACTS_H_
