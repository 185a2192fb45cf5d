// LastPuts: the frame that each thread put last.
//
// Code written for mpool(3) goes on reading a page that it has just put, until it asks for another
// one: every db(3) tree does. So the frame that a thread put last is never taken for that thread's
// own next page. This remembers it for up to 64 threads; of more, the oldest claim on a slot is
// lost. Fixed size and without pointers: it lies in locked memory. The pool's latch guards it.

#ifndef MPOOL_INTERNAL_LAST_PUTS_H_
#define MPOOL_INTERNAL_LAST_PUTS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "mpool/internal/frame.h"

namespace mpool::internal {

class LastPuts {
 public:
  // The calling thread put this frame.
  void Record(FrameIndex frame);
  // What the calling thread put last; kNoFrame: nothing.
  FrameIndex OfThisThread() const;
  // The frame's page is gone; whoever put it last need not be heeded.
  void Forget(FrameIndex frame);

 private:
  static constexpr size_t kSlots = 64;
  struct Slot {
    uintptr_t thread = 0;  // 0: unused
    FrameIndex frame = kNoFrame;
  };

  std::array<Slot, kSlots> slots_;
  size_t used_ = 0;
  size_t next_reused_ = 0;
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_LAST_PUTS_H_
