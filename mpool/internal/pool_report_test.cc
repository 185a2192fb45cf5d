#include "mpool/internal/pool_report.h"

#include <gtest/gtest.h>

#include <vector>

namespace mpool::internal {
namespace {

PoolReport Example() {
  PoolReport report;
  report.key = std::string("or\0ders", 7);
  report.name = "mpool.0.0123.0";
  report.file = "/srv/orders";
  report.page_size = 4096;
  report.pages_max = 100;
  report.page_count = 7;
  report.stats.gets = 12;
  report.stats.hugetlb_bytes = 1 << 21;
  report.frames_at = 0x7f0000000000;
  report.frame_stride = 4096;
  report.first_growth_frame = 1000;
  report.ordinary = 2;
  report.frames = {3, 4 | kFrameDirty, 3 | kFrameGrowth};
  report.pins = {{.frame = 1, .page = 5, .pid = 77, .thread = 78, .pins = 2, .for_writing = 1}};
  report.participants = {{.pid = 77, .alive = 1, .pins_may_write = 0}};
  return report;
}

std::vector<std::byte> Encoded() {
  std::vector<std::byte> bytes;
  Encode(Example(), bytes);
  return bytes;
}

TEST(PoolReport, ComesOutAsItWentIn) {
  std::vector<std::byte> bytes = Encoded();
  Encode(PoolReport(), bytes);
  std::span<const std::byte> rest = bytes;
  const std::optional<PoolReport> first = Decode(rest);
  ASSERT_TRUE(first.has_value());
  const PoolReport expected = Example();
  EXPECT_EQ(first->key, expected.key);
  EXPECT_EQ(first->name, expected.name);
  EXPECT_EQ(first->file, expected.file);
  EXPECT_EQ(first->page_size, 4096u);
  EXPECT_EQ(first->pages_max, 100u);
  EXPECT_EQ(first->page_count, 7u);
  EXPECT_EQ(first->stats.gets, 12u);
  EXPECT_EQ(first->stats.hugetlb_bytes, uint64_t{1} << 21);
  EXPECT_EQ(first->frames, expected.frames);
  EXPECT_EQ(first->pins, expected.pins);
  EXPECT_EQ(first->participants, expected.participants);
  const std::optional<PoolReport> second = Decode(rest);
  ASSERT_TRUE(second.has_value());
  EXPECT_TRUE(second->frames.empty());
  EXPECT_TRUE(rest.empty());
}

TEST(PoolReport, KnowsWhereAFrameLies) {
  const PoolReport report = Example();
  EXPECT_EQ(report.OffsetOf(1), 4096u);
  EXPECT_EQ(report.OffsetOf(2), 1000u * 4096);
}

TEST(PoolReport, IsNoneWhereItIsCutAnywhere) {
  const std::vector<std::byte> bytes = Encoded();
  for (size_t size = 0; size < bytes.size(); ++size) {
    std::span<const std::byte> part = std::span(bytes).first(size);
    EXPECT_FALSE(Decode(part).has_value()) << size;
    EXPECT_EQ(part.size(), size) << "nothing is taken";
  }
}

TEST(PoolReport, IsNoneWhereANumberIsTooLarge) {
  PoolReport report = Example();
  report.pins[0].frame = 3;
  std::vector<std::byte> bytes;
  Encode(report, bytes);
  std::span<const std::byte> rest = bytes;
  EXPECT_FALSE(Decode(rest).has_value());

  bytes = Encoded();
  bytes[7] = std::byte{0xff};  // of the key's size
  rest = bytes;
  EXPECT_FALSE(Decode(rest).has_value());
}

// What somebody sends may be anything; what is decoded can be worked with.
TEST(PoolReport, HasSizesThatFitEachOtherWhateverByteIsWrong) {
  const std::vector<std::byte> bytes = Encoded();
  int decoded = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const unsigned flip : {0x01u, 0x80u, 0xffu}) {
      std::vector<std::byte> wrong = bytes;
      wrong[i] ^= static_cast<std::byte>(flip);
      std::span<const std::byte> rest = wrong;
      const std::optional<PoolReport> report = Decode(rest);
      if (!report) continue;
      ++decoded;
      EXPECT_LE(report->page_size, report->frame_stride) << i;
      EXPECT_LE(report->ordinary, report->frames.size()) << i;
      for (uint64_t place = 0; place < report->frames.size(); ++place) {
        const uint64_t end = report->frames_at + report->OffsetOf(place) + report->frame_stride;
        EXPECT_LT(end, uint64_t{1} << 59) << i;
      }
    }
  }
  EXPECT_GT(decoded, 0);
}

TEST(ProcessReport, ComesOutAsItWentInOrNotAtAll) {
  ProcessReport report;
  report.pid = 77;
  report.pid_namespace = 4026531836;
  report.pins.pages_locked = 5;
  report.pools = {Example(), PoolReport()};
  std::vector<std::byte> bytes;
  Encode(report, bytes);
  const std::optional<ProcessReport> decoded = DecodeProcess(bytes);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->pid, 77);
  EXPECT_EQ(decoded->pid_namespace, 4026531836);
  EXPECT_EQ(decoded->pins.pages_locked, 5u);
  ASSERT_EQ(decoded->pools.size(), 2u);
  EXPECT_EQ(decoded->pools[0].key, Example().key);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeProcess(std::span(bytes).first(size)).has_value()) << size;
  }
}

TEST(MarksOf, ShowsWhatTheHeaderSays) {
  FrameHeader header;
  EXPECT_EQ(MarksOf(header), 0);
  header.state = FrameState::kWriteback;
  header.dirty.store(true);
  header.pins = 3;
  header.suspect = true;
  header.unlocked = true;
  EXPECT_EQ(MarksOf(header), 4 | kFrameDirty | kFramePinned | kFrameSuspect | kFrameUnlocked);
}

}  // namespace
}  // namespace mpool::internal
