#include "benchmarks/hits.h"

#include <memory>

#include "benchmarks/filled_pool.h"
#include "benchmarks/floor.h"

namespace benchmarks {

std::vector<Operation> FloorHits(const PageFile& file, Keys keys, size_t threads) {
  const auto floor = std::make_shared<const Floor>(file, file.pages());
  // As often as the pool's pages, so that the machine has brought the memory of both.
  volatile uint64_t words = 0;
  for (int pass = 0; pass < kFillPasses; ++pass) {
    for (uint32_t page = 0; page < file.pages(); ++page) words = words + floor->Read(page);
  }
  return ReadByThreads(keys, file.pages(), threads,
                       [floor](uint32_t page) { return floor->Read(page); });
}

std::vector<Operation> PoolHits(const PageFile& file, Keys keys, size_t threads) {
  const Pool pool = FilledPool(file);
  return ReadByThreads(keys, file.pages(), threads,
                       [pool](uint32_t page) { return ReadPage(*pool, page); });
}

}  // namespace benchmarks
