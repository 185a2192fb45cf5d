#include "pinlock/internal/probes.h"

#include "os/probe.h"

namespace pinlock::internal::probe {

OS_PROBE_FUNCTION void Lock(uintptr_t address, uint64_t pages, os::Errno error) {
  OS_PROBE3(pinlock, lock, address, pages, error.code());
}

OS_PROBE_FUNCTION void PinFailed(uintptr_t address, uint64_t bytes, os::Errno error) {
  OS_PROBE3(pinlock, pin_failed, address, bytes, error.code());
}

}  // namespace pinlock::internal::probe
