// Where a figure was measured.

#ifndef CLI_BENCH_ENVIRONMENT_H_
#define CLI_BENCH_ENVIRONMENT_H_

#include "cli/bench/result.h"

namespace cli::bench {

// Of this process, now: in the cgroup that it is in. What cannot be read stays empty.
Environment ReadEnvironment();

}  // namespace cli::bench

#endif  // CLI_BENCH_ENVIRONMENT_H_
