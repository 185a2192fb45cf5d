// EventQueue: waits for any of many descriptors (epoll(7)).
//
// Each descriptor has a number by which its owner knows it. Thread-safe: descriptors may be added and
// removed while a thread waits. All calls enter the kernel.

#ifndef OS_EVENT_QUEUE_H_
#define OS_EVENT_QUEUE_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "os/descriptor.h"
#include "os/errno.h"
#include "os/result.h"

namespace os {

class EventQueue {
 public:
  // EMFILE, ENFILE: no more descriptors. ENOMEM.
  static Result<EventQueue> Create();

  // From now on it is waited for what can be read from it, and for the end of its other side. ENOSPC:
  // too many (fs.epoll.max_user_watches). ENOMEM.
  Errno Add(int descriptor, uint64_t number) const;
  // Before the descriptor is closed: copies in other processes would keep it there.
  void Remove(int descriptor) const;

  // Waits, at most for `timeout` where there is one, and appends the numbers of those that are ready,
  // some of them where there are many. Nothing: the time is over, or a signal came. Throws
  // std::bad_alloc.
  void Wait(std::optional<std::chrono::milliseconds> timeout, std::vector<uint64_t>& ready) const;

 private:
  explicit EventQueue(OwnedDescriptor descriptor) : descriptor_(std::move(descriptor)) {}
  OwnedDescriptor descriptor_;
};

}  // namespace os

#endif  // OS_EVENT_QUEUE_H_
