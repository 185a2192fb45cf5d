// What two policies would have made of a trace: the one that everybody has, and the best there is.
//
// Exact and pure. All frames are empty at first. Precondition: there is at least one frame.

#ifndef BENCHMARKS_SIMULATIONS_H_
#define BENCHMARKS_SIMULATIONS_H_

#include <cstdint>

#include "benchmarks/trace.h"

namespace benchmarks {

// How many references find their page, if the victim is the page that was least recently asked for.
uint64_t LruHits(const Trace& trace, uint32_t frames);

// If the victim is the page that is not asked for again for the longest time (Belady's OPT): no
// policy that takes each missing page in has more.
uint64_t OptHits(const Trace& trace, uint32_t frames);

}  // namespace benchmarks

#endif  // BENCHMARKS_SIMULATIONS_H_
