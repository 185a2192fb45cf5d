#include "benchmarks/filled_pool.h"

namespace benchmarks {

Pool OpenPool(const PageFile& file, uint64_t frames) {
  return Must(mpool::PagePool::Open(
      file.fd(), {.page_size = kPageBytes, .pages_max = static_cast<uint32_t>(frames)}));
}

void Fill(mpool::PagePool& pool, uint64_t pages) {
  const uint64_t misses = Must(pool.stats()).misses;
  for (int pass = 0; pass < kFillPasses; ++pass) {
    for (uint32_t page = 0; page < pages; ++page) (void)ReadPage(pool, page);
  }
  if (Must(pool.stats()).misses > misses + pages) Fail("mpool", "the pool did not keep all pages");
}

Pool FilledPool(const PageFile& file) {
  Pool pool = OpenPool(file, file.pages());
  Fill(*pool, file.pages());
  return pool;
}

}  // namespace benchmarks
