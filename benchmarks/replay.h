// Replay: a trace through a real pool, beside the two simulations.

#ifndef BENCHMARKS_REPLAY_H_
#define BENCHMARKS_REPLAY_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "benchmarks/trace.h"

namespace benchmarks {

// Hits of each policy with so many frames.
struct Replay {
  uint32_t frames = 0;
  uint64_t references = 0;
  uint64_t lru = 0;
  uint64_t ours = 0;
  uint64_t opt = 0;
};

// How many gets of a pool with so many frames find their page. Its pages are of 64 bytes, and the
// file has holes only: what is counted does not depend on it. The pool must be able to lock them.
absl::StatusOr<uint64_t> PoolHits(const Trace& trace, uint32_t frames);

absl::StatusOr<Replay> ReplayTrace(const Trace& trace, uint32_t frames);

// Which part of the way from LRU to the best possible ours goes: 1 all of it, below 0: ours has
// fewer hits than LRU. NaN where there is no such way.
double GapClosed(const Replay& replay);

}  // namespace benchmarks

#endif  // BENCHMARKS_REPLAY_H_
