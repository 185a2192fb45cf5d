#include "mpool/internal/page_table.h"

#include <algorithm>

namespace mpool::internal {

size_t PageTable::EntriesFor(uint64_t frames) {
  return std::bit_ceil(std::max<uint64_t>(2 * frames, 8));
}

PageTable::PageTable(std::span<Entry> entries)
    : entries_(entries.data()),
      shift_(64 - static_cast<unsigned>(std::countr_zero(entries.size()))) {}

size_t PageTable::SlotOf(PageNumber page) const {
  const size_t mask = size() - 1;
  size_t slot = HomeOf(page);
  for (;; slot = (slot + 1) & mask) {
    const uint64_t word = entries_[slot].load(std::memory_order_relaxed);
    if (word == 0 || PageOf(word) == page) return slot;
  }
}

FrameIndex PageTable::Find(PageNumber page) const {
  if (entries_ == nullptr) return kNoFrame;
  const uint64_t word = entries_[SlotOf(page)].load(std::memory_order_relaxed);
  return word == 0 ? kNoFrame : FrameOf(word);
}

void PageTable::Insert(PageNumber page, FrameIndex frame) {
  const uint64_t word = kClosed | (uint64_t{frame} + 1) << 32 | page;
  entries_[SlotOf(page)].store(word, std::memory_order_release);
}

// What was done to the page and its frame is seen by whoever finds the entry open.
void PageTable::Open(PageNumber page) {
  entries_[SlotOf(page)].fetch_and(~kClosed, std::memory_order_release);
}

bool PageTable::Close(PageNumber page) {
  return (entries_[SlotOf(page)].fetch_or(kClosed, std::memory_order_seq_cst) & kClosed) == 0;
}

void PageTable::SetUsage(PageNumber page, unsigned usage) {
  Entry& entry = entries_[SlotOf(page)];
  uint64_t word = entry.load(std::memory_order_relaxed);
  while (!entry.compare_exchange_weak(word, (word & ~kUsageBits) | uint64_t{usage} << kUsageShift,
                                      std::memory_order_relaxed)) {
  }
}

// Closes the gap by moving back every later entry that could stand there, so that no search for one
// ends early and no tombstones gather. An entry that is moved is in two places for a moment:
// whoever found it in the old one sees it overwritten, or has looked again before.
void PageTable::Erase(PageNumber page) {
  const size_t mask = size() - 1;
  size_t gap = SlotOf(page);
  for (size_t slot = (gap + 1) & mask;; slot = (slot + 1) & mask) {
    const uint64_t word = entries_[slot].load(std::memory_order_relaxed);
    if (word == 0) break;
    const size_t home = HomeOf(PageOf(word));
    const bool gap_on_its_way = ((slot - home) & mask) >= ((slot - gap) & mask);
    if (!gap_on_its_way) continue;
    entries_[gap].store(word, std::memory_order_release);
    gap = slot;
  }
  entries_[gap].store(0, std::memory_order_release);
}

void PageTable::CopyTo(PageTable& other) const {
  for (const Entry& entry : entries()) {
    const uint64_t word = entry.load(std::memory_order_relaxed);
    if (word != 0)
      other.entries_[other.SlotOf(PageOf(word))].store(word, std::memory_order_release);
  }
}

void PageTable::Clear() {
  for (Entry& entry : entries()) entry.store(0, std::memory_order_release);
}

}  // namespace mpool::internal
