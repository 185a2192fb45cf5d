// Replacer: which page goes when a frame is needed.
//
// Holds the frames whose pages may go, pinned ones too: it does not know of pins. Its owner takes a
// victim, and returns it where it turns out to be in use. Pure: no latch, no allocation, no system
// call. Implementations link the frames through their headers (`queue`, `previous`, `next`).

#ifndef MPOOL_INTERNAL_REPLACER_H_
#define MPOOL_INTERNAL_REPLACER_H_

#include <cstdint>

#include "mpool/internal/frame.h"

namespace mpool::internal {

class Replacer {
 public:
  virtual ~Replacer() = default;

  // The frame holds a page now. Precondition: it is in no queue, and its header has the page's
  // number.
  virtual void Insert(FrameIndex frame) = 0;
  // Its page goes for another reason than that it was taken. Precondition: it is queued or taken.
  virtual void Remove(FrameIndex frame) = 0;
  // Its page was used. Hits that take no latch are not told; they are in the usage counters.
  virtual void Use(FrameIndex frame) = 0;

  // The frame whose page is to go, which is out of the queue then (kTaken, kTakenNew). kNoFrame:
  // none is queued.
  virtual FrameIndex Take() = 0;
  // A frame that was taken is in use, and stays. It is considered again after all others.
  virtual void Return(FrameIndex frame) = 0;
  // The page of a frame that was taken has gone. Its header is still as it was.
  virtual void Evicted(FrameIndex frame) = 0;

  // How many are queued.
  virtual uint64_t size() const = 0;
};

// A queue of frames, linked through their headers: first in, first out.
class FrameList {
 public:
  // What `queue` says of its frames.
  explicit FrameList(FrameQueue name) : name_(name) {}

  FrameIndex first() const { return first_; }
  uint64_t size() const { return size_; }
  // What it held is in no list then; its headers are not touched.
  void Clear() {
    first_ = last_ = kNoFrame;
    size_ = 0;
  }
  void PushBack(FrameHeader* headers, FrameIndex frame);
  // Precondition: it is in this list.
  void Remove(FrameHeader* headers, FrameIndex frame);

 private:
  const FrameQueue name_;
  FrameIndex first_ = kNoFrame;
  FrameIndex last_ = kNoFrame;
  uint64_t size_ = 0;
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_REPLACER_H_
