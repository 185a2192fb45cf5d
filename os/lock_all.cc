#include "os/lock_all.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cstdlib>

namespace os {

Errno LockAllPresentMappings(size_t spare_heap_bytes) {
  constexpr int kLargest = 32 << 20;  // that the C library takes
  if (spare_heap_bytes > 0) {
    // Freed memory stays at the end of the heap; blocks of this size come from there too.
    (void)mallopt(M_MMAP_THRESHOLD, kLargest);
    (void)mallopt(M_TRIM_THRESHOLD, kLargest + kLargest);
    void* volatile spare = std::malloc(spare_heap_bytes);
    std::free(spare);
  }
  return mlockall(MCL_CURRENT) == 0 ? kSuccess : Errno::Last();
}

}  // namespace os
