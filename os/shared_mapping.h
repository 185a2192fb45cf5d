// SharedMapping: views of memory that processes share.
//
// Functions on address ranges, as mmap(2), mremap(2) and shmat(2), past whatever replaces those in
// this process (raw_memory.h). Offsets and lengths are in bytes and multiples of the page size.
//
// Thread-safe. All calls enter the kernel. What they map is inherited by a forked child unless told
// otherwise.

#ifndef OS_SHARED_MAPPING_H_
#define OS_SHARED_MAPPING_H_

#include <cstddef>
#include <cstdint>

#include "os/errno.h"
#include "os/result.h"

namespace os {

enum class View { kReadOnly, kReadWrite };
enum class Place {
  kAnywhere,  // `address` is ignored
  kFree,      // at `address`, where nothing is mapped yet; EEXIST: something is
  kReplace,   // at `address`, in the place of what is mapped there, which stays after an error
};

// Maps a part of a file, shared, and reads its pages in, as far as that goes. EACCES: the
// descriptor does not allow the view. EPERM: the object refuses new writers. ENOMEM: no address
// space, or too many mappings. EINVAL: no bytes.
Result<void*> MapShared(int descriptor, uint64_t offset, size_t bytes, View view,
                        Place place = Place::kAnywhere, void* address = nullptr);

// A user, and the one of the user's groups that is known.
struct SysVUser {
  uint32_t user = 0;
  uint32_t group = 0;
};
// As MapShared, of a segment of shmget(2), in whole pages. The kernel counts an attachment until the
// last page is unmapped. `on_behalf_of`: who gave the number, and is to get nothing by this process
// that he does not get himself; null: nobody. EACCES: the segment's mode does not allow the view, or
// does not allow him to read and write. EINVAL: there is no such segment, or it has fewer pages; or
// the offset is none of a page.
Result<void*> MapSysV(int segment, uint64_t offset, size_t bytes, View view,
                      Place place = Place::kAnywhere, void* address = nullptr,
                      const SysVUser* on_behalf_of = nullptr);
// As MapShared at any place, and reads nothing in: for who touches the pages anyhow, or fills the file by
// write(2) first.
Result<void*> MapUntouched(int descriptor, uint64_t offset, size_t bytes, View view);
// The namespace in which numbers of such segments mean something (ipc_namespaces(7)), told from others; 0:
// it cannot be told.
uint64_t SysVNamespace();
// Fresh private memory of zeros.
Result<void*> MapPrivate(size_t bytes);
// Maps what one shared mapping maps a second time, elsewhere, with the same rights; it is inherited
// where that one is. EINVAL: it is private.
Result<void*> Duplicate(void* address, size_t bytes);
// Moves one mapping, or a part, in a single step to the place of what is mapped at `to`. ENOMEM:
// too many mappings. After an error all is as before; where the kernel can no longer bring that
// about, it aborts.
Errno Move(void* from, size_t bytes, void* to);
// Address space without memory (PROT_NONE) in the place of what is there.
Errno ReserveAgain(void* address, size_t bytes);
Errno UnmapShared(void* address, size_t bytes);

// A forked child finds a hole there, or again what the parent has. ENOMEM: too many mappings, or a
// part is not mapped.
Errno SetInherited(void* address, size_t bytes, bool inherited);

}  // namespace os

#endif  // OS_SHARED_MAPPING_H_
