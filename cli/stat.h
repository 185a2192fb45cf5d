// `mpool stat`: what a pool, or all pools of a process, have done, and who has which page pinned.

#ifndef CLI_STAT_H_
#define CLI_STAT_H_

#include <string>

#include "cli/command.h"
#include "cli/live_pools.h"
#include "cli/output.h"

namespace cli {

struct StatOptions : OutputOptions {
  std::string which;  // empty: all pools
  double interval_seconds = 0;
  uint64_t count = 0;  // of intervals; 0: until it is interrupted
  bool open_metrics = false;
};

// Prints to stdout, errors to stderr. Returns the program's exit code.
int RunStat(const StatOptions& options);

Command AddStat(CLI::App& app);

// What it is made of.

// Some lines about one pool. `verbosity` above 0: all pins, not only the first.
std::string StatText(const LivePool& pool, const OutputOptions& options);
// {"schema": "mpool.stat/1", ...}
Json StatJson(const std::vector<LivePool>& pools, const std::optional<int32_t>& pid);
// A line of rates between two readings, and that of their headings.
std::string RateHeadings();
std::string RateLine(const struct mpool_stat& before, const struct mpool_stat& now, double seconds);

}  // namespace cli

#endif  // CLI_STAT_H_
