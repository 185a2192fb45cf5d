// OpenPool, ClosePool: what both interfaces do to have a pool and to be rid of it.

#ifndef MPOOL_INTERNAL_OPEN_POOL_H_
#define MPOOL_INTERNAL_OPEN_POOL_H_

#include <cstddef>
#include <span>

#include "mpool/internal/locker.h"
#include "mpool/internal/pool_config.h"
#include "mpool/internal/pool_core.h"
#include "os/result.h"

namespace mpool::internal {

// A pool of this process alone, over the caller's descriptor. It is published if the configuration
// says so, or the environment does (MPOOL_PUBLISH). The text of every error is in ErrorText().
os::Result<PoolCore*> OpenPool(Locker& locker, int descriptor, const PoolConfig& config);
// A pool of either kind.
void ClosePool(PoolCore* pool);

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_OPEN_POOL_H_
