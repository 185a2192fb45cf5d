#include "mpool/internal/s3_fifo_replacer.h"

namespace mpool::internal {
namespace {

// Used so often while in the small queue, a page goes on to the main one.
constexpr unsigned kPromotedFrom = 2;

}  // namespace

void S3FifoReplacer::Insert(FrameIndex frame) {
  const bool known = ghost_.Forget(headers_[frame].page_number);
  (known ? main_ : small_).PushBack(headers_, frame);
}

void S3FifoReplacer::Remove(FrameIndex frame) {
  FrameHeader& header = headers_[frame];
  if (header.is_victim()) {
    header.queue = FrameQueue::kNone;
  } else {
    (header.queue == FrameQueue::kSmall ? small_ : main_).Remove(headers_, frame);
  }
}

FrameIndex S3FifoReplacer::Take() {
  // Each step takes a use from a page, promotes one or ends this. Pages may be used meanwhile, so
  // there is a bound: then the next one goes, used or not.
  for (uint64_t steps = 2 * size();; steps -= steps > 0 ? 1 : 0) {
    const bool from_small = small_.size() > 0 && (IsSmallFull() || main_.size() == 0);
    FrameList& queue = from_small ? small_ : main_;
    const FrameIndex frame = queue.first();
    if (frame == kNoFrame) return kNoFrame;
    const unsigned usage = usage_.UsageOf(frame);
    queue.Remove(headers_, frame);
    if (steps > 0 && from_small && usage >= kPromotedFrom) {
      usage_.SetUsage(frame, 0);
      main_.PushBack(headers_, frame);
    } else if (steps > 0 && !from_small && usage > 0) {
      usage_.SetUsage(frame, usage - 1);
      main_.PushBack(headers_, frame);
    } else {
      headers_[frame].queue = from_small ? FrameQueue::kTakenNew : FrameQueue::kTaken;
      return frame;
    }
  }
}

void S3FifoReplacer::Return(FrameIndex frame) { main_.PushBack(headers_, frame); }

void S3FifoReplacer::Evicted(FrameIndex frame) {
  if (headers_[frame].queue == FrameQueue::kTakenNew) ghost_.Remember(headers_[frame].page_number);
}

}  // namespace mpool::internal
