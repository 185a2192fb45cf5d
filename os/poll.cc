#include "os/poll.h"

namespace os {

Errno WaitForDescriptors(std::span<pollfd> descriptors,
                         std::chrono::steady_clock::time_point deadline) {
  using Clock = std::chrono::steady_clock;
  timespec left = {};
  const bool has_end = deadline != Clock::time_point::max();
  if (has_end) {
    const Clock::time_point now = Clock::now();
    const auto time = deadline > now ? deadline - now : Clock::duration::zero();
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
    left.tv_sec = seconds.count();
    left.tv_nsec = std::chrono::nanoseconds(time - seconds).count();
  }
  const int ready =
      ppoll(descriptors.data(), descriptors.size(), has_end ? &left : nullptr, nullptr);
  if (ready < 0) return Errno::Last();
  return ready == 0 ? Errno(ETIMEDOUT) : kSuccess;
}

}  // namespace os
