// WaitForDescriptors: poll(2) until a point in time.

#ifndef OS_POLL_H_
#define OS_POLL_H_

#include <poll.h>

#include <chrono>
#include <span>

#include "os/errno.h"

namespace os {

// Sets `revents` of each. ETIMEDOUT: `deadline` has passed, and none is ready (time_point::max(): none).
// EINTR: a signal came. EINVAL: more descriptors than RLIMIT_NOFILE. Thread-safe; enters the kernel.
Errno WaitForDescriptors(std::span<pollfd> descriptors,
                         std::chrono::steady_clock::time_point deadline);

}  // namespace os

#endif  // OS_POLL_H_
