// Measures every figure that pinlock promises against the bare system calls, in one run:
//
//   tools/bazel run -c opt //benchmarks:pinlock_benchmark -- [flags]
//
// Flags and exit status: benchmarks/figures_main.h. 15 rounds in slices of 5 ms.

#include "benchmarks/figures_main.h"
#include "benchmarks/pinlock_figures.h"

namespace {

std::vector<benchmarks::Figure> Figures(std::chrono::nanoseconds slice) {
  benchmarks::Scale scale;
  scale.slice = slice;
  return benchmarks::PinlockFigures(scale);
}

}  // namespace

int main(int argc, char** argv) {
  return benchmarks::FiguresMain(argc, argv, {.name = "pinlock_benchmark", .figures = Figures});
}
