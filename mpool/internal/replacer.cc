#include "mpool/internal/replacer.h"

namespace mpool::internal {

void LruReplacer::Insert(FrameIndex frame) {
  FrameHeader& header = headers_[frame];
  header.queued = true;
  header.previous = last_;
  header.next = kNoFrame;
  (last_ == kNoFrame ? first_ : headers_[last_].next) = frame;
  last_ = frame;
  ++size_;
}

void LruReplacer::Remove(FrameIndex frame) {
  FrameHeader& header = headers_[frame];
  (header.previous == kNoFrame ? first_ : headers_[header.previous].next) = header.next;
  (header.next == kNoFrame ? last_ : headers_[header.next].previous) = header.previous;
  header.queued = false;
  header.previous = kNoFrame;
  header.next = kNoFrame;
  --size_;
}

}  // namespace mpool::internal
