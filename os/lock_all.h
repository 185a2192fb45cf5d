// LockAllPresentMappings: all that this process has mapped now stays resident (mlockall(2)).

#ifndef OS_LOCK_ALL_H_
#define OS_LOCK_ALL_H_

#include <cstddef>

#include "os/errno.h"

namespace os {

// Reads in and locks what is mapped now, the program itself included; what is mapped later is not
// locked, and no longer is where MCL_FUTURE was in force. The heap gets `spare_heap_bytes` more
// before, less than 32 MiB, so that the next allocations of the calling thread are locked too; the
// heap is never trimmed then (mallopt(3)). ENOMEM: beyond RLIMIT_MEMLOCK; EPERM: that is 0. Then
// nothing was locked.
Errno LockAllPresentMappings(size_t spare_heap_bytes = 0);

}  // namespace os

#endif  // OS_LOCK_ALL_H_
