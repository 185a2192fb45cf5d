#include "mpool/internal/open_pool.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "mpool/internal/error_text.h"
#include "mpool/internal/open_file.h"
#include "mpool/internal/publisher.h"
#include "os/descriptor.h"

namespace mpool::internal {
namespace {

// Not where the environment is another user's, as in a program that is set-user-ID.
bool EnvironmentPublishes() {
  const char* value = secure_getenv("MPOOL_PUBLISH");
  return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0;
}

}  // namespace

os::Result<PoolCore*> OpenPool(Locker& locker, int descriptor, const PoolConfig& config) {
  os::Result<std::unique_ptr<os::File>> file = OpenPoolFile(descriptor);
  if (!file.ok()) return file.error();
  if (config.page_size == 0) return NoPageSize();
  const os::Result<PoolCore*> pool =
      PoolCore::Open(os::RealMemory(), locker, std::move(*file), config);
  if (!pool.ok() || !(config.publish || EnvironmentPublishes())) return pool;
  const os::Result<os::FileOrigin> origin = os::OriginOf(descriptor);
  const os::Errno error = Publish(**pool, origin.ok() ? origin->path : std::string());
  if (error.ok()) return pool;
  if (config.publish) {
    PoolCore::Close(*pool);
    return error;
  }
  // A program that knows nothing of it goes on.
  std::fprintf(stderr, "mpool: MPOOL_PUBLISH is set, but %s\n", ErrorText());
  return pool;
}

void ClosePool(PoolCore* pool) {
  Withdraw(*pool);
  PoolCore::Close(pool);
}

}  // namespace mpool::internal
