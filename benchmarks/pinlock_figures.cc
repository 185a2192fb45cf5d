#include "benchmarks/pinlock_figures.h"

#include <utility>

namespace benchmarks {

std::vector<Figure> PinlockFigures(const Scale& scale) {
  std::vector<Figure> all;
  for (const auto group :
       {NestedPinFigures, TwoThreadFigures, FirstPinFigures, WaitFigures, MetadataFigures}) {
    for (Figure& figure : group(scale)) all.push_back(std::move(figure));
  }
  return all;
}

}  // namespace benchmarks
