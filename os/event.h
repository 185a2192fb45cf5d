// Event: a descriptor that is readable as long as the event is set (eventfd(2)), for poll(2).
//
// Thread-safe. All calls but descriptor() enter the kernel; none blocks.

#ifndef OS_EVENT_H_
#define OS_EVENT_H_

#include "os/descriptor.h"
#include "os/result.h"

namespace os {

class Event {
 public:
  // EMFILE, ENFILE: no more descriptors. ENOMEM.
  static Result<Event> Create();

  int descriptor() const { return descriptor_.get(); }
  void Set() const;
  void Clear() const;

 private:
  explicit Event(OwnedDescriptor descriptor) : descriptor_(std::move(descriptor)) {}
  OwnedDescriptor descriptor_;
};

}  // namespace os

#endif  // OS_EVENT_H_
