#include "mpool/internal/lru_replacer.h"

namespace mpool::internal {

void LruReplacer::Remove(FrameIndex frame) {
  if (headers_[frame].is_victim()) {
    headers_[frame].queue = FrameQueue::kNone;
  } else {
    queue_.Remove(headers_, frame);
  }
}

void LruReplacer::Use(FrameIndex frame) {
  if (headers_[frame].queue != FrameQueue::kMain) return;
  queue_.Remove(headers_, frame);
  queue_.PushBack(headers_, frame);
}

FrameIndex LruReplacer::Take() {
  const FrameIndex frame = queue_.first();
  if (frame == kNoFrame) return kNoFrame;
  queue_.Remove(headers_, frame);
  headers_[frame].queue = FrameQueue::kTaken;
  return frame;
}

void LruReplacer::Return(FrameIndex frame) { queue_.PushBack(headers_, frame); }

}  // namespace mpool::internal
