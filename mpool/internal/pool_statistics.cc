#include "mpool/internal/pool_statistics.h"

#include <algorithm>

namespace mpool::internal {

struct mpool_stat StatsOf(const PoolState& state, const MemoryState& memory,
                          const PinLines::Totals& lines) {
  struct mpool_stat stats = state.stats;
  stats.gets += lines.hits;
  stats.hits += lines.hits;
  // A hit is in its slot before it is counted.
  const uint64_t taken = lines.hits + state.line_pins + state.owed_pins;
  stats.puts += taken - std::min(taken, lines.pins);
  // More can be owed than there are, for a moment, and where somebody has put a page too often.
  const uint64_t pins = state.counted_pins + lines.pins;
  stats.pins = pins - std::min(pins, state.owed_pins);
  stats.frames = memory.ordinary + memory.growth;
  stats.frames_locked = stats.frames - std::min(stats.frames, memory.unlocked);
  stats.frames_overflow = memory.growth;
  stats.hugetlb_bytes = memory.hugetlb_bytes;
  return stats;
}

}  // namespace mpool::internal
