// A LockTable with its memory, for tests of the table alone.

#ifndef PINLOCK_INTERNAL_LOCK_TABLE_FIXTURE_H_
#define PINLOCK_INTERNAL_LOCK_TABLE_FIXTURE_H_

#include <cstdint>

#include "gtest/gtest.h"
#include "pinlock/internal/lock_table.h"
#include "tests/support/test_blocks.h"

namespace pinlock::internal {

inline constexpr uint64_t kLeaf = LockTable::kPagesPerLeaf;
inline constexpr uint64_t kGigabyte = kLeaf * 512;  // in pages
inline constexpr uint64_t kPathNodes = 4;           // from the root to a leaf slot

inline os::PageRange Pages(uint64_t first, uint64_t count) {
  return os::PageRange(os::PageNumber(first), os::PageCount(count));
}

inline constexpr os::PageRange kEverything(os::PageNumber(0),
                                           os::PageNumber(LockTable::kPageNumbers));

// What the table says of a page.
struct TableState {
  uint16_t count = 0;
  bool residual = false;
  friend bool operator==(const TableState&, const TableState&) = default;
};

// A table with its memory, and calls that prepare.
class Table {
 public:
  void Increment(os::PageRange range) {
    Prepare(range);
    table_.Increment(range, blocks_);
  }
  void Decrement(os::PageRange range) {
    Prepare(range);
    table_.Decrement(range, blocks_);
  }
  // The whole way of an unpin: what gets to 0 is unlocked too.
  void Unpin(os::PageRange range) {
    Decrement(range);
    SetResidual(range, false);
    table_.Tidy(range, blocks_, [](os::PageRange) { return false; });
  }
  void SetResidual(os::PageRange range, bool residual) {
    Prepare(range);
    table_.SetResidual(range, residual, blocks_);
  }
  void SetCount(os::PageRange range, uint16_t count = 0) {
    Prepare(range);
    table_.SetCount(range, count, blocks_);
  }
  TableState At(uint64_t page) const {
    const LockTable::Segment segment = table_.FirstSegment(Pages(page, 1));
    return {segment.count, segment.residual};
  }
  uint16_t CountAt(uint64_t page) const { return At(page).count; }
  // Pages of the range with this state, by walking its segments.
  uint64_t PagesIn(os::PageRange range, TableState state) const {
    uint64_t pages = 0;
    for (; !range.empty(); ++steps_) {
      const LockTable::Segment segment = table_.FirstSegment(range);
      EXPECT_EQ(segment.pages.begin(), range.begin());
      EXPECT_FALSE(segment.pages.empty());
      EXPECT_LE(segment.pages.end(), range.end());
      if (TableState{segment.count, segment.residual} == state)
        pages += segment.pages.count().value();
      range = os::PageRange(segment.pages.end(), range.end());
    }
    return pages;
  }

  LockTable& table() { return table_; }
  test_support::TestBlocks& blocks() { return blocks_; }
  uint64_t steps() const { return steps_; }  // segments that PagesIn has looked at

 private:
  void Prepare(os::PageRange range) { ASSERT_TRUE(table_.Prepare(range, blocks_).ok()); }

  LockTable table_;
  test_support::TestBlocks blocks_;
  mutable uint64_t steps_ = 0;
};

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_LOCK_TABLE_FIXTURE_H_
