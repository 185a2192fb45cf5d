// Changes of a LockTable's counts that stay above 0, which anybody may make without the owner.

#include <array>
#include <atomic>
#include <cstdint>
#include <thread>

#include "gtest/gtest.h"
#include "pinlock/internal/lock_table.h"
#include "pinlock/internal/lock_table_fixture.h"

namespace pinlock::internal {
namespace {

class NestedTest : public testing::Test {
 protected:
  NestedTest() { table_.Increment(Pages(kLeaf, 100)); }
  bool Pin(os::PageRange range) { return table_.table().TryNestedPin(range, gate_); }
  bool Unpin(os::PageRange range) { return table_.table().TryNestedUnpin(range, gate_); }

  Table table_;
  Gate gate_;
};

TEST_F(NestedTest, CountsThatStayAbove0AreChanged) {
  EXPECT_TRUE(Pin(Pages(kLeaf + 10, 50)));
  EXPECT_TRUE(Pin(Pages(kLeaf + 10, 1)));
  EXPECT_EQ(table_.CountAt(kLeaf + 9), 1);
  EXPECT_EQ(table_.CountAt(kLeaf + 10), 3);
  EXPECT_EQ(table_.CountAt(kLeaf + 11), 2);
  EXPECT_TRUE(Unpin(Pages(kLeaf + 10, 50)));
  EXPECT_EQ(table_.CountAt(kLeaf + 10), 2);
  EXPECT_EQ(table_.CountAt(kLeaf + 59), 1);
  EXPECT_EQ(table_.table().CountNestedChanges().pins, 2u);
  EXPECT_EQ(table_.table().CountNestedChanges().unpins, 1u);
}

TEST_F(NestedTest, EverythingElseIsTheOwners) {
  EXPECT_FALSE(Pin(Pages(kLeaf, 0))) << "nothing";
  EXPECT_FALSE(Pin(Pages(kLeaf + 99, 2))) << "a count of 0";
  EXPECT_FALSE(Pin(Pages(0, 1))) << "a leaf without counts";
  EXPECT_FALSE(Pin(Pages(kLeaf - 1, 2))) << "two leaves";
  EXPECT_FALSE(Pin(Pages(kGigabyte * 5, 1))) << "no node";
  EXPECT_FALSE(Pin(Pages(LockTable::kPageNumbers + kLeaf, 1))) << "beyond the table";
  EXPECT_FALSE(Unpin(Pages(kLeaf + 5, 1))) << "the last";
  EXPECT_EQ(table_.PagesIn(kEverything, {1, false}), 100u);
}

TEST_F(NestedTest, AClosedGateIsRespected) {
  gate_.Close();
  EXPECT_FALSE(Pin(Pages(kLeaf, 1)));
  gate_.Open();
  EXPECT_TRUE(Pin(Pages(kLeaf, 1)));
  gate_.Close();
  EXPECT_FALSE(Unpin(Pages(kLeaf, 1)));
  EXPECT_EQ(table_.CountAt(kLeaf), 2);
}

TEST_F(NestedTest, ChangesAreRememberedWhenALeafLosesItsCounts) {
  ASSERT_TRUE(Pin(Pages(kLeaf, 100)));
  table_.SetCount(Pages(kLeaf, kLeaf));
  EXPECT_EQ(table_.blocks().counts(), 0u);
  EXPECT_EQ(table_.table().CountNestedChanges().pins, 1u);
  EXPECT_FALSE(Pin(Pages(kLeaf, 1)));
  table_.Increment(Pages(3 * kLeaf, 1));  // the block is used again
  EXPECT_TRUE(Pin(Pages(3 * kLeaf, 1)));
  EXPECT_EQ(table_.table().CountNestedChanges().pins, 2u);
}

// Nested pins by two threads while the owner takes the leaf's counts away and gives it others,
// again and again: what was reported as done is there at the end.
TEST_F(NestedTest, NoChangeIsLostToAnOwnerThatComesInBetween) {
  constexpr int kRounds = 2000;
  std::atomic<bool> stop{false};
  std::array<std::atomic<uint64_t>, 2> done{};
  const auto pin = [&](size_t me) {
    while (!stop) {
      if (Pin(Pages(kLeaf + me, 3))) done[me].fetch_add(1);
      if (Unpin(Pages(kLeaf + me, 3))) done[me].fetch_sub(1);
    }
  };
  std::thread first(pin, 0), second(pin, 1);
  for (int i = 0; i < kRounds; ++i) {
    gate_.Close();
    table_.Increment(Pages(kLeaf, kLeaf));  // equal counts are taken away
    table_.Increment(Pages(5 * kLeaf + static_cast<uint64_t>(i) % 3, 1));
    gate_.Open();
    std::this_thread::yield();
    gate_.Close();
    table_.Unpin(Pages(kLeaf, kLeaf));
    table_.Unpin(Pages(5 * kLeaf + static_cast<uint64_t>(i) % 3, 1));
    gate_.Open();
  }
  stop = true;
  first.join();
  second.join();
  EXPECT_EQ(table_.CountAt(kLeaf), 1 + done[0]);
  EXPECT_EQ(table_.CountAt(kLeaf + 1), 1 + done[0] + done[1]);
  EXPECT_EQ(table_.CountAt(kLeaf + 3), 1 + done[1]);
  EXPECT_EQ(table_.CountAt(kLeaf + 4), 1);
}

}  // namespace
}  // namespace pinlock::internal
