// LockTable: how many times each page of an address space is locked.
//
// Linux' own locks do not nest, so this table is what makes mpin(2) nest: a page is locked in the
// kernel while its count here is above zero. A radix tree over page numbers, after the kernel's own
// page tables: leaves of 512 pages hold one count for them all or, where the counts differ, 512
// counts of 16 bits. A gigabyte locked as one range costs 4 KiB; the worst case is 0.05 % of what
// is locked.
//
// Pure: no latch and no system call; the owner guards it. Memory comes from a BlockSource.
// All zero bytes are an empty table, so one that lives in memory wiped by fork is empty in a child.
//
// A page can also be *residual*: its count is 0, but the kernel refused to unlock it and it is
// still locked there. Marks are kept here until a retry succeeds, so that none is lost.

#ifndef PINLOCK_INTERNAL_LOCK_TABLE_H_
#define PINLOCK_INTERNAL_LOCK_TABLE_H_

#include <cstddef>
#include <cstdint>

#include "os/errno.h"
#include "os/page_range.h"

namespace pinlock::internal {

// Where a table's nodes come from. Blocks are of kNodeBytes or kCountsBytes, aligned to their size.
class BlockSource {
 public:
  static constexpr size_t kNodeBytes = 4096;
  static constexpr size_t kCountsBytes = 1024;

  virtual ~BlockSource() = default;
  // Zeroed; null where there is no memory.
  virtual void* Allocate(size_t bytes) = 0;
  virtual void Free(void* block, size_t bytes) = 0;
};

class LockTable {
 public:
  static constexpr uint64_t kPagesPerLeaf = 512;
  static constexpr uint16_t kMaxCount = 0x7fff;
  // Page numbers of 45 bits: 57-bit addresses, the most that Linux gives, with 4 KiB pages.
  static constexpr uint64_t kPageNumbers = uint64_t{1} << 45;

  // Neighbouring pages in the same state.
  struct Segment {
    os::PageRange pages;
    uint16_t count = 0;
    bool residual = false;
  };

  // Whether the table can describe the range at all; no mapping can lie outside.
  static constexpr bool Covers(os::PageRange pages) { return pages.end().value() <= kPageNumbers; }

  // The pages from `range.begin()` on that share its state, within the range, as far as one look
  // goes: the next segment may be in the same state. Precondition: Covers(range), not empty.
  Segment FirstSegment(os::PageRange range) const;

  // Allocates whatever Increment, Decrement and SetResidual on this range will need, so that they
  // cannot fail. ENOMEM: no memory; the counts are as before.
  os::Errno Prepare(os::PageRange range, BlockSource& blocks);

  // Precondition: prepared; every count below kMaxCount. Clears residual marks.
  void Increment(os::PageRange range, BlockSource& blocks);
  // Precondition: prepared; every count above 0. Keeps residual marks.
  void Decrement(os::PageRange range, BlockSource& blocks);
  // Precondition: prepared. On a page with a count, the mark takes effect when the count gets to 0.
  void SetResidual(os::PageRange range, bool residual, BlockSource& blocks);

  uint64_t pages_locked() const { return pages_locked_; }      // pages with a count above 0
  uint64_t pages_residual() const { return pages_residual_; }  // marked pages with count 0

 private:
  // Levels of 512 entries: three of pointers, then the leaf slots. A slot with bit 0 clear holds
  // the state of all its pages, shifted left by one; with bit 0 set, the address of 512 states.
  static constexpr int kPointerLevels = 3;
  static constexpr uint64_t kFanout = 512;
  struct Node {
    uint64_t entries[kFanout];
  };
  // The state of a page: its count, and the residual mark on top.
  using State = uint16_t;
  static constexpr State kResidualBit = 0x8000;

  const uint64_t* FindSlot(uint64_t leaf, uint64_t& absent_leaves) const;
  uint64_t* EnsureSlot(uint64_t leaf, BlockSource& blocks);
  template <typename Change>
  void Apply(os::PageRange range, BlockSource& blocks, Change change);
  void Account(State before, State after, uint64_t pages);

  Node* root_ = nullptr;
  uint64_t pages_locked_ = 0;
  uint64_t pages_residual_ = 0;
};

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_LOCK_TABLE_H_
