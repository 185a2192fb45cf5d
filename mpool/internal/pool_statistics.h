// StatsOf: a pool's statistics, from what it counts in several places.

#ifndef MPOOL_INTERNAL_POOL_STATISTICS_H_
#define MPOOL_INTERNAL_POOL_STATISTICS_H_

#include "mpool/internal/pin_lines.h"
#include "mpool/internal/pool_state.h"
#include "mpool/mpool.h"

namespace mpool::internal {

// All but `dirty`, which only the headers tell. `lines`: sums over the pool's lines. `memory`: a
// pool of one process does not have it in its state. With the pool's
// latch, or of a copy, in which some numbers may be a little older than others.
struct mpool_stat StatsOf(const PoolState& state, const MemoryState& memory,
                          const PinLines::Totals& lines);

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_POOL_STATISTICS_H_
