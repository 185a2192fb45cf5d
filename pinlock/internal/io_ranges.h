// IoRanges: which pages of the process are used for I/O at the moment, and by which thread.
//
// What mpin_io_begin(3) notes and munpin(3) asks: pages that a device or another process is writing
// to must not be unpinned by a thread that knows nothing of it. A list: I/O in progress is little.
//
// Plain data; zero bytes are an empty list. The owner guards it and gives the memory.

#ifndef PINLOCK_INTERNAL_IO_RANGES_H_
#define PINLOCK_INTERNAL_IO_RANGES_H_

#include <cstdint>
#include <optional>

#include "os/errno.h"
#include "os/page_range.h"
#include "os/thread_id.h"
#include "pinlock/internal/lock_table.h"

namespace pinlock::internal {

class IoRanges {
 public:
  struct User {
    os::PageNumber page;  // the first of the range that is used
    os::ThreadId thread;
  };

  bool empty() const { return used_ == nullptr; }

  // The same range can be begun several times. ENOMEM: no memory.
  os::Errno Begin(os::PageRange pages, os::ThreadId thread, BlockSource& blocks);
  // Ends one I/O on this very range by this thread. False: there is none.
  bool End(os::PageRange pages, os::ThreadId thread);
  // An I/O on any of the pages by another thread. `alive` tells whether a thread still exists: what
  // an ended one has left behind is dropped.
  std::optional<User> FindOther(os::PageRange pages, os::ThreadId thread,
                                bool (*alive)(os::ThreadId));
  // Drops what ended threads have left behind.
  void DropDead(bool (*alive)(os::ThreadId));
  // Drops what overlaps: the memory is gone.
  void Forget(os::PageRange pages);

 private:
  struct Entry {
    Entry* next;
    os::PageRange pages;
    os::ThreadId thread;
  };

  // Moves the entries that match to the unused ones.
  template <typename Match>
  void Drop(Match match);

  Entry* used_ = nullptr;
  Entry* unused_ = nullptr;
};

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_IO_RANGES_H_
