#include "os/raw_memory.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#ifdef __has_feature
#define OS_HAS_FEATURE(feature) __has_feature(feature)
#else
#define OS_HAS_FEATURE(feature) 0
#endif

namespace os {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    OS_HAS_FEATURE(address_sanitizer) || OS_HAS_FEATURE(thread_sanitizer)
constexpr bool kByTheLibrary = true;
#else
constexpr bool kByTheLibrary = false;
#endif

// Newer than the headers of Debian 12.
constexpr int kDontUnmap = 4;
constexpr int kDontNeedLocked = 24;
constexpr int kPopulateRead = 22;
constexpr int kPopulateWrite = 23;

void* AsPointer(long result) { return reinterpret_cast<void*>(result); }

}  // namespace

void* RawMmap(void* address, size_t bytes, int protection, int flags, int descriptor,
              int64_t offset) {
  if (kByTheLibrary) return mmap(address, bytes, protection, flags, descriptor, offset);
  return AsPointer(syscall(SYS_mmap, address, bytes, protection, flags, descriptor, offset));
}

int RawMunmap(void* address, size_t bytes) {
  if (kByTheLibrary) return munmap(address, bytes);
  return static_cast<int>(syscall(SYS_munmap, address, bytes));
}

void* RawMremap(void* address, size_t bytes, size_t new_bytes, int flags, void* new_address) {
  if (kByTheLibrary) return mremap(address, bytes, new_bytes, flags, new_address);
  return AsPointer(syscall(SYS_mremap, address, bytes, new_bytes, flags, new_address));
}

int RawMadvise(void* address, size_t bytes, int advice) {
  if (kByTheLibrary) return madvise(address, bytes, advice);
  return static_cast<int>(syscall(SYS_madvise, address, bytes, advice));
}

bool ReplacesMappings(int flags) {
  return (flags & MAP_FIXED) != 0 && (flags & MAP_FIXED_NOREPLACE) == 0;
}

bool HasNewAddress(int flags) { return (flags & (MREMAP_FIXED | kDontUnmap)) != 0; }

int WithoutPopulating(int flags) { return flags & ~MAP_POPULATE; }

void PopulateIfAsked(void* address, size_t bytes, int protection, int flags) {
  if ((flags & MAP_POPULATE) == 0 || (flags & MAP_NONBLOCK) != 0) return;
  const bool copies = (protection & PROT_WRITE) != 0 && (flags & MAP_TYPE) == MAP_PRIVATE;
  const int saved = errno;
  (void)RawMadvise(address, bytes, copies ? kPopulateWrite : kPopulateRead);
  errno = saved;
}

bool ReplacesWhereItMoves(int flags) { return (flags & MREMAP_FIXED) != 0; }

bool DropsLockedPages(int advice) { return advice == kDontNeedLocked; }

}  // namespace os
