// The figures of mpool, against a bare lookup (Floor), bare system calls, and Berkeley DB.
//
// Every function gives some lines of the table; MpoolFigures() gives all. A call that fails ends
// the program with status 1.

#ifndef BENCHMARKS_MPOOL_FIGURES_H_
#define BENCHMARKS_MPOOL_FIGURES_H_

#include <chrono>
#include <cstdint>
#include <vector>

#include "benchmarks/figure.h"

namespace benchmarks {

// How much is measured. The bounds hold for these values; smaller ones are for tests. Numbers of
// pages are powers of two.
struct PoolScale {
  std::chrono::nanoseconds slice = std::chrono::milliseconds(15);
  uint64_t small_pages = 4'096;
  uint64_t middle_pages = 65'536;
  uint64_t large_pages = 262'144;  // 1 GiB
  uint64_t fault_hits = 10'000'000;
};

// One thread gets a page, reads a word of it and puts it back; and how the cost of that grows with
// the pool.
std::vector<Figure> HitFigures(const PoolScale& scale);
// Two threads at once.
std::vector<Figure> PoolThreadFigures(const PoolScale& scale);
// Pages that are not in the pool: from the page cache, and many at once from the disk.
std::vector<Figure> MissFigures(const PoolScale& scale);
// Dirty pages to stable storage.
std::vector<Figure> SyncFigures(const PoolScale& scale);
// Page faults, and memory that is not pages.
std::vector<Figure> PoolMemoryFigures(const PoolScale& scale);
// A get that fails because all frames are pinned.
std::vector<Figure> FullPoolFigures(const PoolScale& scale);
// Pools that processes share.
std::vector<Figure> SharedPoolFigures(const PoolScale& scale);
// The slow ones among single hits.
std::vector<Figure> LatencyFigures(const PoolScale& scale);

std::vector<Figure> MpoolFigures(const PoolScale& scale);

}  // namespace benchmarks

#endif  // BENCHMARKS_MPOOL_FIGURES_H_
