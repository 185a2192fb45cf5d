#include "mpool/internal/replacer.h"

#include <algorithm>
#include <array>
#include <deque>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/internal/lru_replacer.h"

namespace mpool::internal {
namespace {

std::vector<FrameIndex> TakeAll(Replacer& replacer) {
  std::vector<FrameIndex> frames;
  for (FrameIndex i = replacer.Take(); i != kNoFrame; i = replacer.Take()) frames.push_back(i);
  return frames;
}

TEST(LruReplacer, IsEmptyAtFirst) {
  std::array<FrameHeader, 1> headers;
  LruReplacer replacer(headers.data());
  EXPECT_EQ(replacer.Take(), kNoFrame);
  EXPECT_EQ(replacer.size(), 0u);
}

TEST(LruReplacer, GivesTheLeastRecentlyUsedFirst) {
  std::array<FrameHeader, 4> headers;
  LruReplacer replacer(headers.data());
  for (const FrameIndex frame : {2u, 0u, 3u}) replacer.Insert(frame);
  EXPECT_EQ(replacer.size(), 3u);
  replacer.Use(2);
  EXPECT_EQ(TakeAll(replacer), (std::vector<FrameIndex>{0, 3, 2}));
  EXPECT_EQ(replacer.size(), 0u);
}

TEST(LruReplacer, ATakenFrameIsNotQueuedAndComesBackAsTheLast) {
  std::array<FrameHeader, 3> headers;
  LruReplacer replacer(headers.data());
  for (const FrameIndex frame : {0u, 1u, 2u}) replacer.Insert(frame);
  EXPECT_EQ(replacer.Take(), 0u);
  EXPECT_TRUE(headers[0].is_victim());
  replacer.Use(0);  // means nothing: it is not queued
  replacer.Return(0);
  EXPECT_FALSE(headers[0].is_victim());
  EXPECT_EQ(TakeAll(replacer), (std::vector<FrameIndex>{1, 2, 0}));
}

TEST(LruReplacer, LeavesTheRestOfTheHeader) {
  std::array<FrameHeader, 2> headers;
  headers[1].page_number = 17;
  headers[1].dirty = true;
  LruReplacer replacer(headers.data());
  replacer.Insert(1);
  EXPECT_EQ(headers[1].queue, FrameQueue::kMain);
  replacer.Remove(1);
  EXPECT_EQ(headers[1].queue, FrameQueue::kNone);
  EXPECT_EQ(headers[1].page_number, 17u);
  EXPECT_TRUE(headers[1].dirty);
  EXPECT_EQ(headers[1].next, kNoFrame);
  EXPECT_EQ(headers[1].previous, kNoFrame);
}

TEST(LruReplacer, AVictimThatIsDroppedIsNowhere) {
  std::array<FrameHeader, 2> headers;
  LruReplacer replacer(headers.data());
  replacer.Insert(0);
  replacer.Insert(1);
  EXPECT_EQ(replacer.Take(), 0u);
  replacer.Remove(0);
  EXPECT_EQ(headers[0].queue, FrameQueue::kNone);
  EXPECT_EQ(TakeAll(replacer), (std::vector<FrameIndex>{1}));
}

// Every sequence of eight insertions, uses and removals of three frames, against a list.
TEST(LruReplacer, AgreesWithAReferenceOnEverySequenceOfEightOperations) {
  for (unsigned sequence = 0; sequence < 6 * 6 * 6 * 6 * 6 * 6 * 6 * 6; ++sequence) {
    std::array<FrameHeader, 3> headers;
    LruReplacer replacer(headers.data());
    std::deque<FrameIndex> reference;
    for (unsigned step = 0, rest = sequence; step < 8; ++step, rest /= 6) {
      const FrameIndex frame = rest % 3;
      const bool use = rest % 6 >= 3;
      const auto found = std::find(reference.begin(), reference.end(), frame);
      if (found == reference.end()) {
        replacer.Insert(frame);
        reference.push_back(frame);
        continue;
      }
      reference.erase(found);
      if (use) {
        replacer.Use(frame);
        reference.push_back(frame);
      } else {
        replacer.Remove(frame);
      }
    }
    ASSERT_EQ(replacer.size(), reference.size());
    ASSERT_EQ(TakeAll(replacer), std::vector<FrameIndex>(reference.begin(), reference.end()))
        << "sequence " << sequence;
  }
}

}  // namespace
}  // namespace mpool::internal
