// RunBench: one run of `mpool bench`, from its options to its result.

#ifndef CLI_BENCH_RUN_H_
#define CLI_BENCH_RUN_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "cli/bench/measure.h"
#include "cli/bench/options.h"
#include "cli/bench/result.h"

namespace cli::bench {

// What the run tells meanwhile.
struct Listener {
  std::function<void(const std::string& note)> note;  // what the user should know before it begins
  decltype(MeasureOptions::go_on) go_on;
};

// Makes a cgroup, a temporary file and a pressure process where they are asked for, and removes them
// again, measures, and tells. PermissionDenied: no cgroup may be made, or the file may not be read.
// Other errors: nothing was measured; their message names cause and cure. To be called while the
// process has one thread.
absl::StatusOr<BenchResult> RunBench(const BenchOptions& options, const Listener& listener);

}  // namespace cli::bench

#endif  // CLI_BENCH_RUN_H_
