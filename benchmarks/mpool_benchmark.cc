// Measures every figure that mpool promises of speed and memory, in one run:
//
//   tools/bazel run -c opt //benchmarks:mpool_benchmark -- [flags]
//
// Flags and exit status: benchmarks/figures_main.h. 15 rounds in slices of 15 ms. What a
// replacement policy is worth is measured by //benchmarks:hit_ratio.

#include "benchmarks/figures_main.h"
#include "benchmarks/mpool_figures.h"

namespace {

std::vector<benchmarks::Figure> Figures(std::chrono::nanoseconds slice) {
  benchmarks::PoolScale scale;
  scale.slice = slice;
  return benchmarks::MpoolFigures(scale);
}

}  // namespace

int main(int argc, char** argv) {
  return benchmarks::FiguresMain(argc, argv,
                                 {.name = "mpool_benchmark", .figures = Figures, .slice_ms = 15});
}
