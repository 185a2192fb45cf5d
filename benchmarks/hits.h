// Hits: reading the first word of a page that is cached, by each of those who can do it.
//
// Each of these holds all pages of the file, which must outlive what is returned: one operation for
// each thread. They read the pages in the order of `keys`; the threads in orders of their own.

#ifndef BENCHMARKS_HITS_H_
#define BENCHMARKS_HITS_H_

#include <cstddef>
#include <vector>

#include "benchmarks/in_turn.h"
#include "benchmarks/keys.h"
#include "benchmarks/page_file.h"

namespace benchmarks {

using MakeHits = std::vector<Operation>(const PageFile& file, Keys keys, size_t threads);

// A lookup and nothing else.
MakeHits FloorHits;
// mpool::PagePool: Get, and the end of the pin.
MakeHits PoolHits;
// The same by TryGet.
MakeHits PoolTries;
// mpool_get and mpool_put of libmpool.so, as a program calls them that is linked with it.
MakeHits LibraryHits;
// Berkeley DB 5.3, a private environment that is safe for threads: DB_MPOOLFILE's get and put.
MakeHits BerkeleyDbHits;

}  // namespace benchmarks

#endif  // BENCHMARKS_HITS_H_
