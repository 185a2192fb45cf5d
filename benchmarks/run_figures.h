// RunFigures: figures as benchmarks of Google Benchmark, whose flags choose and write them.
//
// Each figure is one benchmark whose iterations are the rounds, and whose time is ours. Its
// counters, also in the JSON of --benchmark_out: ours_ns, bare_ns, ratio and ours_max_ns,
// bare_max_ns (the costliest round); less_ns (ours - bare) where a bound is for that; bound, and
// bound_ratio where there is one for the ratio besides; met (1 or 0). Where a figure counts something else than time, `ns` is another word (`calls`, `bytes`). What
// does not exist is left out. A figure that cannot be measured here is an error that begins with
// "skipped: ".

#ifndef BENCHMARKS_RUN_FIGURES_H_
#define BENCHMARKS_RUN_FIGURES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "benchmarks/figure.h"
#include "benchmarks/table.h"

namespace benchmarks {

// The numbers of a row, by the names above.
std::map<std::string, double> CountersOf(const Row& row);

// Measures the figures that --benchmark_filter chooses, `rounds` times each, and returns their
// rows. `display` hears of each; null: the one that --benchmark_format chooses. Call it once, after
// benchmark::Initialize().
std::vector<Row> RunFigures(const std::vector<Figure>& figures, int64_t rounds,
                            benchmark::BenchmarkReporter* display);

}  // namespace benchmarks

#endif  // BENCHMARKS_RUN_FIGURES_H_
