// `mpool bench`: how long it takes to touch a page, under memory pressure, in memory that is locked
// and in memory that is not.

#ifndef CLI_BENCH_BENCH_H_
#define CLI_BENCH_BENCH_H_

#include "cli/command.h"

namespace cli {

Command AddBench(CLI::App& app);

}  // namespace cli

#endif  // CLI_BENCH_BENCH_H_
