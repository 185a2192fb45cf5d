#include "mpool/internal/s3_fifo_replacer.h"

#include <array>
#include <vector>

#include "gtest/gtest.h"

namespace mpool::internal {
namespace {

constexpr FrameIndex kFrames = 40;

class S3Fifo : public testing::Test, protected UsageCounters {
 protected:
  S3Fifo() : ghost_(entries_, ghost_state_), replacer_(headers_.data(), *this, ghost_, queues_) {}

  unsigned UsageOf(FrameIndex frame) const override { return usage_[frame]; }
  void SetUsage(FrameIndex frame, unsigned usage) override { usage_[frame] = usage; }

  void Insert(FrameIndex frame, PageNumber page) {
    headers_[frame].page_number = page;
    usage_[frame] = 0;
    replacer_.Insert(frame);
  }
  // Takes a frame and lets its page go.
  FrameIndex Evict() {
    const FrameIndex frame = replacer_.Take();
    if (frame == kNoFrame) return frame;
    replacer_.Evicted(frame);
    replacer_.Remove(frame);
    return frame;
  }

  std::array<FrameHeader, kFrames> headers_;
  std::array<unsigned, kFrames> usage_ = {};
  std::vector<uint64_t> entries_ = std::vector<uint64_t>(64);
  GhostState ghost_state_{.capacity = kFrames};
  Ghost ghost_;
  S3FifoQueues queues_;
  S3FifoReplacer replacer_;
};

TEST_F(S3Fifo, IsEmptyAtFirst) {
  EXPECT_EQ(replacer_.Take(), kNoFrame);
  EXPECT_EQ(replacer_.size(), 0u);
}

TEST_F(S3Fifo, PagesThatAreNotUsedAgainGoInTheirOrder) {
  for (const FrameIndex frame : {2u, 0u, 1u}) Insert(frame, 100 + frame);
  EXPECT_EQ(Evict(), 2u);
  EXPECT_EQ(Evict(), 0u);
  EXPECT_EQ(Evict(), 1u);
  EXPECT_EQ(Evict(), kNoFrame);
}

TEST_F(S3Fifo, APageThatIsUsedTwiceWhileItIsNewStays) {
  for (FrameIndex frame = 0; frame < 4; ++frame) Insert(frame, 100 + frame);
  usage_[0] = 2;
  usage_[1] = 1;  // once is not enough: the get that follows its first is often that of a scan
  EXPECT_EQ(Evict(), 1u);
  EXPECT_EQ(headers_[0].queue, FrameQueue::kMain);
  EXPECT_EQ(usage_[0], 0u);
  EXPECT_EQ(Evict(), 2u);
}

TEST_F(S3Fifo, APageThatComesBackIsKnownAndStays) {
  for (FrameIndex frame = 0; frame < 4; ++frame) Insert(frame, 100 + frame);
  EXPECT_EQ(Evict(), 0u);
  Insert(0, 100);
  EXPECT_EQ(headers_[0].queue, FrameQueue::kMain);
  Insert(5, 105);
  EXPECT_EQ(headers_[5].queue, FrameQueue::kSmall);
}

TEST_F(S3Fifo, APageThatGoesFromTheMainQueueIsForgotten) {
  Insert(0, 100);
  EXPECT_EQ(Evict(), 0u);
  Insert(0, 100);
  EXPECT_EQ(Evict(), 0u);
  Insert(0, 100);
  EXPECT_EQ(headers_[0].queue, FrameQueue::kSmall);
}

// Puts the page into the main queue.
TEST_F(S3Fifo, InTheMainQueueAPageGoesRoundAsOftenAsItWasUsed) {
  for (FrameIndex frame = 0; frame < 3; ++frame) {
    ghost_.Remember(100 + frame);
    Insert(frame, 100 + frame);
  }
  usage_[0] = 3;
  usage_[1] = 1;
  EXPECT_EQ(Evict(), 2u);
  EXPECT_EQ(usage_[0], 2u);
  EXPECT_EQ(usage_[1], 0u);
  EXPECT_EQ(Evict(), 1u);
  EXPECT_EQ(Evict(), 0u);
}

TEST_F(S3Fifo, AScanDrivesOutNothingButItself) {
  for (FrameIndex frame = 0; frame < 9; ++frame) {
    ghost_.Remember(frame);
    Insert(frame, frame);
    usage_[frame] = 1;
  }
  FrameIndex next = 9;
  for (PageNumber page = 1000; page < 1100; ++page) {
    Insert(next, page);
    next = Evict();
    EXPECT_GE(next, 9u) << "at page " << page;
  }
}

TEST_F(S3Fifo, AReturnedVictimComesAfterAllOthers) {
  for (FrameIndex frame = 0; frame < 3; ++frame) Insert(frame, 100 + frame);
  EXPECT_EQ(replacer_.Take(), 0u);
  EXPECT_TRUE(headers_[0].is_victim());
  EXPECT_EQ(replacer_.size(), 2u);
  replacer_.Return(0);
  EXPECT_FALSE(headers_[0].is_victim());
  EXPECT_EQ(replacer_.size(), 3u);
  EXPECT_EQ(Evict(), 1u);
  EXPECT_EQ(Evict(), 2u);
  EXPECT_EQ(Evict(), 0u);
}

TEST_F(S3Fifo, AnyFrameCanBeRemoved) {
  for (FrameIndex frame = 0; frame < 4; ++frame) Insert(frame, 100 + frame);
  usage_[0] = 2;
  EXPECT_EQ(replacer_.Take(), 1u);  // 0 is in the main queue now
  replacer_.Remove(0);
  replacer_.Remove(2);
  replacer_.Remove(1);
  for (const FrameIndex frame : {0u, 1u, 2u}) EXPECT_EQ(headers_[frame].queue, FrameQueue::kNone);
  EXPECT_EQ(Evict(), 3u);
  EXPECT_EQ(Evict(), kNoFrame);
}

// Threads use pages while one looks for a victim. It still ends.
TEST_F(S3Fifo, TakeEndsThoughEveryPageIsUsedAgainAndAgain) {
  class AlwaysUsed final : public UsageCounters {
   public:
    unsigned UsageOf(FrameIndex) const override { return 3; }
    void SetUsage(FrameIndex, unsigned) override {}
  } always;
  S3FifoQueues queues;
  S3FifoReplacer replacer(headers_.data(), always, ghost_, queues);
  for (FrameIndex frame = 0; frame < 8; ++frame) {
    headers_[frame].page_number = frame;
    replacer.Insert(frame);
  }
  EXPECT_NE(replacer.Take(), kNoFrame);
  EXPECT_EQ(replacer.size(), 7u);
}

}  // namespace
}  // namespace mpool::internal
