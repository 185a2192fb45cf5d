// MapLocked, WipeAndUnmap: the memory of a LockedRegion, on any os::Memory.
//
// Private to this folder. Apart from LockedRegion so that tests can make each call of the kernel
// fail.

#ifndef PINLOCK_LOCKED_MAPPING_H_
#define PINLOCK_LOCKED_MAPPING_H_

#include "absl/status/statusor.h"
#include "os/memory.h"
#include "os/page_range.h"

namespace pinlock::internal {

struct LockedMappingOptions {
  os::PageCount count;
  os::PageCount alignment = os::PageCount(1);  // in pages, a power of two
  os::Memory::Fork fork = os::Memory::Fork::kOmit;
  bool omit_from_dumps = false;
};

// Maps fresh pages and pins them by mpin(3). Errors as of LockedRegion::Allocate; nothing is left
// mapped or pinned then. Thread-safe.
absl::StatusOr<os::PageRange> MapLocked(os::Memory& memory, const LockedMappingOptions& options);

// Zeroes the pages, unpins them where `pinned`, and unmaps them. Where the pin cannot be taken back
// they stay mapped, for their counters would pass on to whatever is mapped there next. Thread-safe.
void WipeAndUnmap(os::Memory& memory, os::PageRange pages, bool pinned);

}  // namespace pinlock::internal

#endif  // PINLOCK_LOCKED_MAPPING_H_
