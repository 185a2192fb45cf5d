// The report as JSON, by cli/schema/mpool.bench.1.json: times in nanoseconds, sizes in bytes.

#ifndef CLI_BENCH_REPORT_JSON_H_
#define CLI_BENCH_REPORT_JSON_H_

#include "cli/bench/result.h"
#include "cli/json_text.h"

namespace cli::bench {

Json ReportJson(const BenchResult& result);

}  // namespace cli::bench

#endif  // CLI_BENCH_REPORT_JSON_H_
