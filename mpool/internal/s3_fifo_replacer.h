// S3FifoReplacer: three first-in, first-out queues instead of a list that each hit reorders.
//
// A page that is new comes into the small queue, a tenth of the pool. If it is used again while it
// passes through, it goes on to the main queue; else it goes, and its number is remembered (Ghost).
// A page that comes back while it is remembered comes into the main queue at once. There a page
// goes round as long as it was used since it came by last. So one scan of many pages drives out
// nothing but itself, and a hit only has to count. Yang, Zhang, Qiu, Yue, Vinayak, "FIFO queues are
// all you need for cache eviction", SOSP 2023.

#ifndef MPOOL_INTERNAL_S3_FIFO_REPLACER_H_
#define MPOOL_INTERNAL_S3_FIFO_REPLACER_H_

#include "mpool/internal/ghost.h"
#include "mpool/internal/replacer.h"

namespace mpool::internal {

// How often the page in a frame was used, 0 to 3: counted on hits.
class UsageCounters {
 public:
  virtual ~UsageCounters() = default;
  virtual unsigned UsageOf(FrameIndex frame) const = 0;
  virtual void SetUsage(FrameIndex frame, unsigned usage) = 0;
};

// Its queues. Plain data.
struct S3FifoQueues {
  FrameList small{FrameQueue::kSmall};
  FrameList main{FrameQueue::kMain};
};

class S3FifoReplacer final : public Replacer {
 public:
  // All must outlive the replacer.
  S3FifoReplacer(FrameHeader* headers, UsageCounters& usage, Ghost& ghost, S3FifoQueues& queues)
      : headers_(headers), usage_(usage), ghost_(ghost), small_(queues.small), main_(queues.main) {}

  void Insert(FrameIndex frame) override;
  void Remove(FrameIndex frame) override;
  void Use(FrameIndex) override {}
  FrameIndex Take() override;
  void Return(FrameIndex frame) override;
  void Evicted(FrameIndex frame) override;
  uint64_t size() const override { return small_.size() + main_.size(); }

 private:
  // Whether the small queue has its share of `frames` or more.
  bool IsSmallFull() const { return small_.size() * 10 >= size(); }

  FrameHeader* const headers_;
  UsageCounters& usage_;
  Ghost& ghost_;
  FrameList& small_;
  FrameList& main_;
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_S3_FIFO_REPLACER_H_
