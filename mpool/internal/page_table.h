// PageTable: which frame holds a page.
//
// A hash table with open addressing and linear probing, at most half full, of 8-byte entries, over
// memory that its owner provides: the pool locks it. Pure: no latch, no allocation, no system call.
//
//   entry:  [ closed : 1 | usage : 2 | frame + 1 : 29 | page number : 32 ]      0: empty
//
// One thread at a time changes the table: whoever has the pool's latch. Look() needs no latch. It
// may miss a page that is there, while the table is being changed; what it finds was in the table
// when it looked. Whoever uses the entry without the latch looks at it again afterwards (CanPin).
//
//  * closed: a hit needs the latch. Set while the page is not there yet, may be a victim, or is
//    pinned for writing.
//  * usage: how often the page was used lately, up to 3. Anybody may raise it.

#ifndef MPOOL_INTERNAL_PAGE_TABLE_H_
#define MPOOL_INTERNAL_PAGE_TABLE_H_

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "mpool/internal/frame.h"

namespace mpool::internal {

class PageTable {
 public:
  using Entry = std::atomic<uint64_t>;
  static constexpr unsigned kUsageMax = 3;
  static constexpr uint64_t kClosed = uint64_t{1} << 63;
  static constexpr int kUsageShift = 61;
  static constexpr uint64_t kUsageBits = uint64_t{kUsageMax} << kUsageShift;
  static constexpr uint64_t kFrameMask = (uint64_t{1} << 29) - 1;

  // Where Look() has found a page, and what the entry said.
  struct Found {
    Entry* entry = nullptr;  // null: not found
    uint64_t word = 0;

    bool open() const { return (word & kClosed) == 0; }
    FrameIndex frame() const { return FrameOf(word); }
    unsigned usage() const { return static_cast<unsigned>(word >> kUsageShift & kUsageMax); }
    // Whether the entry still says so, but for the usage.
    bool StillThere(std::memory_order order) const { return IsSame(entry->load(order), word); }
    // Counts a use. Writes nothing where the usage is at its maximum. Lost where another thread
    // changes the entry at the same time.
    void Use() const {
      if (usage() == kUsageMax) return;
      uint64_t expected = word;
      entry->compare_exchange_strong(expected, word + (uint64_t{1} << kUsageShift),
                                     std::memory_order_relaxed);
    }
  };

  // What the hit path looks at in a word, for it alone.
  const Entry* Home(PageNumber page) const { return &entries_[HomeOf(page)]; }
  const Entry* After(const Entry* entry) const {
    const size_t next = static_cast<size_t>(entry - entries_) + 1;
    return &entries_[next & (size() - 1)];
  }
  static FrameIndex FrameOf(uint64_t word) {
    return static_cast<FrameIndex>((word >> 32 & kFrameMask) - 1);
  }
  static bool IsOpen(uint64_t word) { return word != 0 && (word & kClosed) == 0; }
  static bool IsSame(uint64_t a, uint64_t b) { return ((a ^ b) & ~kUsageBits) == 0; }

  // How many entries hold `frames` pages: a power of two.
  static size_t EntriesFor(uint64_t frames);

  PageTable() = default;
  // `entries`: zeroed, a power of two of them and at least 8, aligned to 64 bytes; must outlive the
  // table.
  explicit PageTable(std::span<Entry> entries);

  // The table as a word, for those who use it without a latch. Zero: an empty table of no entries.
  uint64_t Pack() const { return reinterpret_cast<uint64_t>(entries_) | shift_; }
  static PageTable Unpack(uint64_t word) {
    PageTable table;
    table.entries_ = reinterpret_cast<Entry*>(word & ~kShiftMask);
    table.shift_ = static_cast<unsigned>(word & kShiftMask);
    return table;
  }

  // Precondition: the table has entries.
  Found Look(PageNumber page) const {
    const size_t mask = size() - 1;
    for (size_t slot = HomeOf(page);; slot = (slot + 1) & mask) {
      const uint64_t word = entries_[slot].load(std::memory_order_acquire);
      if (word == 0) return {};
      if (PageOf(word) == page) return {&entries_[slot], word};
    }
  }

  // Those below need the latch.

  // kNoFrame: the page is not cached.
  FrameIndex Find(PageNumber page) const;
  // The entry is closed, its usage 0. Preconditions: the page is not in the table, and the table
  // stays at most half full.
  void Insert(PageNumber page, FrameIndex frame);
  // The next four have the page in the table as their precondition.
  void Erase(PageNumber page);
  void Open(PageNumber page);
  // True: it was open, and so may just have been pinned by a thread without the latch.
  bool Close(PageNumber page);
  void SetUsage(PageNumber page, unsigned usage);
  unsigned UsageOf(PageNumber page) const { return Look(page).usage(); }
  // Copies every entry into `other`, which must be empty and large enough. Usage that is counted
  // meanwhile is lost.
  void CopyTo(PageTable& other) const;
  // Makes all entries 0: nobody finds anything here any more.
  void Clear();

  std::span<Entry> entries() const { return {entries_, entries_ == nullptr ? 0 : size()}; }
  // How many pages it may hold.
  uint64_t capacity() const { return entries().size() / 2; }

 private:
  static constexpr uint64_t kShiftMask = 63;

  static PageNumber PageOf(uint64_t word) { return static_cast<PageNumber>(word); }
  size_t size() const { return size_t{1} << (64 - shift_); }
  // Fibonacci hashing: neighbouring page numbers, the usual case, are spread evenly.
  size_t HomeOf(PageNumber page) const {
    return static_cast<size_t>(page * uint64_t{0x9e3779b97f4a7c15} >> shift_);
  }
  // The slot that holds the page, or the empty one where the search for it ends.
  size_t SlotOf(PageNumber page) const;

  Entry* entries_ = nullptr;
  unsigned shift_ = 0;  // of the hash, so that its top bits are a slot
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_PAGE_TABLE_H_
