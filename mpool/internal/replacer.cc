#include "mpool/internal/replacer.h"

namespace mpool::internal {

void FrameList::PushBack(FrameHeader* headers, FrameIndex frame) {
  FrameHeader& header = headers[frame];
  header.queue = name_;
  header.previous = last_;
  header.next = kNoFrame;
  (last_ == kNoFrame ? first_ : headers[last_].next) = frame;
  last_ = frame;
  ++size_;
}

void FrameList::Remove(FrameHeader* headers, FrameIndex frame) {
  FrameHeader& header = headers[frame];
  (header.previous == kNoFrame ? first_ : headers[header.previous].next) = header.next;
  (header.next == kNoFrame ? last_ : headers[header.next].previous) = header.previous;
  header.previous = header.next = kNoFrame;
  header.queue = FrameQueue::kNone;
  --size_;
}

}  // namespace mpool::internal
