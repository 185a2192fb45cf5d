#include "os/event.h"

#include <sys/eventfd.h>
#include <unistd.h>

namespace os {

Result<Event> Event::Create() {
  OwnedDescriptor descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (descriptor.get() < 0) return Errno::Last();
  return Event(std::move(descriptor));
}

// EAGAIN: it is set, as often as can be.
void Event::Set() const { (void)eventfd_write(descriptor_.get(), 1); }

// EAGAIN: it is not set.
void Event::Clear() const {
  eventfd_t value = 0;
  (void)eventfd_read(descriptor_.get(), &value);
}

}  // namespace os
