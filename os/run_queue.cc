#include "os/run_queue.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

namespace os {

RunQueueDelay::RunQueueDelay()
    : descriptor_(open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC)) {}

RunQueueDelay::~RunQueueDelay() {
  if (descriptor_ >= 0) close(descriptor_);
}

double RunQueueDelay::Ns() const {
  char text[128];
  const ssize_t bytes = pread(descriptor_, text, sizeof(text) - 1, 0);
  if (bytes <= 0) return 0;
  text[bytes] = '\0';
  // Nanoseconds on a CPU, nanoseconds ready for one, number of turns.
  unsigned long long delay_ns = 0;
  return std::sscanf(text, "%*u %llu", &delay_ns) == 1 ? static_cast<double>(delay_ns) : 0;
}

}  // namespace os
