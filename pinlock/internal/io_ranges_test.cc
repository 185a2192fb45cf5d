#include "pinlock/internal/io_ranges.h"

#include "gtest/gtest.h"
#include "tests/support/test_blocks.h"

namespace pinlock::internal {
namespace {

constexpr os::ThreadId kMe = 1, kOther = 2, kThird = 3;

os::PageRange Pages(uint64_t first, uint64_t count) {
  return os::PageRange(os::PageNumber(first), os::PageCount(count));
}
bool Alive(os::ThreadId) { return true; }

class IoRangesTest : public testing::Test {
 protected:
  void Begin(os::PageRange pages, os::ThreadId thread) {
    ASSERT_TRUE(io_.Begin(pages, thread, blocks_).ok());
  }
  bool BusyFor(os::PageRange pages, os::ThreadId thread) {
    return io_.FindOther(pages, thread, Alive).has_value();
  }

  IoRanges io_;
  test_support::TestBlocks blocks_;
};

TEST_F(IoRangesTest, OnlyOthersAreKeptOff) {
  Begin(Pages(10, 5), kMe);
  EXPECT_FALSE(BusyFor(Pages(10, 5), kMe));
  for (const os::PageRange pages : {Pages(10, 1), Pages(14, 9), Pages(0, 100), Pages(12, 1)}) {
    EXPECT_TRUE(BusyFor(pages, kOther));
  }
  EXPECT_FALSE(BusyFor(Pages(0, 10), kOther));
  EXPECT_FALSE(BusyFor(Pages(15, 10), kOther));
  const auto user = io_.FindOther(Pages(12, 9), kOther, Alive);
  ASSERT_TRUE(user.has_value());
  EXPECT_EQ(user->page, os::PageNumber(12));
  EXPECT_EQ(user->thread, kMe);
}

TEST_F(IoRangesTest, EndsByTheSameThreadOnTheSameRangeOnly) {
  Begin(Pages(10, 5), kMe);
  Begin(Pages(10, 5), kMe);
  EXPECT_FALSE(io_.End(Pages(10, 5), kOther));
  EXPECT_FALSE(io_.End(Pages(10, 4), kMe));
  EXPECT_TRUE(io_.End(Pages(10, 5), kMe));
  EXPECT_TRUE(BusyFor(Pages(10, 5), kOther)) << "begun twice";
  EXPECT_TRUE(io_.End(Pages(10, 5), kMe));
  EXPECT_FALSE(io_.End(Pages(10, 5), kMe));
  EXPECT_TRUE(io_.empty());
}

TEST_F(IoRangesTest, WhatAnEndedThreadLeftIsDropped) {
  Begin(Pages(0, 5), kOther);
  Begin(Pages(0, 5), kThird);
  const auto third_is_dead = [](os::ThreadId thread) { return thread != kThird; };
  EXPECT_EQ(io_.FindOther(Pages(0, 5), kMe, third_is_dead)->thread, kOther);
  EXPECT_TRUE(io_.End(Pages(0, 5), kOther));
  EXPECT_TRUE(io_.empty());
}

TEST_F(IoRangesTest, WhatEndedThreadsLeftCanBeDroppedWhereverItIs) {
  Begin(Pages(0, 5), kThird);
  Begin(Pages(100, 5), kOther);
  io_.DropDead([](os::ThreadId thread) { return thread != kThird; });
  EXPECT_FALSE(BusyFor(Pages(0, 5), kMe));
  EXPECT_TRUE(BusyFor(Pages(100, 1), kMe));
}

TEST_F(IoRangesTest, MemoryThatIsGoneIsForgotten) {
  Begin(Pages(0, 5), kOther);
  Begin(Pages(10, 5), kOther);
  io_.Forget(Pages(4, 3));
  EXPECT_FALSE(BusyFor(Pages(0, 5), kMe));
  EXPECT_TRUE(BusyFor(Pages(10, 1), kMe));
}

TEST_F(IoRangesTest, EntriesAreUsedAgain) {
  for (int i = 0; i < 10000; ++i) {
    Begin(Pages(0, 1), kMe);
    ASSERT_TRUE(io_.End(Pages(0, 1), kMe));
  }
  EXPECT_EQ(blocks_.nodes(), 1u);
}

TEST_F(IoRangesTest, WithoutMemoryNothingChanges) {
  blocks_.FailAt(1);
  EXPECT_EQ(io_.Begin(Pages(0, 1), kMe, blocks_), os::Errno(ENOMEM));
  EXPECT_TRUE(io_.empty());
}

}  // namespace
}  // namespace pinlock::internal
