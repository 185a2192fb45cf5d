// Replacer: which page goes when a frame is needed.
//
// Holds exactly the frames that may be taken: their pages are there and nobody has pinned them.
// Pure: no latch, no allocation, no system call. Implementations link the frames through their
// headers.

#ifndef MPOOL_INTERNAL_REPLACER_H_
#define MPOOL_INTERNAL_REPLACER_H_

#include <cstdint>

#include "mpool/internal/frame.h"

namespace mpool::internal {

class Replacer {
 public:
  virtual ~Replacer() = default;

  // The frame may be taken from now on. Precondition: it is not queued.
  virtual void Insert(FrameIndex frame) = 0;
  // It may not any more. Precondition: it is queued.
  virtual void Remove(FrameIndex frame) = 0;
  // The first to go, or the one to go after `frame`. kNoFrame: none.
  virtual FrameIndex First() const = 0;
  virtual FrameIndex After(FrameIndex frame) const = 0;
  // How many are queued.
  virtual uint64_t size() const = 0;
};

// Least recently used first: in the order in which the pages were last unpinned.
class LruReplacer final : public Replacer {
 public:
  // `headers`: the pool's headers by index; must outlive the replacer.
  explicit LruReplacer(FrameHeader* headers) : headers_(headers) {}

  void Insert(FrameIndex frame) override;
  void Remove(FrameIndex frame) override;
  FrameIndex First() const override { return first_; }
  FrameIndex After(FrameIndex frame) const override { return headers_[frame].next; }
  uint64_t size() const override { return size_; }

 private:
  FrameHeader* const headers_;
  FrameIndex first_ = kNoFrame;
  FrameIndex last_ = kNoFrame;
  uint64_t size_ = 0;
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_REPLACER_H_
