#include "pinlock/internal/lock_table.h"

#include <array>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "pinlock/internal/lock_table_fixture.h"
#include "tests/support/sanitizer.h"

namespace pinlock::internal {
namespace {

TEST(LockTable, AnEmptyTableIsOneSegment) {
  Table table;
  EXPECT_EQ(table.PagesIn(kEverything, {}), LockTable::kPageNumbers);
  EXPECT_EQ(table.steps(), 1u);
  EXPECT_EQ(table.table().pages_locked(), 0u);
}

TEST(LockTable, CoversPageNumbersOf45Bits) {
  EXPECT_TRUE(LockTable::Covers(kEverything));
  EXPECT_TRUE(LockTable::Covers(Pages(LockTable::kPageNumbers, 0)));
  EXPECT_FALSE(LockTable::Covers(Pages(LockTable::kPageNumbers - 1, 2)));
}

TEST(LockTable, EmptyRangesNeedNothingAndChangeNothing) {
  Table table;
  table.Increment(Pages(7, 0));
  EXPECT_EQ(table.blocks().nodes(), 0u);
  EXPECT_EQ(table.table().pages_locked(), 0u);
}

// --- Every short sequence -----------------------------------------------------------------------

// Three pages, the first of which is the last of its leaf, and every range of them.
constexpr uint64_t kFirst = 7 * kLeaf - 1;
constexpr uint64_t kPages = 3;
struct SmallRange {
  uint64_t first;
  uint64_t count;
};
constexpr std::array<SmallRange, 6> kRanges{{{0, 1}, {1, 1}, {2, 1}, {0, 2}, {1, 2}, {0, 3}}};
using States = std::array<TableState, kPages>;

os::PageRange PagesOf(SmallRange range) { return Pages(kFirst + range.first, range.count); }

void ExpectStates(Table& table, const States& expected) {
  uint64_t locked = 0, residual = 0;
  for (uint64_t i = 0; i < kPages; ++i) {
    ASSERT_EQ(table.At(kFirst + i), expected[i]) << "page " << i;
    if (expected[i].count > 0) ++locked;
    if (expected[i] == TableState{0, true}) ++residual;
  }
  ASSERT_EQ(table.table().pages_locked(), locked);
  ASSERT_EQ(table.table().pages_residual(), residual);
  ASSERT_EQ(table.At(kFirst - 1), TableState{});
  ASSERT_EQ(table.At(kFirst + kPages), TableState{});
}

// Tries all sequences of `operations_left` increments and legal decrements from here on, and comes
// back by the opposite operation.
void TryEverySequence(Table& table, States& states, int operations_left, uint64_t& sequences) {
  ExpectStates(table, states);
  ++sequences;
  if (operations_left == 0 || testing::Test::HasFatalFailure()) return;
  for (const SmallRange range : kRanges) {
    bool legal = true;
    table.Increment(PagesOf(range));
    for (uint64_t i = range.first; i < range.first + range.count; ++i) {
      legal = legal && states[i].count > 0;
      ++states[i].count;
    }
    TryEverySequence(table, states, operations_left - 1, sequences);
    table.Unpin(PagesOf(range));
    for (uint64_t i = range.first; i < range.first + range.count; ++i) --states[i].count;
    if (!legal) continue;
    table.Unpin(PagesOf(range));
    for (uint64_t i = range.first; i < range.first + range.count; ++i) --states[i].count;
    TryEverySequence(table, states, operations_left - 1, sequences);
    table.Increment(PagesOf(range));
    for (uint64_t i = range.first; i < range.first + range.count; ++i) ++states[i].count;
  }
}

TEST(LockTable, EverySequenceOfSixOperationsOnThreePagesCounts) {
  // Of five under ThreadSanitizer, which has nothing to see here and takes long.
  constexpr int kOperations = test_support::kThreadSanitizer ? 5 : 6;
  Table table;
  States states{};
  uint64_t sequences = 0;
  TryEverySequence(table, states, kOperations, sequences);
  EXPECT_GT(sequences, 10'000u);
  EXPECT_LE(table.blocks().counts(), 1u) << "all but the last is uniform again";
}

enum class Step { kIncrement, kDecrement, kMark, kUnmark };

// Applies the step to the table and to `states`. False: a count would get below 0.
bool Apply(Table& table, States& states, Step step, SmallRange range) {
  for (uint64_t i = range.first; i < range.first + range.count; ++i) {
    if (step == Step::kDecrement && states[i].count == 0) return false;
  }
  for (uint64_t i = range.first; i < range.first + range.count; ++i) {
    TableState& state = states[i];
    if (step == Step::kIncrement) state = {static_cast<uint16_t>(state.count + 1), false};
    if (step == Step::kDecrement && --state.count == 0) state.residual = true;
    if (step == Step::kMark || step == Step::kUnmark) state.residual = step == Step::kMark;
  }
  if (step == Step::kIncrement) table.Increment(PagesOf(range));
  if (step == Step::kDecrement) table.Decrement(PagesOf(range));
  if (step == Step::kMark) table.SetResidual(PagesOf(range), true);
  if (step == Step::kUnmark) table.SetResidual(PagesOf(range), false);
  return true;
}

TEST(LockTable, EverySequenceOfThreeOperationsWithResidualMarksCounts) {
  constexpr uint64_t kSteps = 4 * kRanges.size();
  for (uint64_t sequence = 0; sequence < kSteps * kSteps * kSteps; ++sequence) {
    Table table;
    States states{};
    for (uint64_t rest = sequence, i = 0; i < 3; ++i, rest /= kSteps) {
      const uint64_t choice = rest % kSteps;
      const auto step = static_cast<Step>(choice / kRanges.size());
      if (!Apply(table, states, step, kRanges[choice % kRanges.size()])) break;
      ExpectStates(table, states);
      ASSERT_FALSE(HasFailure()) << "sequence " << sequence << ", operation " << i;
    }
  }
}

// --- Leaves -------------------------------------------------------------------------------------

TEST(LockTable, AGigabyteLockedAsOneRangeCostsOneNode) {
  Table table;
  table.Increment(Pages(kGigabyte, kGigabyte));
  EXPECT_EQ(table.blocks().nodes(), kPathNodes);
  table.Increment(Pages(2 * kGigabyte, kGigabyte));
  EXPECT_EQ(table.blocks().nodes(), kPathNodes + 1);
  EXPECT_EQ(table.blocks().counts(), 0u);
  EXPECT_EQ(table.table().pages_locked(), 2 * kGigabyte);
}

TEST(LockTable, ALeafHasCountsFromTheFirstChangeOfAPartOn) {
  Table table;
  table.Increment(Pages(0, kLeaf));
  EXPECT_EQ(table.blocks().counts(), 0u);
  table.Increment(Pages(100, 50));
  EXPECT_EQ(table.blocks().counts(), 1u);
  table.Increment(Pages(0, 100));
  table.Increment(Pages(150, kLeaf - 150));
  EXPECT_EQ(table.PagesIn(Pages(0, kLeaf), {2, false}), kLeaf);
  EXPECT_EQ(table.blocks().counts(), 1u) << "nested pins need them";
}

TEST(LockTable, ALeafLosesItsCountsWhenItIsChangedAsAWhole) {
  Table table;
  table.Increment(Pages(0, kLeaf));
  table.Increment(Pages(100, 50));
  table.Increment(Pages(0, kLeaf));
  EXPECT_EQ(table.blocks().counts(), 1u) << "they differ";
  table.Unpin(Pages(100, 50));
  table.Increment(Pages(0, kLeaf));
  EXPECT_EQ(table.blocks().counts(), 0u);
  EXPECT_EQ(table.PagesIn(Pages(0, kLeaf), {3, false}), kLeaf);
}

TEST(LockTable, OfTheLeavesWhereNothingIsLockedOnlyTheLastKeepsItsCounts) {
  Table table;
  for (const uint64_t leaf : {0u, 3u, 9u}) {
    table.Increment(Pages(leaf * kLeaf + 7, 3));
    table.Increment(Pages(leaf * kLeaf + 8, 1));
  }
  for (const uint64_t leaf : {0u, 3u, 9u}) table.Unpin(Pages(leaf * kLeaf + 7, 3));
  EXPECT_EQ(table.blocks().counts(), 3u);
  for (const uint64_t leaf : {0u, 3u, 9u}) table.Unpin(Pages(leaf * kLeaf + 8, 1));
  EXPECT_EQ(table.blocks().counts(), 1u);
  EXPECT_EQ(table.table().pages_locked(), 0u);
  table.Increment(Pages(9 * kLeaf, 1));
  table.Increment(Pages(0, 1));
  table.Unpin(Pages(0, 1));
  table.Unpin(Pages(9 * kLeaf, 1));
  EXPECT_EQ(table.blocks().counts(), 1u);
  EXPECT_EQ(table.PagesIn(kEverything, {}), LockTable::kPageNumbers);
}

TEST(LockTable, LeavesThatAreEmptiedTogetherLoseTheirCounts) {
  Table table;
  for (uint64_t leaf = 4; leaf < 2000; leaf += 4) table.Increment(Pages(leaf * kLeaf + 7, 3));
  EXPECT_EQ(table.blocks().counts(), 499u);
  for (uint64_t leaf = 4; leaf < 2000; leaf += 4) table.SetCount(Pages(leaf * kLeaf + 7, 3));
  const auto nobody = [](os::PageRange) { return false; };
  table.table().Tidy(Pages(400 * kLeaf, 1000 * kLeaf), table.blocks(), nobody);
  EXPECT_EQ(table.blocks().counts(), 250u);
  table.table().Tidy(Pages(0, 2000 * kLeaf), table.blocks(), nobody);
  EXPECT_EQ(table.blocks().counts(), 1u);
}

// Whoever has prepared a leaf finds it prepared, whichever leaf gets empty meanwhile.
TEST(LockTable, AnEmptyLeafThatIsInUseKeepsItsCounts) {
  Table table;
  table.Increment(Pages(5, 1));
  table.Unpin(Pages(5, 1));
  ASSERT_TRUE(table.table().Prepare(Pages(6, 1), table.blocks()).ok());
  table.Increment(Pages(3 * kLeaf, 1));
  table.Decrement(Pages(3 * kLeaf, 1));
  table.SetResidual(Pages(3 * kLeaf, 1), false);
  table.table().Tidy(Pages(3 * kLeaf, 1), table.blocks(),
                     [](os::PageRange leaf) { return leaf == Pages(0, kLeaf); });
  EXPECT_EQ(table.blocks().counts(), 2u);
  table.table().Increment(Pages(6, 1), table.blocks());
  EXPECT_EQ(table.table().pages_locked(), 1u);
  EXPECT_EQ(table.CountAt(6), 1);
  EXPECT_EQ(table.CountAt(7), 0);
}

TEST(LockTableDeathTest, AChangeThatNobodyHasPreparedAborts) {
  Table table;
  ASSERT_TRUE(table.table().Prepare(Pages(kLeaf, kLeaf), table.blocks()).ok());
  EXPECT_DEATH(table.table().Increment(Pages(kLeaf, 1), table.blocks()), "nobody has prepared");
}

TEST(LockTable, ARangeOverManyLeavesHasCountsAtItsEndsOnly) {
  Table table;
  table.Increment(Pages(kLeaf - 3, 10 * kLeaf));
  EXPECT_EQ(table.blocks().counts(), 2u);
  EXPECT_EQ(table.CountAt(kLeaf - 4), 0);
  EXPECT_EQ(table.CountAt(kLeaf - 3), 1);
  EXPECT_EQ(table.CountAt(11 * kLeaf - 4), 1);
  EXPECT_EQ(table.CountAt(11 * kLeaf - 3), 0);
  EXPECT_EQ(table.table().pages_locked(), 10 * kLeaf);
}

TEST(LockTable, SegmentsEndWhereTheStateChanges) {
  Table table;
  table.Increment(Pages(10, 20));
  table.Increment(Pages(15, 5));
  const LockTable::Segment segment = table.table().FirstSegment(Pages(12, 100));
  EXPECT_EQ(segment.pages, Pages(12, 3));
  EXPECT_EQ(segment.count, 1);
  EXPECT_EQ(table.table().FirstSegment(Pages(15, 2)).pages, Pages(15, 2));
  EXPECT_EQ(table.table().FirstSegment(Pages(30, 5)).pages, Pages(30, 5));
}

TEST(LockTable, FindsASinglePageAnywhereInAHugeRange) {
  for (const uint64_t page :
       {uint64_t{0}, uint64_t{1} << 20, (uint64_t{1} << 36) + 12345, LockTable::kPageNumbers - 1}) {
    Table table;
    table.Increment(Pages(page, 1));
    EXPECT_EQ(table.CountAt(page), 1);
    EXPECT_EQ(table.PagesIn(kEverything, {1, false}), 1u) << page;
    EXPECT_LE(table.steps(), 4096u) << "absent parts are passed over as a whole";
  }
}

TEST(LockTable, AnAbsentPartEndsWhereTheNextBegins) {
  for (int level = 1; level < 5; ++level) {
    Table table;
    const uint64_t page = 3 * (uint64_t{1} << (9 * level));  // the first below its node
    table.Increment(Pages(page, 1));
    EXPECT_EQ(table.PagesIn(Pages(page - kLeaf, 20 * kLeaf), {1, false}), 1u) << level;
  }
}

TEST(LockTable, PagesFarApartDoNotMix) {
  Table table;
  // The same index at every level but one.
  for (int level = 0; level < 5; ++level) table.Increment(Pages(uint64_t{1} << (9 * level), 1));
  EXPECT_EQ(table.PagesIn(kEverything, {1, false}), 5u);
  EXPECT_EQ(table.table().pages_locked(), 5u);
}

TEST(LockTable, CountsToItsMaximum) {
  Table table;
  for (int i = 0; i < LockTable::kMaxCount; ++i) table.Increment(Pages(5, 2));
  EXPECT_EQ(table.At(5), (TableState{LockTable::kMaxCount, false}));
  for (int i = 0; i < LockTable::kMaxCount; ++i) table.Unpin(Pages(5, 2));
  EXPECT_EQ(table.At(6), TableState{});
  EXPECT_EQ(table.table().pages_locked(), 0u);
}

// --- Residual marks -----------------------------------------------------------------------------

TEST(LockTable, APageIsResidualFromItsLastDecrementOn) {
  Table table;
  table.Increment(Pages(0, 4));
  table.Increment(Pages(3, 1));
  table.Decrement(Pages(0, 4));
  EXPECT_EQ(table.table().pages_residual(), 3u);
  EXPECT_EQ(table.table().pages_locked(), 1u);
  EXPECT_EQ(table.At(1), (TableState{0, true}));
  EXPECT_EQ(table.At(3), (TableState{1, false}));
  table.SetResidual(Pages(0, 2), false);
  EXPECT_EQ(table.table().pages_residual(), 1u);
}

TEST(LockTable, AMarkOnACountedPageTakesEffectWhenTheCountGetsTo0) {
  Table table;
  table.Increment(Pages(0, 2));
  table.SetResidual(Pages(1, 1), true);
  EXPECT_EQ(table.table().pages_residual(), 0u);
  table.Decrement(Pages(0, 2));
  EXPECT_EQ(table.table().pages_residual(), 2u);
}

TEST(LockTable, TheHullCoversAllResidualPages) {
  Table table;
  EXPECT_TRUE(table.table().residual_hull().empty());
  table.SetResidual(Pages(5 * kLeaf, 2), true);
  table.Increment(Pages(70, 1));
  table.Decrement(Pages(70, 1));
  EXPECT_EQ(table.table().residual_hull(), Pages(70, 5 * kLeaf + 2 - 70));
  table.SetCount(Pages(0, 6 * kLeaf));
  EXPECT_TRUE(table.table().residual_hull().empty());
}

TEST(LockTable, SetCountReplacesCountsAndMarks) {
  Table table;
  table.Increment(Pages(0, 10));
  table.SetResidual(Pages(20, 1), true);
  table.SetCount(Pages(5, 20), 7);
  EXPECT_EQ(table.CountAt(4), 1);
  EXPECT_EQ(table.PagesIn(Pages(0, kLeaf), {7, false}), 20u);
  EXPECT_EQ(table.table().pages_locked(), 25u);
  EXPECT_EQ(table.table().pages_residual(), 0u);
  table.SetCount(Pages(0, kLeaf));
  EXPECT_EQ(table.table().pages_locked(), 0u);
}

TEST(LockTable, IncrementClearsTheMark) {
  Table table;
  table.SetResidual(Pages(0, kLeaf), true);
  EXPECT_EQ(table.table().pages_residual(), kLeaf);
  table.Increment(Pages(0, 1));
  EXPECT_EQ(table.table().pages_residual(), kLeaf - 1);
  EXPECT_EQ(table.At(0), (TableState{1, false}));
  table.SetResidual(Pages(0, kLeaf), false);
  EXPECT_EQ(table.table().pages_residual(), 0u);
  EXPECT_EQ(table.CountAt(0), 1);
}

// --- No memory ----------------------------------------------------------------------------------

TEST(LockTable, AFailedPrepareChangesNoCount) {
  constexpr uint64_t kBegin = kGigabyte - kLeaf - 1;  // needs a second node of slots
  const os::PageRange range = Pages(kBegin, 2 * kLeaf + 2);
  const os::PageRange around = Pages(kBegin - kLeaf, 4 * kLeaf);
  for (uint64_t nth = 1;; ++nth) {
    Table table;
    table.Increment(Pages(kBegin + 10, 5));
    table.blocks().FailAt(nth);
    const os::Errno error = table.table().Prepare(range, table.blocks());
    if (error.ok()) {
      EXPECT_GE(nth, 3u);
      EXPECT_FALSE(table.blocks().failed());
      break;
    }
    EXPECT_EQ(error, os::Errno(ENOMEM));
    EXPECT_EQ(table.PagesIn(around, {1, false}), 5u);
    EXPECT_EQ(table.PagesIn(around, {}), around.count().value() - 5);
    EXPECT_EQ(table.table().pages_locked(), 5u);
    table.Increment(range);  // there is memory again
    EXPECT_EQ(table.table().pages_locked(), range.count().value());
    EXPECT_EQ(table.PagesIn(around, {2, false}), 5u);
  }
}

TEST(LockTable, TheFirstAllocationMayFail) {
  for (uint64_t nth = 1; nth <= kPathNodes + 1; ++nth) {
    Table table;
    table.blocks().FailAt(nth);
    EXPECT_EQ(table.table().Prepare(Pages(3, 1), table.blocks()), os::Errno(ENOMEM));
    EXPECT_EQ(table.PagesIn(kEverything, {}), LockTable::kPageNumbers);
    table.Increment(Pages(3, 1));
    EXPECT_EQ(table.CountAt(3), 1);
  }
}

TEST(LockTable, APreparedRangeNeedsNoMoreMemory) {
  Table table;
  const os::PageRange range = Pages(kLeaf - 1, 2);
  ASSERT_TRUE(table.table().Prepare(range, table.blocks()).ok());
  table.blocks().FailAt(1);
  table.table().Increment(range, table.blocks());
  table.table().SetResidual(range, true, table.blocks());
  table.table().Decrement(range, table.blocks());
  EXPECT_FALSE(table.blocks().failed());
  EXPECT_EQ(table.table().pages_residual(), 2u);
}

}  // namespace
}  // namespace pinlock::internal
