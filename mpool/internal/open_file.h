// OpenPoolFile: whether a descriptor can be a pool's file, the same for both interfaces.

#ifndef MPOOL_INTERNAL_OPEN_FILE_H_
#define MPOOL_INTERNAL_OPEN_FILE_H_

#include <memory>

#include "os/file.h"
#include "os/result.h"

namespace mpool::internal {

// A File over the descriptor, which stays the caller's. EBADF: not open, or not for reading.
// ESPIPE: not a regular file. EINVAL: opened with O_APPEND. The text is in ErrorText().
os::Result<std::unique_ptr<os::File>> OpenPoolFile(int descriptor);

// What is said of pages without a byte: EINVAL.
os::Errno NoPageSize();

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_OPEN_FILE_H_
