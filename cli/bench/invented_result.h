// A result as a run could have had it, for tests of the reports.

#ifndef CLI_BENCH_INVENTED_RESULT_H_
#define CLI_BENCH_INVENTED_RESULT_H_

#include "cli/bench/result.h"

namespace cli::bench::testing {

// 2 seconds of all modes under pressure: malloc and mmap take major faults, mlock and pool none.
inline BenchResult InventedResult() {
  BenchResult result;
  result.environment = {.version = "0.1.0",
                        .date = "2026-11-27T18:00:00Z",
                        .kernel = "6.18.0",
                        .cpu = "A <fast> & quiet CPU",
                        .thp = "madvise",
                        .cpus = 2,
                        .memory_bytes = uint64_t{24} << 30,
                        .swap_bytes = 1 << 30,
                        .swap_free_bytes = 1 << 29,
                        .cgroup = "/sys/fs/cgroup/memory/mpool.1.1",
                        .cgroup_limit_bytes = 64 << 20,
                        .lock_limit_bytes = 8 << 20,
                        .lock_privilege = true};
  result.command = "mpool bench --cgroup 64M --secs 2";
  result.adversary = Adversary::kPressure;
  result.pages = 2048;
  result.pressure_bytes = 64 << 20;
  result.private_cgroup = true;
  result.duration_ns = 2'000'000'000;
  result.slice_ns = 5'000'000;
  result.outlier_ns = 100'000;
  result.clock_ns = 21;
  result.notes = {"A note with <markup> & more."};
  for (const Mode mode : kModes) {
    ModeResult& one = result.modes.emplace_back();
    one.mode = mode;
    const bool locked = mode == Mode::kMlock || mode == Mode::kPool;
    for (uint64_t i = 0; i < 20'000; ++i) one.latency.Add(40 + i % 50);
    for (uint64_t slice = 0; slice < 100; ++slice) {
      one.slices.push_back({.at_ns = slice * 20'000'000,
                            .ns = 5'000'000,
                            .touches = 200,
                            .p99_ns = 89,
                            .max_ns = 120 + slice,
                            .cpu_ns = 4'000'000,
                            .faults = {}});
    }
    one.cpu_ns = 400'000'000;
    one.memory_bytes = 8 << 20;
    one.locked_bytes = locked ? 8 << 20 : 0;
    one.present_pages = locked ? 2048 : 1024;
    one.residency.assign(128, locked ? 1 : 0.5);
    if (mode == Mode::kPool) one.pool_misses = 0;
    if (locked) continue;
    one.faults = {.minor = 4'321, .major = mode == Mode::kMalloc ? 5'678u : 1'234u};
    for (uint64_t i = 0; i < 300; ++i) {
      const SlowTouch touch = {.at_ns = i * 6'000'000,
                               .ns = 200'000 + 10'000 * i,
                               .page = static_cast<uint32_t>(i),
                               .major = 1,
                               .minor = 0,
                               .run_queue_ns = i % 3 == 0 ? 190'000 + 10'000 * i : 0};
      one.latency.Add(touch.ns);
      one.outliers.Add(touch);
    }
  }
  return result;
}

}  // namespace cli::bench::testing

#endif  // CLI_BENCH_INVENTED_RESULT_H_
