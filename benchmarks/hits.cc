#include "benchmarks/hits.h"

#include <memory>

#include "benchmarks/filled_pool.h"
#include "benchmarks/floor.h"

namespace benchmarks {

std::vector<Operation> FloorHits(const PageFile& file, Keys keys, size_t threads) {
  const auto floor = std::make_shared<const Floor>(file, file.pages());
  return ReadByThreads(keys, file.pages(), threads,
                       [floor](uint32_t page) { return floor->Read(page); });
}

std::vector<Operation> PoolHits(const PageFile& file, Keys keys, size_t threads) {
  const Pool pool = FilledPool(file);
  return ReadByThreads(keys, file.pages(), threads,
                       [pool](uint32_t page) { return ReadPage(*pool, page); });
}

}  // namespace benchmarks
