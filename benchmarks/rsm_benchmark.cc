// Measures every figure that rsm promises of one machine, in one run:
//
//   tools/bazel run -c opt //benchmarks:rsm_benchmark -- [flags]
//
// Flags and exit status: benchmarks/figures_main.h. 15 rounds in slices of 5 ms.

#include "benchmarks/figures_main.h"
#include "benchmarks/rsm_figures.h"

namespace {

std::vector<benchmarks::Figure> Figures(std::chrono::nanoseconds slice) {
  benchmarks::SegmentScale scale;
  scale.slice = slice;
  return benchmarks::RsmFigures(scale);
}

}  // namespace

int main(int argc, char** argv) {
  return benchmarks::FiguresMain(argc, argv, {.name = "rsm_benchmark", .figures = Figures});
}
