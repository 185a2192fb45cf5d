#include "benchmarks/mpool_figures.h"

#include <utility>

namespace benchmarks {

std::vector<Figure> MpoolFigures(const PoolScale& scale) {
  std::vector<Figure> all;
  for (const auto group : {HitFigures, PoolThreadFigures, MissFigures, SyncFigures,
                           PoolMemoryFigures, FullPoolFigures, SharedPoolFigures, LatencyFigures}) {
    for (Figure& figure : group(scale)) all.push_back(std::move(figure));
  }
  return all;
}

}  // namespace benchmarks
