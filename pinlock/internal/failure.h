// Failure: why a lock or unlock was refused, in numbers and in words.
//
// mlock(2) says ENOMEM for four different things. Here the cause is found out after the failure,
// when time no longer matters, and the message says what was asked, what is held, which limit bit
// and what to change. It is plain data of fixed size: reporting "no memory" needs none.

#ifndef PINLOCK_INTERNAL_FAILURE_H_
#define PINLOCK_INTERNAL_FAILURE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "os/errno.h"
#include "os/limits.h"
#include "os/page_range.h"

namespace pinlock::internal {

enum class Cause {
  kNone,
  kRangeWraps,       // EINVAL: address + length is beyond the address space
  kHole,             // EINVAL: a page is not mapped
  kInaccessible,     // EINVAL: a page is mapped PROT_NONE
  kPastEndOfFile,    // EINVAL: a page of a file mapping lies beyond the file's end
  kNotLockable,      // EINVAL: memory that the kernel never locks (devices, memfd_secret)
  kNotPinned,        // EINVAL: munpin of a page whose count is 0
  kNoResult,         // EINVAL: a null pointer for the answer
  kLimit,            // ENOMEM: beyond RLIMIT_MEMLOCK
  kLimitZero,        // ENOMEM: RLIMIT_MEMLOCK is 0
  kPageLimit,        // ENOMEM: beyond PLOCK_MAX (mpin_set_max_pages)
  kRssLimit,         // ENOMEM: beyond RLIMIT_RSS
  kCountFull,        // EAGAIN: a page's count is at its maximum
  kTooManyMappings,  // EAGAIN: vm.max_map_count
  kNoMemory,         // EAGAIN: no memory for the pages
  kNoHeadroom,       // EAGAIN: the cgroup or the machine would kill somebody for the pages
  kNoTableMemory,    // EAGAIN: no memory for the counters
  kNoPagemap,        // /proc/self/pagemap could not be read; the error is that of reading it
  kFileSystemFull,   // ENOSPC: no block for a page of a file mapping
  kBusy,             // EBUSY: another thread's I/O uses a page
  kNoIo,             // EINVAL: mpin_io_end without this thread's mpin_io_begin
  kOverlap,          // EINVAL: mpin_moved between ranges that overlap
};

enum class Operation {
  kLock,
  kCheck,
  kUnlock,
  kQuery,
  kStat,
  kForget,
  kMoved,
  kRefresh,
  kIoBegin,
  kIoEnd,
  kSetMaxPages,
};

struct Failure {
  os::Errno error;
  Cause cause = Cause::kNone;
  Operation operation = Operation::kLock;
  uintptr_t address = 0;  // what the caller asked for, in bytes
  size_t bytes = 0;
  uintptr_t where = 0;        // the first page concerned, in bytes, for causes that have one
  uint64_t bytes_needed = 0;  // not locked before
  uint64_t bytes_held = 0;    // locked by this process, as the kernel counts
  uint64_t limit_soft = 0;    // bytes; kUnlimited for none
  uint64_t limit_hard = 0;
  uint64_t mappings_max = 0;
  os::Headroom headroom;  // for kNoHeadroom
  int32_t thread = 0;     // whose I/O, for kBusy
  bool privilege_in_namespace_only = false;

  static constexpr uint64_t kUnlimited = ~uint64_t{0};
};

// The errno by which a cause is reported.
os::Errno ErrnoOf(Cause cause);

// One line without a newline, cut to fit, NUL-terminated. Allocates nothing.
void Describe(const Failure& failure, std::span<char> text);

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_FAILURE_H_
