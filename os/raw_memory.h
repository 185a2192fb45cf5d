// The memory system calls themselves, past whatever replaces the C library's functions of the same
// names: this project does so itself (//pinlock:interpose), and would otherwise meet itself.
//
// Arguments, results and errno are those of mmap(2), munmap(2), mremap(2) and madvise(2). Under
// the sanitizers the C library's functions are called, because their runtimes have to see mappings.

#ifndef OS_RAW_MEMORY_H_
#define OS_RAW_MEMORY_H_

#include <cstddef>
#include <cstdint>

namespace os {

void* RawMmap(void* address, size_t bytes, int protection, int flags, int descriptor,
              int64_t offset);
int RawMunmap(void* address, size_t bytes);
void* RawMremap(void* address, size_t bytes, size_t new_bytes, int flags, void* new_address);
int RawMadvise(void* address, size_t bytes, int advice);

// What mmap(2) and mremap(2) return where they fail.
inline void* const kMmapFailed = reinterpret_cast<void*>(~uintptr_t{0});

// Whether an mmap(2) with these flags unmaps what is there (MAP_FIXED).
bool ReplacesMappings(int flags);
// Whether an mremap(2) with these flags is given a new address (MREMAP_FIXED, MREMAP_DONTUNMAP).
bool HasNewAddress(int flags);
// Whether an mremap(2) with these flags unmaps what is at the new address (MREMAP_FIXED).
bool ReplacesWhereItMoves(int flags);
// What mmap(2) does with MAP_POPULATE, in two parts: flags without it, and the reading in, as far as
// that goes; nothing where the flags do not ask for it. The second takes Linux 5.14.
int WithoutPopulating(int flags);
void PopulateIfAsked(void* address, size_t bytes, int protection, int flags);
// Whether a madvise(2) takes locked pages away (MADV_DONTNEED_LOCKED).
bool DropsLockedPages(int advice);

}  // namespace os

#endif  // OS_RAW_MEMORY_H_
