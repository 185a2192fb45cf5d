// OpenMetricsText: a pool's statistics for Prometheus and its relatives.
//
// For programs that serve their own metrics. `mpool stat --openmetrics` prints the same for pools of
// other processes. Text as in the OpenMetrics specification, version 1.0.
//
//   const absl::StatusOr<struct mpool_stat> stats = pool->stats();
//   text += mpool::OpenMetricsText({{"orders", *stats}});
//   text += "# EOF\n";

#ifndef MPOOL_METRICS_H_
#define MPOOL_METRICS_H_

#include <mpool.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/types/span.h"

namespace mpool {

// One number of struct mpool_stat.
struct Metric {
  const char* name;  // as the field is called, without its unit
  const char* help;
  const char* unit;  // "bytes", or ""
  bool is_counter;   // only grows; else it is what there is now
  uint64_t mpool_stat::*field;
};
// All of them, in the order of the struct. Constant.
absl::Span<const Metric> Metrics();

struct PoolMetrics {
  std::string_view pool;  // the value of the label "pool": any bytes
  struct mpool_stat stats;
};
// A family of metrics for each number, with a sample for each pool; without the "# EOF" at the end of
// an exposition. Thread-safe; allocates.
std::string OpenMetricsText(absl::Span<const PoolMetrics> pools);

}  // namespace mpool

#endif  // MPOOL_METRICS_H_
