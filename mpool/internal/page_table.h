// PageTable: which frame holds a page.
//
// A hash table with open addressing and linear probing, at most half full, of 8-byte entries (page
// number and frame index), over memory that its owner provides: the pool locks it. Pure: no latch,
// no allocation, no system call.

#ifndef MPOOL_INTERNAL_PAGE_TABLE_H_
#define MPOOL_INTERNAL_PAGE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "mpool/internal/frame.h"

namespace mpool::internal {

class PageTable {
 public:
  using Entry = uint64_t;

  // How many entries hold `frames` pages: a power of two.
  static size_t EntriesFor(uint64_t frames);

  PageTable() = default;
  // `entries`: zeroed, a power of two of them; must outlive the table.
  explicit PageTable(std::span<Entry> entries);

  // kNoFrame: the page is not cached.
  FrameIndex Find(PageNumber page) const;
  // Preconditions: the page is not in the table, and the table stays at most half full.
  void Insert(PageNumber page, FrameIndex frame);
  // Precondition: the page is in the table.
  void Erase(PageNumber page);
  // Copies every entry into `other`, which must be empty and large enough.
  void CopyTo(PageTable& other) const;

  std::span<Entry> entries() const { return entries_; }
  // How many pages it may hold.
  uint64_t capacity() const { return entries_.size() / 2; }

 private:
  size_t HomeOf(PageNumber page) const;
  size_t SlotOf(PageNumber page) const;

  std::span<Entry> entries_;
  int shift_ = 0;  // of the hash, so that its top bits are a slot
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_PAGE_TABLE_H_
