#include "os/page_cache.h"

#include <fcntl.h>

namespace os {

Errno DropPageCache(int descriptor, uint64_t bytes) {
  if (bytes == 0) return kSuccess;  // to posix_fadvise(2) that is the whole file
  return Errno(posix_fadvise(descriptor, 0, static_cast<off_t>(bytes), POSIX_FADV_DONTNEED));
}

}  // namespace os
