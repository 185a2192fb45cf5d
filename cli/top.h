// `mpool top`: all pools that can be seen, the busiest first, again and again.

#ifndef CLI_TOP_H_
#define CLI_TOP_H_

#include <map>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/live_pools.h"
#include "cli/output.h"

namespace cli {

struct TopOptions : OutputOptions {
  double interval_seconds = 1;
  uint64_t count = 0;  // of pictures; 0: until it is interrupted
};

// Prints to stdout: on a terminal the picture is replaced, elsewhere they follow each other. `q` on
// a terminal ends it. Returns the program's exit code.
int RunTop(const TopOptions& options);

Command AddTop(CLI::App& app);

// What it is made of.

// Statistics as they were at the last picture, by the pool's name.
using EarlierStats = std::map<std::string, struct mpool_stat>;
// A table of all pools. Rates are those since the earlier reading; of a pool without one they are
// dashes.
std::string TopText(const std::vector<LivePool>& pools, const EarlierStats& earlier, double seconds,
                    const TopOptions& options);
// {"schema": "mpool.top/1", ...} in one line.
Json TopJson(const std::vector<LivePool>& pools, const EarlierStats& earlier, double seconds);

}  // namespace cli

#endif  // CLI_TOP_H_
