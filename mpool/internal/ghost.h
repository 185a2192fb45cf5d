// Ghost: the numbers of the pages that went last, so that one that comes back is known.
//
// A table of buckets of eight entries, one cache line each, over memory that its owner provides.
// An entry is a page number and the time it was remembered, which is a count of those remembered.
// A page is forgotten when `capacity` others have come after it, or a little earlier where its
// bucket has overflowed. Pure: no latch, no allocation, no system call.

#ifndef MPOOL_INTERNAL_GHOST_H_
#define MPOOL_INTERNAL_GHOST_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "mpool/internal/frame.h"

namespace mpool::internal {

// What it keeps beside its entries. Plain data, of zero bytes at first.
struct GhostState {
  uint32_t capacity = 0;  // pages to remember
  uint32_t now = 0;       // counts pages remembered
};

class Ghost {
 public:
  // How many entries it takes to remember the pages of so many frames: a power of two, at least 8.
  static size_t EntriesFor(uint64_t frames);

  Ghost() = default;
  // `entries`: zeroed, as many as EntriesFor says, aligned to 64 bytes. Both must outlive it.
  Ghost(std::span<uint64_t> entries, GhostState& state) : entries_(entries), state_(&state) {}

  void Remember(PageNumber page);
  // Whether the page is remembered; it is forgotten then.
  bool Forget(PageNumber page);
  // `other`, which has the same state, takes over what is remembered here.
  void CopyTo(Ghost& other) const;

  std::span<uint64_t> entries() const { return entries_; }

 private:
  static constexpr size_t kPerBucket = 8;
  std::span<uint64_t> BucketOf(PageNumber page) const;
  // In units of pages remembered since; of an unused entry more than any capacity.
  uint64_t AgeOf(uint64_t entry) const;

  std::span<uint64_t> entries_;
  GhostState* state_ = nullptr;
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_GHOST_H_
