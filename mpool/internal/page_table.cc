#include "mpool/internal/page_table.h"

#include <algorithm>
#include <bit>

namespace mpool::internal {
namespace {

// An entry is 0 where empty, so that zeroed memory is an empty table.
constexpr PageTable::Entry kEmpty = 0;

PageTable::Entry MakeEntry(PageNumber page, FrameIndex frame) {
  return (uint64_t{frame} + 1) << 32 | page;
}
PageNumber PageOf(PageTable::Entry entry) { return static_cast<PageNumber>(entry); }
FrameIndex FrameOf(PageTable::Entry entry) { return static_cast<FrameIndex>((entry >> 32) - 1); }

}  // namespace

size_t PageTable::EntriesFor(uint64_t frames) {
  return std::bit_ceil(std::max<uint64_t>(2 * frames, 2));
}

PageTable::PageTable(std::span<Entry> entries)
    : entries_(entries), shift_(64 - std::countr_zero(entries.size())) {}

// Fibonacci hashing: neighbouring page numbers, the usual case, are spread evenly.
size_t PageTable::HomeOf(PageNumber page) const {
  return static_cast<size_t>(page * uint64_t{0x9e3779b97f4a7c15} >> shift_);
}

// The slot that holds the page, or the empty one where the search for it ends.
size_t PageTable::SlotOf(PageNumber page) const {
  const size_t mask = entries_.size() - 1;
  size_t slot = HomeOf(page);
  while (entries_[slot] != kEmpty && PageOf(entries_[slot]) != page) slot = (slot + 1) & mask;
  return slot;
}

FrameIndex PageTable::Find(PageNumber page) const {
  const Entry entry = entries_[SlotOf(page)];
  return entry == kEmpty ? kNoFrame : FrameOf(entry);
}

void PageTable::Insert(PageNumber page, FrameIndex frame) {
  entries_[SlotOf(page)] = MakeEntry(page, frame);
}

// Closes the gap by moving back every later entry that could stand there, so that no search for one
// ends early and no tombstones gather.
void PageTable::Erase(PageNumber page) {
  const size_t mask = entries_.size() - 1;
  size_t gap = SlotOf(page);
  for (size_t slot = (gap + 1) & mask; entries_[slot] != kEmpty; slot = (slot + 1) & mask) {
    const size_t home = HomeOf(PageOf(entries_[slot]));
    const bool gap_on_its_way = ((slot - home) & mask) >= ((slot - gap) & mask);
    if (!gap_on_its_way) continue;
    entries_[gap] = entries_[slot];
    gap = slot;
  }
  entries_[gap] = kEmpty;
}

void PageTable::CopyTo(PageTable& other) const {
  for (const Entry entry : entries_) {
    if (entry != kEmpty) other.Insert(PageOf(entry), FrameOf(entry));
  }
}

}  // namespace mpool::internal
