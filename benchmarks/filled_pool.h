// A pool that holds all pages of a file, so that every get of it is a hit.

#ifndef BENCHMARKS_FILLED_POOL_H_
#define BENCHMARKS_FILLED_POOL_H_

#include <cstdint>
#include <memory>

#include "benchmarks/must.h"
#include "benchmarks/page_file.h"
#include "mpool/mpool.h"
#include "mpool/page_pool.h"

namespace benchmarks {

using Pool = std::shared_ptr<mpool::PagePool>;

// With frames for so many pages, which the file may have more of; empty.
Pool OpenPool(const PageFile& file, uint64_t frames);

// The first word of a page that need not be in the pool.
inline uint64_t ReadPage(mpool::PagePool& pool, uint32_t page) {
  const absl::StatusOr<mpool::PagePin> pin = pool.Get(page);
  if (!pin.ok()) [[unlikely]]
    Must(pin.status());
  return FirstWord(pin->bytes().data());
}

// How often a pool gets each page before it is measured; the first one misses.
inline constexpr int kFillPasses = 4;

// Gets the first `pages` pages so often, so that a policy has settled which ones are popular.
// Ends the program if a page was missed twice: there was no room for all.
void Fill(mpool::PagePool& pool, uint64_t pages);

// Opened and filled.
Pool FilledPool(const PageFile& file);

}  // namespace benchmarks

#endif  // BENCHMARKS_FILLED_POOL_H_
