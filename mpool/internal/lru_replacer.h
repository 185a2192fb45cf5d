// LruReplacer: the page that was not used for the longest time goes first.
//
// For comparison. It has to be told of every use, so a pool with it takes its latch on every hit.

#ifndef MPOOL_INTERNAL_LRU_REPLACER_H_
#define MPOOL_INTERNAL_LRU_REPLACER_H_

#include "mpool/internal/replacer.h"

namespace mpool::internal {

class LruReplacer final : public Replacer {
 public:
  // `headers`: the pool's headers by index; must outlive the replacer.
  explicit LruReplacer(FrameHeader* headers) : headers_(headers) {}

  void Insert(FrameIndex frame) override { queue_.PushBack(headers_, frame); }
  void Remove(FrameIndex frame) override;
  void Use(FrameIndex frame) override;
  FrameIndex Take() override;
  void Return(FrameIndex frame) override;
  void Evicted(FrameIndex) override {}
  uint64_t size() const override { return queue_.size(); }

 private:
  FrameHeader* const headers_;
  FrameList queue_{FrameQueue::kMain};
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_LRU_REPLACER_H_
