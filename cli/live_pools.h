// LivePools: the pools that can be seen now, and those that a word on the command line means.

#ifndef CLI_LIVE_POOLS_H_
#define CLI_LIVE_POOLS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/json_text.h"
#include "mpool/internal/pool_report.h"
#include "os/result.h"
#include "pinlock/mpin.h"

namespace cli {

struct LivePool {
  mpool::internal::PoolReport report;
  bool shared = false;
  int32_t pid = 0;  // of a pool of one process: as it is called here; 0: it is not seen from here
  std::optional<struct mpin_stat> pins;  // of that process

  // What to call it: its key, or PID.NUMBER of a pool of one process, with @ and the inode of its
  // pid namespace where that is not seen from here. For terminals (Printable).
  std::string Title() const;
  // "shared", "private"
  const char* Kind() const { return shared ? "shared" : "private"; }
  // Processes that have it open, each once.
  std::vector<int32_t> Pids() const;
  // Whether the process, which is alive and seen from here, has it open.
  bool IsOf(int32_t process) const;
};

struct LivePools {
  std::vector<LivePool> pools;  // shared ones first, by key
  // What could not be seen: a line for each, for standard error.
  std::vector<std::string> unseen;
};
// All of them. An error: that of reading /dev/shm. A process that is asked for its pools and does
// not answer is waited for one second.
os::Result<LivePools> FindLivePools();

// Those that `which` means: the pool of that key or name; else, if it is a number, those of the
// process. Printable forms are understood too.
std::vector<LivePool> PoolsMeant(std::string_view which, const std::vector<LivePool>& pools);
// The number of a process. nullopt: it is none.
std::optional<int32_t> PidIn(std::string_view text);

// Prints what could not be seen, if `verbosity` is not below 0.
void PrintUnseen(std::string_view command, const LivePools& live, int verbosity);
// Prints that there is no such pool; returns the exit code.
int FailToFindPool(std::string_view command, std::string_view which);
// The same for /dev/shm, which could not be read.
int FailToLook(std::string_view command, os::Errno error);

// As JSON, as `stat` and others print it.
Json JsonOf(const struct mpool_stat& stats);
// Key, name, file, kind and sizes.
Json HeadOf(const LivePool& pool);

}  // namespace cli

#endif  // CLI_LIVE_POOLS_H_
