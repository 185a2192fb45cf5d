// FiguresMain: the program around a list of figures. Its flags:
//
//   --rounds=N               rounds for each figure; medians are quoted
//   --slice_ms=N             how long a side of a round runs
//   --table=text|markdown    the table at the end; with markdown, standard output has nothing but
//                            the machine and the table
//   --benchmark_filter=RE, --benchmark_out=FILE, --benchmark_out_format=json and the other flags
//                            of Google Benchmark, but for the number and length of its iterations
//
// Exit status: 0, however slow; 1 where something is broken, as a pin that fails; 2 wrong usage.

#ifndef BENCHMARKS_FIGURES_MAIN_H_
#define BENCHMARKS_FIGURES_MAIN_H_

#include <chrono>
#include <cstdint>
#include <vector>

#include "benchmarks/figure.h"

namespace benchmarks {

struct FiguresProgram {
  const char* name;
  std::vector<Figure> (*figures)(std::chrono::nanoseconds slice);
  // Without flags.
  int64_t rounds = 15;
  int64_t slice_ms = 5;
};

// Returns the exit status. Call it once.
int FiguresMain(int argc, char** argv, const FiguresProgram& program);

}  // namespace benchmarks

#endif  // BENCHMARKS_FIGURES_MAIN_H_
