#include "mpool/internal/ghost.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace mpool::internal {
namespace {

// An entry is [ time : 32 | page number : 32 ]. Times begin at 1, so that 0 is unused; when they
// wrap, 0 is skipped.
PageNumber PageOf(uint64_t entry) { return static_cast<PageNumber>(entry); }
uint32_t TimeOf(uint64_t entry) { return static_cast<uint32_t>(entry >> 32); }

}  // namespace

size_t Ghost::EntriesFor(uint64_t frames) {
  return std::bit_ceil(std::max<uint64_t>(frames, kPerBucket));
}

std::span<uint64_t> Ghost::BucketOf(PageNumber page) const {
  const size_t buckets = entries_.size() / kPerBucket;
  const uint64_t hash = page * uint64_t{0x9e3779b97f4a7c15} >> 32;
  return entries_.subspan((hash & (buckets - 1)) * kPerBucket, kPerBucket);
}

uint64_t Ghost::AgeOf(uint64_t entry) const {
  if (TimeOf(entry) == 0) return std::numeric_limits<uint64_t>::max();
  return static_cast<uint32_t>(state_->now - TimeOf(entry));
}

void Ghost::Remember(PageNumber page) {
  if (entries_.empty()) return;
  if (++state_->now == 0) state_->now = 1;
  uint64_t* oldest = nullptr;
  for (uint64_t& entry : BucketOf(page)) {
    if (PageOf(entry) == page && TimeOf(entry) != 0) {
      oldest = &entry;
      break;
    }
    if (oldest == nullptr || AgeOf(entry) > AgeOf(*oldest)) oldest = &entry;
  }
  *oldest = uint64_t{state_->now} << 32 | page;
}

bool Ghost::Forget(PageNumber page) {
  if (entries_.empty()) return false;
  for (uint64_t& entry : BucketOf(page)) {
    if (PageOf(entry) != page || TimeOf(entry) == 0) continue;
    const bool known = AgeOf(entry) < state_->capacity;
    entry = 0;
    return known;
  }
  return false;
}

void Ghost::CopyTo(Ghost& other) const {
  for (const uint64_t entry : entries_) {
    if (AgeOf(entry) >= state_->capacity) continue;
    const std::span<uint64_t> bucket = other.BucketOf(PageOf(entry));
    uint64_t& oldest = *std::max_element(
        bucket.begin(), bucket.end(),
        [&other](uint64_t a, uint64_t b) { return other.AgeOf(a) < other.AgeOf(b); });
    if (other.AgeOf(oldest) > AgeOf(entry)) oldest = entry;
  }
}

}  // namespace mpool::internal
