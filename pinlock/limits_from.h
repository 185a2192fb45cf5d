// LimitsFrom: the Limits that some os::Limits tells of.
//
// Private to this folder. Apart from Limits::Read so that tests can say what the kernel says.

#ifndef PINLOCK_LIMITS_FROM_H_
#define PINLOCK_LIMITS_FROM_H_

#include <cstdint>
#include <optional>

#include "os/limits.h"
#include "os/result.h"
#include "pinlock/limits.h"

namespace pinlock::internal {

// What os::Limits does not tell, each as os/limits.h gives it.
struct ProcessFacts {
  os::Result<bool> in_initial_user_namespace = true;
  os::Result<uint64_t> mappings_max = os::Errno(ENOENT);
  os::Result<uint64_t> mappings = os::Errno(ENOENT);
  std::optional<uint64_t> plock_max_bytes = {};
  uint64_t pinned_bytes = 0;
};

Limits LimitsFrom(const os::Limits& limits, const ProcessFacts& facts);

}  // namespace pinlock::internal

#endif  // PINLOCK_LIMITS_FROM_H_
