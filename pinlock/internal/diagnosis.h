// Diagnose: finds out why the kernel refused a lock.
//
// Diagnose runs only after a failure, when the failed call has been undone, so it may take its
// time: walks the mappings of the range and asks the kernel whether the limit allowed it. Another
// thread that changes the address space meanwhile can make the answer a wrong one; it is always one
// of the documented ones.

#ifndef PINLOCK_INTERNAL_DIAGNOSIS_H_
#define PINLOCK_INTERNAL_DIAGNOSIS_H_

#include "os/limits.h"
#include "os/memory.h"
#include "pinlock/internal/failure.h"

namespace pinlock::internal {

// Sets cause, error, where and the numbers of `failure`. `range` is what the caller asked for,
// `needed` how many of its pages were not locked before, `kernel` what Memory::Lock returned.
void Diagnose(os::Memory& memory, const os::Limits& limits, os::PageRange range,
              os::PageCount needed, os::Errno kernel, Failure& failure);

// What can be told before a lock is tried: whether it is bound to fail for a page that is not
// mapped or not accessible, or for the limit. If so, sets `failure` as Diagnose does.
bool DiagnoseBeforehand(os::Memory& memory, const os::Limits& limits, os::PageRange range,
                        os::PageCount needed, Failure& failure);

// The first page of the range that is not mapped; the range's end where all are.
os::PageNumber FirstUnmapped(const os::Memory& memory, os::PageRange range);

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_DIAGNOSIS_H_
