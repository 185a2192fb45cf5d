#include "benchmarks/rsm_figures.h"

#include <utility>

namespace benchmarks {

std::vector<Figure> RsmFigures(const SegmentScale& scale) {
  std::vector<Figure> all;
  for (const auto group : {TransferFigures, SegmentFigures, ExporterFigures}) {
    for (Figure& figure : group(scale)) all.push_back(std::move(figure));
  }
  return all;
}

}  // namespace benchmarks
