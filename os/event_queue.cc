#include "os/event_queue.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <limits>

namespace os {

Result<EventQueue> EventQueue::Create() {
  OwnedDescriptor descriptor(epoll_create1(EPOLL_CLOEXEC));
  if (descriptor.get() < 0) return Errno::Last();
  return EventQueue(std::move(descriptor));
}

Errno EventQueue::Add(int descriptor, uint64_t number) const {
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLRDHUP;
  event.data.u64 = number;
  if (epoll_ctl(descriptor_.get(), EPOLL_CTL_ADD, descriptor, &event) != 0) return Errno::Last();
  return kSuccess;
}

void EventQueue::Remove(int descriptor) const {
  epoll_event unused = {};
  (void)epoll_ctl(descriptor_.get(), EPOLL_CTL_DEL, descriptor, &unused);
}

void EventQueue::Wait(std::optional<std::chrono::milliseconds> timeout,
                      std::vector<uint64_t>& ready) const {
  std::array<epoll_event, 32> events;
  int milliseconds = -1;
  if (timeout) {
    milliseconds =
        static_cast<int>(std::clamp<int64_t>(timeout->count(), 0, std::numeric_limits<int>::max()));
  }
  const int count = epoll_wait(descriptor_.get(), events.data(), events.size(), milliseconds);
  for (int i = 0; i < count; ++i) ready.push_back(events[static_cast<size_t>(i)].data.u64);
}

}  // namespace os
