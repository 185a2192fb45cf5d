// DropPageCache: lets go of what the page cache has of a file (POSIX_FADV_DONTNEED of
// posix_fadvise(2)).

#ifndef OS_PAGE_CACHE_H_
#define OS_PAGE_CACHE_H_

#include <cstdint>

#include "os/errno.h"

namespace os {

// Of the first `bytes` bytes; of 0 nothing. Who reads them next pays for them, and is charged for
// them. Dirty pages and those that some process has mapped stay, which is no error.
Errno DropPageCache(int descriptor, uint64_t bytes);

}  // namespace os

#endif  // OS_PAGE_CACHE_H_
