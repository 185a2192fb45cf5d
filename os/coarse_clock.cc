#include "os/coarse_clock.h"

#include <ctime>

namespace os {

CoarseTime CoarseNow() {
  timespec now{};
  (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);  // fails only for an unknown clock
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace os
