#include "mpool/internal/replacer.h"

#include <algorithm>
#include <array>
#include <deque>

#include "gtest/gtest.h"

namespace mpool::internal {
namespace {

std::deque<FrameIndex> OrderOf(const Replacer& replacer) {
  std::deque<FrameIndex> order;
  for (FrameIndex i = replacer.First(); i != kNoFrame; i = replacer.After(i)) order.push_back(i);
  return order;
}

TEST(LruReplacer, IsEmptyAtFirst) {
  std::array<FrameHeader, 1> headers;
  const LruReplacer replacer(headers.data());
  EXPECT_EQ(replacer.First(), kNoFrame);
  EXPECT_EQ(replacer.size(), 0u);
}

TEST(LruReplacer, GivesTheLeastRecentlyInsertedFirst) {
  std::array<FrameHeader, 4> headers;
  LruReplacer replacer(headers.data());
  for (const FrameIndex frame : {2u, 0u, 3u}) replacer.Insert(frame);
  EXPECT_EQ(OrderOf(replacer), (std::deque<FrameIndex>{2, 0, 3}));
  EXPECT_EQ(replacer.size(), 3u);
  replacer.Remove(2);
  replacer.Insert(2);
  EXPECT_EQ(OrderOf(replacer), (std::deque<FrameIndex>{0, 3, 2}));
}

TEST(LruReplacer, MarksWhatIsQueuedAndLeavesTheRestOfTheHeader) {
  std::array<FrameHeader, 2> headers;
  headers[1].page_number = 17;
  headers[1].dirty = true;
  LruReplacer replacer(headers.data());
  replacer.Insert(1);
  EXPECT_TRUE(headers[1].queued);
  EXPECT_FALSE(headers[0].queued);
  replacer.Remove(1);
  EXPECT_FALSE(headers[1].queued);
  EXPECT_EQ(headers[1].page_number, 17u);
  EXPECT_TRUE(headers[1].dirty);
  EXPECT_EQ(headers[1].next, kNoFrame);
  EXPECT_EQ(headers[1].previous, kNoFrame);
}

// Every sequence of eight insertions and removals of three frames, against a list.
TEST(LruReplacer, AgreesWithAReferenceOnEverySequenceOfEightOperations) {
  for (unsigned sequence = 0; sequence < 6561; ++sequence) {
    std::array<FrameHeader, 3> headers;
    LruReplacer replacer(headers.data());
    std::deque<FrameIndex> reference;
    for (unsigned step = 0, rest = sequence; step < 8; ++step, rest /= 3) {
      const FrameIndex frame = rest % 3;
      const auto found = std::find(reference.begin(), reference.end(), frame);
      if (found == reference.end()) {
        replacer.Insert(frame);
        reference.push_back(frame);
      } else {
        replacer.Remove(frame);
        reference.erase(found);
      }
      ASSERT_EQ(OrderOf(replacer), reference) << "sequence " << sequence << ", step " << step;
      ASSERT_EQ(replacer.size(), reference.size());
    }
  }
}

}  // namespace
}  // namespace mpool::internal
