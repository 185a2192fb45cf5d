// Figure: one line of a benchmark's table, and how to measure it.

#ifndef BENCHMARKS_FIGURE_H_
#define BENCHMARKS_FIGURE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "benchmarks/in_turn.h"
#include "benchmarks/table.h"

namespace benchmarks {

struct Figure {
  std::string name;   // short, for --benchmark_filter: "nested/1"
  std::string title;  // for the table: "nested pin, 1 page"
  Unit unit = Unit::kNanoseconds;
  std::vector<Bound> bounds;
  bool overhead = false;      // as in Row
  uint64_t locked_pages = 0;  // the most that it locks at a time
  uint64_t other_pages = 0;   // that it fills besides
  size_t cpus = 1;            // that it needs
  bool once = false;          // counted rather than timed: one round tells all
  // Whatever else is missing here; "" or empty: nothing.
  std::function<std::string()> obstacle;
  // Sets up what is measured, which lives as long as the sides do.
  std::function<InTurn()> prepare;
};

// Why the figure cannot be measured here: the lock limit, the memory, the number of CPUs. Empty: it
// can. Asks the kernel.
std::string ReasonToSkip(const Figure& figure);

}  // namespace benchmarks

#endif  // BENCHMARKS_FIGURE_H_
