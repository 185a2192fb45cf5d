// What is asked of a replacement policy for a trace, and how it is told.
//
// Pure: arithmetic and text.

#ifndef BENCHMARKS_HIT_RATIOS_H_
#define BENCHMARKS_HIT_RATIOS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "benchmarks/replay.h"
#include "benchmarks/trace.h"

namespace benchmarks {

// Cache sizes to take where the user names none: for OLTP, known by its name, those for which there
// are bounds; else 1, 2, 5 and 10 % of the pages, at least 1.
std::vector<uint32_t> DefaultFrames(const std::string& path, const Trace& trace);

// A replay, and what the pool has to keep to.
struct HitRatioRow {
  Replay replay;
  // The part of the gap that it closes: for OLTP at the sizes above.
  std::optional<double> gap_min;
  // Points of hit ratio that it may be below LRU: elsewhere, with a cache of at most 10 % of the
  // pages, where OPT has at least half a point more than LRU.
  std::optional<double> below_lru_max;
};

HitRatioRow Judge(const std::string& path, const Trace& trace, const Replay& replay);

// Whether the row keeps to its bound. nullopt: it has none.
std::optional<bool> Met(const HitRatioRow& row);

// "OLTP.lis.zst: 914,145 references to 186,880 pages", and a table.
std::string FormatText(const std::string& path, const Trace& trace,
                       const std::vector<HitRatioRow>& rows);
// The same as one object; ratios in per cent; what does not exist is left out.
std::string FormatJson(const std::string& path, const Trace& trace,
                       const std::vector<HitRatioRow>& rows);

}  // namespace benchmarks

#endif  // BENCHMARKS_HIT_RATIOS_H_
