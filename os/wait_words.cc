#include "os/wait_words.h"

#include <linux/futex.h>
#include <linux/time_types.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

namespace os {
namespace {

using Time = std::chrono::steady_clock::time_point;

constexpr std::chrono::milliseconds kBetweenLooks{2};

// `Timespec`: the C library's, or the kernel's, which is the same on every machine.
template <typename Timespec>
Timespec AbsoluteTime(Time deadline) {
  // libstdc++'s steady_clock is CLOCK_MONOTONIC; there is nothing to wait for before its epoch.
  const auto since_epoch = std::max(deadline, Time()).time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since_epoch);
  Timespec when{};
  when.tv_sec = seconds.count();
  when.tv_nsec = std::chrono::nanoseconds(since_epoch - seconds).count();
  return when;
}

Errno LookUntilChange(std::span<const WaitWord> words, Time deadline) {
  for (;;) {
    const bool changed = std::ranges::any_of(words, [](const WaitWord& each) {
      return each.word->load(std::memory_order_acquire) != each.seen;
    });
    if (changed) return kSuccess;
    const Time now = std::chrono::steady_clock::now();
    if (now >= deadline) return Errno(ETIMEDOUT);
    const auto when = AbsoluteTime<timespec>(std::min(deadline, now + kBetweenLooks));
    const int error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, nullptr);
    if (error != 0) return Errno(error);
  }
}

}  // namespace

Errno WaitForChange(std::span<const WaitWord> words, Time deadline) {
  if (words.empty() || words.size() > kWaitWordsMax) return Errno(EINVAL);
  std::array<futex_waitv, kWaitWordsMax> waits;
  // Without the flag for one process alone: the words may be in shared memory.
  std::ranges::transform(words, waits.begin(), [](const WaitWord& each) {
    return futex_waitv{.val = each.seen,
                       .uaddr = reinterpret_cast<uintptr_t>(each.word),
                       .flags = FUTEX_32,
                       .__reserved = 0};
  });
  const bool has_end = deadline != Time::max();
  const auto when = AbsoluteTime<__kernel_timespec>(has_end ? deadline : Time());
  if (syscall(SYS_futex_waitv, waits.data(), words.size(), 0, has_end ? &when : nullptr,
              CLOCK_MONOTONIC) >= 0) {
    return kSuccess;
  }
  switch (errno) {
    case EAGAIN:  // one has another value
      return kSuccess;
    case ENOSYS:
    case EPERM:  // by a filter of a container that does not know the call
      return LookUntilChange(words, deadline);
    default:
      return Errno::Last();
  }
}

void WakeAll(const std::atomic<uint32_t>& word) {
  (void)syscall(SYS_futex, &word, FUTEX_WAKE, std::numeric_limits<int>::max(), nullptr, nullptr, 0);
}

}  // namespace os
