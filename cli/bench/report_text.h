// The report as text, for a terminal.

#ifndef CLI_BENCH_REPORT_TEXT_H_
#define CLI_BENCH_REPORT_TEXT_H_

#include <string>

#include "cli/bench/result.h"

namespace cli::bench {

// Fault counts and percentiles, a line for each mode; what the outliers came from; the verdict.
// `details`: the worst outliers and the environment too. `brief`: the verdict alone.
struct TextOptions {
  bool color = false;
  bool details = false;
  bool brief = false;
};
std::string ReportText(const BenchResult& result, const TextOptions& options);

}  // namespace cli::bench

#endif  // CLI_BENCH_REPORT_TEXT_H_
