// LockTable: how many times each page of an address space is locked.
//
// Linux' own locks do not nest, so this table is what makes mpin(2) nest: a page is locked in the
// kernel while its count here is above zero. A radix tree over page numbers, after the kernel's own
// page tables: leaves of 512 pages hold one count for them all or 512 counts of 16 bits
// (LeafCounts). A gigabyte locked as one range costs 4 KiB; the worst case is 0.052 % of what is
// locked.
//
// Pure: no system call. Memory comes from a BlockSource. All zero bytes are an empty table, so one
// that lives in memory wiped by fork is empty in a child.
//
// A page can also be *residual*: its count is 0, but the kernel refused to unlock it and it is
// still locked there. Marks are kept here until a retry succeeds, so that none is lost.
//
// Threads. Two kinds of callers:
//  * The owner holds a latch of its own and has closed the gate. It may call everything. It waits
//    for the latch of each leaf that it comes to, so it sees no half made change.
//  * Anybody may call TryNestedPin and TryNestedUnpin, which change counts that stay above 0 within
//    one leaf that has LeafCounts. They take the leaf's latch, and withdraw where the gate is
//    closed, or the leaf's counts were taken away meanwhile.
// Nodes are never freed. LeafCounts are, by the owner, but stay LeafCounts: whoever comes too late
// finds that the slot does not lead there any more.

#ifndef PINLOCK_INTERNAL_LOCK_TABLE_H_
#define PINLOCK_INTERNAL_LOCK_TABLE_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "os/errno.h"
#include "os/page_range.h"
#include "pinlock/internal/gate.h"
#include "pinlock/internal/leaf_counts.h"

namespace pinlock::internal {

// Where a table's memory comes from. Blocks are of kNodeBytes or kCountsBytes, aligned to 64 bytes.
class BlockSource {
 public:
  static constexpr size_t kNodeBytes = 4096;
  static constexpr size_t kCountsBytes = sizeof(LeafCounts);

  virtual ~BlockSource() = default;
  // Null where there is no memory. A block of kCountsBytes is zeros, or what was freed, but for its
  // first word: its latch may still be looked at. One of kNodeBytes is zeros.
  virtual void* Allocate(size_t bytes) = 0;
  virtual void Free(void* block, size_t bytes) = 0;
};

class LockTable {
 public:
  static constexpr uint64_t kPagesPerLeaf = LeafCounts::kPages;
  static constexpr uint16_t kMaxCount = kCountMax;
  // Page numbers of 45 bits: 57-bit addresses, the most that Linux gives, with 4 KiB pages.
  static constexpr uint64_t kPageNumbers = uint64_t{1} << 45;

  // Neighbouring pages in the same state.
  struct Segment {
    os::PageRange pages;
    uint16_t count = 0;
    bool residual = false;
  };

  // The counts that occur in a range.
  struct Survey {
    CountBounds counts;

    bool unlocked() const { return counts.least == 0; }     // a page is at 0
    bool last() const { return counts.least == 1; }         // a page is at 1, none at 0
    bool counted() const { return counts.most > 0; }        // a page is above 0
    bool full() const { return counts.most == kMaxCount; }  // a page is at the maximum
    void Note(CountBounds more) {
      counts = {std::min(counts.least, more.least), std::max(counts.most, more.most)};
    }
  };

  // Whether the table can describe the range at all; no mapping can lie outside.
  static constexpr bool Covers(os::PageRange pages) { return pages.end().value() <= kPageNumbers; }

  // --- Anybody ---

  // Adds one to (takes one from) every count of the range. False, with nothing changed, where this
  // is not a nested change within one leaf, or cannot be made at once: then it is the owner's.
  bool TryNestedPin(os::PageRange range, const Gate& gate);
  bool TryNestedUnpin(os::PageRange range, const Gate& gate);

  // --- The owner ---

  Survey SurveyOf(os::PageRange range) const;

  // The pages from `range.begin()` on that share its state, within the range, as far as one look
  // goes: the next segment may be in the same state. Precondition: Covers(range), not empty.
  Segment FirstSegment(os::PageRange range) const;

  // Allocates whatever Increment, Decrement and SetResidual on this range will need, so that they
  // cannot fail. ENOMEM: no memory; the counts are as before.
  os::Errno Prepare(os::PageRange range, BlockSource& blocks);
  // The same where every page of the range has a count already.
  os::Errno PrepareEdges(os::PageRange range, BlockSource& blocks);

  // Precondition: prepared; every count below kMaxCount. Clears residual marks.
  void Increment(os::PageRange range, BlockSource& blocks);
  // Precondition: prepared; every count above 0. A page whose count gets to 0 is residual until
  // somebody has unlocked it and says so (SetResidual). Other marks are kept.
  void Decrement(os::PageRange range, BlockSource& blocks);
  // Precondition: prepared. On a page with a count, the mark takes effect when the count gets to 0.
  void SetResidual(os::PageRange range, bool residual, BlockSource& blocks);
  // Gives every page the count, and the mark or none. Precondition: prepared.
  enum class Mark { kNone, kResidual };
  void SetCount(os::PageRange range, uint16_t count, BlockSource& blocks, Mark mark = Mark::kNone);

  // For who is done with the pages of a range, in whole leaves: where a leaf has counts and nothing
  // is held in it any more, they are to be taken away. They stay until another leaf gets empty, as
  // the same page is often pinned and unpinned again and again; and while it is `in_use`, because
  // somebody has prepared it.
  void Tidy(os::PageRange range, BlockSource& blocks,
            absl::FunctionRef<bool(os::PageRange)> in_use);

  // Nested changes made since the table was empty.
  struct NestedChanges {
    uint64_t pins = 0;
    uint64_t unpins = 0;
  };
  // Looks at every leaf.
  NestedChanges CountNestedChanges() const;

  uint64_t pages_locked() const { return pages_locked_; }      // pages with a count above 0
  uint64_t pages_residual() const { return pages_residual_; }  // marked pages with count 0
  // All residual pages lie in here, and others.
  os::PageRange residual_hull() const { return residual_hull_; }

 private:
  // Levels of 512 entries: three of pointers, then the leaf slots. A slot with bit 0 clear holds
  // the state of all its pages, shifted left by one; with bit 0 set, the address of LeafCounts.
  static constexpr int kPointerLevels = 3;
  static constexpr uint64_t kFanout = 512;
  using Entry = std::atomic<uint64_t>;
  struct Node {
    Entry entries[kFanout];
  };

  Entry* FindSlot(uint64_t leaf, uint64_t& absent_leaves) const;
  // Where the slots of 512 leaves are, the given one among them. Null where there is no such node:
  // then this leaf and, in all, `absent_leaves` from it on have none.
  Node* FindLeafNode(uint64_t leaf, uint64_t& absent_leaves) const;
  Node* EnsureLeafNode(uint64_t leaf, BlockSource& blocks);
  bool TryNested(os::PageRange range, const Gate& gate, NestedChange change,
                 uint64_t LeafCounts::*changes);
  template <typename Change>
  void Apply(os::PageRange range, BlockSource& blocks, NestedChange nested, Change change);
  void Join(Entry& slot, BlockSource& blocks);
  bool IsEmptyWithCounts(uint64_t leaf) const;
  void FreeCounts(Entry& slot, BlockSource& blocks);
  void CoverResidual(os::PageRange range);
  void NoteEmpty(uint64_t leaf);
  void Account(PageState before, PageState after, uint64_t pages);
  template <typename Visit>
  static void ForEachCounts(const Node* node, int level, Visit visit);

  std::atomic<Node*> root_{nullptr};
  mutable Node* last_node_ = nullptr;  // of FindSlot, and which one it is
  mutable uint64_t last_place_ = 0;
  uint64_t pages_locked_ = 0;
  uint64_t pages_residual_ = 0;
  os::PageRange residual_hull_;
  uint64_t emptied_leaf_ = 0;    // the last one that Tidy found to be empty
  os::PageRange empty_hull_;     // leaves that have counts and hold nothing lie in here, and others
  NestedChanges freed_changes_;  // made in leaves that have no LeafCounts any more
};

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_LOCK_TABLE_H_
