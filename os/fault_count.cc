#include "os/fault_count.h"

#include <sys/resource.h>

namespace os {

FaultCount FaultCount::OfThisThread() {
  rusage usage{};
  (void)getrusage(RUSAGE_THREAD, &usage);  // fails only for an unknown `who`
  return {static_cast<uint64_t>(usage.ru_minflt), static_cast<uint64_t>(usage.ru_majflt)};
}

}  // namespace os
