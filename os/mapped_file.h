// The file behind a mapping: how long it is, and whether it has a block for each of its pages.
//
// A mapping outlives the descriptor that it was made with, and its file may have lost its name. So
// the file is looked for by path first and then among the open descriptors of this process; what is
// found is compared with the mapping's device and number. It is opened in a child alone, as closing
// it in this process would drop the record locks (fcntl(2)) that the program holds on it. Behind
// Memory; nobody else needs it.

#ifndef OS_MAPPED_FILE_H_
#define OS_MAPPED_FILE_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "os/errno.h"
#include "os/memory.h"

namespace os {

// Bytes in the file now. nullopt: the file cannot be found. Safe from every thread; enters the
// kernel; may throw std::bad_alloc.
std::optional<uint64_t> MappedFileBytes(const Mapping& mapping);

// Allocates blocks for the holes under `pages`, which lie in the mapping, without changing what the
// file holds or how long it is. `page_size` is in bytes. ENOSPC: no block, or no quota; blocks that
// the file system does not take back stay allocated. ENOTSUP: the file was not found open for
// writing, or its file system cannot do it. Other errors are those of fallocate(2).
Errno AllocateHoles(const Mapping& mapping, PageRange pages, size_t page_size);

}  // namespace os

#endif  // OS_MAPPED_FILE_H_
