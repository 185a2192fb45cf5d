// The figures of rsm, against memcpy(3) and bare system calls.
//
// Every function gives some lines of the table; RsmFigures() gives all. A call that fails ends the
// program with status 1. Whoever exports to who is measured is another process, but for the figure
// that says otherwise.

#ifndef BENCHMARKS_RSM_FIGURES_H_
#define BENCHMARKS_RSM_FIGURES_H_

#include <chrono>
#include <cstdint>
#include <vector>

#include "benchmarks/figure.h"

namespace benchmarks {

// How much is measured. The bounds hold for these values; smaller ones are for tests.
struct SegmentScale {
  std::chrono::nanoseconds slice = std::chrono::milliseconds(5);
  uint64_t segment_bytes = 1 << 20;
  uint64_t large_bytes = 16 << 20;
};

// Reading through a map; get and put.
std::vector<Figure> TransferFigures(const SegmentScale& scale);
// Making a segment, and being let into it.
std::vector<Figure> SegmentFigures(const SegmentScale& scale);
// The exporter's death, and what it costs while nothing happens.
std::vector<Figure> ExporterFigures(const SegmentScale& scale);

std::vector<Figure> RsmFigures(const SegmentScale& scale);

}  // namespace benchmarks

#endif  // BENCHMARKS_RSM_FIGURES_H_
