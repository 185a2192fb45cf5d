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

std::vector<Operation> PoolTries(const PageFile& file, Keys keys, size_t threads) {
  const Pool pool = FilledPool(file);
  (void)ReadPage(*pool, 0);  // this thread's first call need not be a hit
  return ReadByThreads(keys, file.pages(), threads, [pool](uint32_t page) {
    const mpool::PagePin pin = pool->TryGet(page);
    if (pin.bytes().empty()) [[unlikely]]
      Fail("mpool", "TryGet has found no page");
    return FirstWord(pin.bytes().data());
  });
}

}  // namespace benchmarks
