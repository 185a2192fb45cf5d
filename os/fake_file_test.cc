// What only the fake does: power loss, a full device, bad ranges, short transfers.

#include "os/fake_file.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace os::testing {
namespace {

std::string TextOf(const std::vector<std::byte>& bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += static_cast<char>(byte);
  return text;
}

Errno Write(File& file, const std::string& text, uint64_t offset) {
  const std::array buffers = {std::as_bytes(std::span(text))};
  return file.WriteAt(buffers, offset);
}

TEST(FakeFile, CrashDropsWhatIsNotSynced) {
  FakeFile file;
  ASSERT_EQ(Write(file, "kept", 0), kSuccess);
  ASSERT_EQ(file.Sync(), kSuccess);
  ASSERT_EQ(Write(file, "LOST and more", 0), kSuccess);
  EXPECT_EQ(TextOf(file.contents()), "LOST and more");
  EXPECT_EQ(TextOf(file.synced()), "kept");
  file.Crash();
  EXPECT_EQ(TextOf(file.contents()), "kept");
  EXPECT_EQ(*file.Size(), 4u);
}

TEST(FakeFile, GivenContentsAreSynced) {
  FakeFile file(std::vector<std::byte>(5, std::byte{'a'}));
  file.Crash();
  EXPECT_EQ(TextOf(file.contents()), "aaaaa");
}

TEST(FakeFile, AFullDeviceTakesWhatFits) {
  FakeFile file;
  file.set_capacity(6);
  EXPECT_EQ(Write(file, "0123456789", 2), Errno(ENOSPC));
  EXPECT_EQ(TextOf(file.contents()), std::string("\0\0", 2) + "0123");
  EXPECT_EQ(Write(file, "x", 6), Errno(ENOSPC));
  EXPECT_EQ(Write(file, "x", 5), kSuccess);
  EXPECT_EQ(Write(file, "x", uint64_t{1} << 62), Errno(ENOSPC));
  file.set_capacity(3);
  EXPECT_EQ(Write(file, "y", 5), kSuccess);  // what is there can be written over
  EXPECT_EQ(*file.Size(), 6u);
}

TEST(FakeFile, BadRangesCannotBeRead) {
  FakeFile file;
  ASSERT_EQ(Write(file, "0123456789", 0), kSuccess);
  file.AddBadRange(4, 2);
  for (uint64_t begin = 0; begin < 10; ++begin) {
    for (uint64_t end = begin + 1; end <= 10; ++end) {
      std::vector<std::byte> buffer(end - begin);
      const Result<size_t> bytes = file.ReadAt(buffer, begin);
      const bool touches = begin < 6 && end > 4;
      EXPECT_EQ(bytes.error(), touches ? Errno(EIO) : kSuccess) << begin << " to " << end;
      if (touches && begin < 4) {
        EXPECT_EQ(TextOf(buffer)[0], static_cast<char>('0' + begin));
      }
    }
  }
  file.ClearBadRanges();
  std::array<std::byte, 10> buffer;
  EXPECT_EQ(*file.ReadAt(buffer, 0), 10u);
}

TEST(FakeFile, TransfersAreAsShortAsAsked) {
  FakeFile file;
  file.set_transfer_max(3);
  ASSERT_EQ(Write(file, "0123456789", 0), kSuccess);
  EXPECT_EQ(file.transfers(), 4u);
  std::array<std::byte, 10> buffer;
  EXPECT_EQ(*file.ReadAt(buffer, 0), 10u);
  EXPECT_EQ(file.transfers(), 8u);
  file.set_capacity(14);
  EXPECT_EQ(Write(file, "abcdefgh", 10), Errno(ENOSPC));
  EXPECT_EQ(TextOf(file.contents()), "0123456789abcd");
}

TEST(FakeFileDeathTest, TransfersMustMoveSomething) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(FakeFile().set_transfer_max(0), "");
}

}  // namespace
}  // namespace os::testing
