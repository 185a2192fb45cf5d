// KindOfMemory: what a range of addresses is, for who wants to export it.

#ifndef RSM_INTERNAL_MEMORY_KIND_H_
#define RSM_INTERNAL_MEMORY_KIND_H_

#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "os/memory_object.h"

namespace rsm::internal {

struct MemoryKind {
  enum class Type {
    kPrivate,  // all of it
    kFile,     // one part of one file in memory, shared
    kSysV,     // one part of one segment of shmget(2)
  };
  Type type = Type::kPrivate;
  os::FileNumber file;  // of kFile
  int sysv = -1;
  uint64_t offset = 0;  // bytes into it
};

// BAD_ADDR: not mapped, inaccessible, a mixture, shared memory of another kind, huge pages of hugetlbfs,
// or the calling thread's stack. PERM_DENIED: read-only. INSUFFICIENT_RESOURCES: no descriptor to ask by.
// With Fail's text. Page-aligned; enters the kernel once for each mapping.
int KindOfMemory(void* address, size_t bytes, MemoryKind& kind);

// Calls `visit` for each part of the range that maps this file, from that offset on, shared; neighbours are
// one part. It may map something else there. INSUFFICIENT_RESOURCES: no descriptor to ask by; not all of
// them were visited.
int ForEachPartThatMaps(void* address, size_t bytes, os::FileNumber file, uint64_t offset,
                        absl::FunctionRef<void(void* address, size_t bytes)> visit);

// RSM_SUCCESS: all of the range maps this file, from that offset on, shared. BAD_ADDR: the program has
// mapped something else there, or nothing. INSUFFICIENT_RESOURCES: no descriptor to ask by.
int CheckMaps(void* address, size_t bytes, os::FileNumber file, uint64_t offset);

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_MEMORY_KIND_H_
