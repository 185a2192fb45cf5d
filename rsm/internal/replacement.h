// Replacement: memory that takes the place of other memory, which threads are using (os/live_replace.h).
//
// Thread-safety: all calls need MemoryLatch() (binding.h). Functions return RSMERR_ codes with Fail's text.

#ifndef RSM_INTERNAL_REPLACEMENT_H_
#define RSM_INTERNAL_REPLACEMENT_H_

#include <cstddef>

#include "os/errno.h"
#include "os/live_replace.h"
#include "os/page_range.h"
#include "os/result.h"

namespace rsm::internal {

os::PageRange PagesOf(void* address, size_t bytes);

// `code`, with a text of what failed and why.
int FailWith(int code, const char* what, os::Errno error);
// As of LiveReplacement::StopWriters. INSUFFICIENT_MEM; INSUFFICIENT_RESOURCES.
int FailToStopWriters(os::Errno error);

// Copies memory that other threads use, in whole words. Those that write are stopped, or what they write
// is carried over later (LateWrites); ThreadSanitizer knows of neither.
void CopyLive(void* to, const void* from, size_t bytes);

// Whether a page has more pins than one. True where it cannot be told, as for want of a descriptor: whoever
// has pins must keep the locks.
bool HasOtherPins(void* address, size_t bytes);

// Fresh memory that will be moved to where pages are pinned, so it must be locked by then. It is locked
// at once where the limit admits both for a moment, and else only when it is there.
class Replacement {
 public:
  // Owns the mapping.
  Replacement(void* view, size_t bytes) : view_(view), bytes_(bytes) {}
  Replacement(const Replacement&) = delete;
  Replacement& operator=(const Replacement&) = delete;
  ~Replacement();

  void* view() const { return view_; }
  // Before its pages are made: INSUFFICIENT_MEM where the machine has no room for them.
  int CheckRoom();
  // Makes its pages, and locks them if CheckRoom has found that the limit admits it. It leaves no pins:
  // where the memory has been moved away, another thread may map memory of its own, and pin it.
  void LockIfAdmitted();
  // Both, one after the other.
  int LockIfPossible();
  os::Errno MoveTo(os::LiveReplacement& place, void* address);
  bool has_moved() const { return address_ != nullptr; }
  // After MoveTo, once writers go on: it is locked where it is now, if it must be.
  os::Errno Settle(bool must_be_locked);

 private:
  void* view_;
  size_t bytes_;
  bool is_admitted_ = false;
  bool is_locked_ = false;
  void* address_ = nullptr;
};

// Puts a copy in the place of shared memory, `range`, although writers could not be stopped: what they
// write meanwhile is carried over, word by word, where the program has not written something newer.
void MoveWhileWriting(Replacement& replacement, os::LiveReplacement& place, void* range,
                      size_t bytes);

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_REPLACEMENT_H_
