#include "mpool/internal/pin_lines.h"

#include <array>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/internal/thread_line.h"

namespace mpool::internal {
namespace {

TEST(PinLine, HasItsFirstFreeSlotAndFindsAFrame) {
  PinLine line;
  EXPECT_EQ(line.Find(0), nullptr);
  EXPECT_EQ(line.FindFree(), &line.slots[0]);
  line.slots[0] = SlotWord(5);
  line.slots[1] = SlotWord(0);
  EXPECT_EQ(line.FindFree(), &line.slots[2]);
  EXPECT_EQ(line.Find(5), &line.slots[0]);
  EXPECT_EQ(line.Find(0), &line.slots[1]);
  EXPECT_EQ(line.Find(6), nullptr);
  for (PinSlot& slot : line.slots) slot = 9;
  EXPECT_EQ(line.FindFree(), nullptr);
}

class PinLinesTest : public testing::Test {
 protected:
  PinLinesTest() {
    lines_.SetFirst(std::span(memory_).first(2));
    lines_.SetMore(std::span(memory_).subspan(2));
  }
  std::array<PinLine, 4> memory_;
  PinLines lines_;
};

TEST_F(PinLinesTest, EachThreadHasALineAndKeepsIt) {
  EXPECT_EQ(lines_.used(), 0u);
  PinLine* const first = lines_.Claim(1001);
  PinLine* const second = lines_.Claim(1002);
  EXPECT_EQ(first, &memory_[0]);
  EXPECT_EQ(second, &memory_[1]);
  EXPECT_EQ(lines_.Claim(1001), first);
  EXPECT_EQ(lines_.used(), 2u);
  EXPECT_EQ(lines_.Claim(1003), &memory_[0]);  // the others do not exist
}

// There are no threads with such numbers.
constexpr os::ThreadId kDead = 2'000'000'000;

TEST_F(PinLinesTest, ThreadsThatAreNoMoreLoseTheirLines) {
  const os::ThreadId self = os::CurrentThread();
  EXPECT_EQ(lines_.Claim(self), &memory_[0]);
  EXPECT_EQ(lines_.Claim(kDead), &memory_[1]);
  memory_[1].last_put = 7;
  memory_[1].hits = 5;
  for (os::ThreadId i = 1; i < 100; ++i) EXPECT_NE(lines_.Claim(kDead + i), nullptr) << i;
  EXPECT_LE(lines_.used(), memory_.size());
  EXPECT_EQ(memory_[1].last_put, 0u);
  EXPECT_EQ(lines_.Sum().hits, 5u);
  EXPECT_EQ(lines_.Claim(self), &memory_[0]);
}

TEST_F(PinLinesTest, WhatADeadThreadHasPinnedStaysPinned) {
  EXPECT_EQ(lines_.Claim(os::CurrentThread()), &memory_[0]);
  EXPECT_EQ(lines_.Claim(kDead), &memory_[1]);
  memory_[1].slots[0] = SlotWord(3);
  EXPECT_EQ(lines_.Claim(kDead + 1), &memory_[1]);
  EXPECT_EQ(lines_.CountPins(3), 1u);
  EXPECT_EQ(lines_.used(), 2u);
}

TEST_F(PinLinesTest, WhereAllThreadsAreAliveThereIsNoLineForAnother) {
  const os::ThreadId self = os::CurrentThread();
  for (PinLine& line : memory_) {
    ASSERT_NE(lines_.Claim(kDead), nullptr);
    for (PinLine& used : memory_) {
      if (used.owner == kDead) used.owner = self + 0;
    }
    (void)line;
  }
  EXPECT_EQ(lines_.used(), memory_.size());
  for (int i = 0; i < 10; ++i) EXPECT_EQ(lines_.Claim(kDead + 1), nullptr);
}

TEST_F(PinLinesTest, CountsWhatTheLinesHold) {
  PinLine* const a = lines_.Claim(1001);
  PinLine* const b = lines_.Claim(1002);
  a->slots[0] = SlotWord(3);
  a->slots[5] = SlotWord(3);
  b->slots[2] = SlotWord(3);
  b->slots[3] = SlotWord(4);
  EXPECT_EQ(lines_.CountPins(3), 3u);
  EXPECT_EQ(lines_.CountPins(4), 1u);
  EXPECT_EQ(lines_.CountPins(5), 0u);
  PinLine::Count(a->hits);
  PinLine::Count(a->hits);
  const PinLines::Totals totals = lines_.Sum();
  EXPECT_EQ(totals.pins, 4u);
  EXPECT_EQ(totals.hits, 2u);
}

TEST_F(PinLinesTest, ForgetsAFrameThatWasPutLast) {
  PinLine* const a = lines_.Claim(1001);
  PinLine* const b = lines_.Claim(1002);
  a->last_put = SlotWord(3);
  b->last_put = SlotWord(4);
  lines_.ForgetLastPut(3);
  EXPECT_EQ(a->last_put, 0u);
  EXPECT_EQ(b->last_put, SlotWord(4));
}

TEST(ThreadLine, IsRememberedForAFewPoolsAndOfThisThreadAlone) {
  std::array<PinLine, 5> lines;
  constexpr uint64_t kPool = 1'000'001;
  EXPECT_EQ(ThreadLine::Of(0), nullptr);
  EXPECT_EQ(ThreadLine::Of(kPool), nullptr);
  for (uint64_t i = 0; i < lines.size(); ++i) ThreadLine::Remember(kPool + i, &lines[i]);
  EXPECT_EQ(ThreadLine::Of(kPool), nullptr);  // one too many
  for (uint64_t i = 1; i < lines.size(); ++i) {
    EXPECT_EQ(ThreadLine::Of(kPool + i), &lines[i]);
    EXPECT_TRUE(ThreadLine::IsLast(kPool + i));
    EXPECT_EQ(ThreadLine::Last(), &lines[i]);
  }
  ThreadLine::Remember(kPool + 4, &lines[0]);
  EXPECT_EQ(ThreadLine::Of(kPool + 4), &lines[0]);
  std::thread([] { EXPECT_EQ(ThreadLine::Of(kPool + 4), nullptr); }).join();
}

}  // namespace
}  // namespace mpool::internal
