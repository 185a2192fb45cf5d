// The probes of pinlock, for tracers (os/probe.h): pinlock(7), "Tracing".

#ifndef PINLOCK_INTERNAL_PROBES_H_
#define PINLOCK_INTERNAL_PROBES_H_

#include <cstdint>

#include "os/errno.h"

namespace pinlock::internal::probe {

void Lock(uintptr_t address, uint64_t pages, os::Errno error);
void PinFailed(uintptr_t address, uint64_t bytes, os::Errno error);

}  // namespace pinlock::internal::probe

#endif  // PINLOCK_INTERNAL_PROBES_H_
