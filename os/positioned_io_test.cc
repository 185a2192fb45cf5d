// The cursor; the calls themselves are tested by file_contract_test.cc and file_test.cc.

#include "os/positioned_io.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace os {
namespace {

std::string TextOf(std::span<const iovec> parts) {
  std::string text;
  for (const iovec& part : parts) {
    text += std::string(static_cast<const char*>(part.iov_base), part.iov_len) + "|";
  }
  return text;
}

class BufferCursorTest : public ::testing::Test {
 protected:
  // What a transfer of up to `count` parts would take.
  std::string Next(size_t count) const {
    std::vector<iovec> parts(count);
    return TextOf(std::span(parts).first(cursor_.Fill(parts)));
  }

  const std::string one_ = "one", two_ = "two", three_ = "three";
  const std::array<std::span<const std::byte>, 6> buffers_ = {
      std::span<const std::byte>(),   std::as_bytes(std::span(one_)),   {},
      std::as_bytes(std::span(two_)), std::as_bytes(std::span(three_)), {}};
  BufferCursor cursor_{buffers_};
};

TEST_F(BufferCursorTest, SkipsEmptyBuffers) {
  EXPECT_FALSE(cursor_.AtEnd());
  EXPECT_EQ(Next(9), "one|two|three|");
  EXPECT_EQ(Next(2), "one|two|");
}

TEST_F(BufferCursorTest, GoesOnWithinABuffer) {
  cursor_.Advance(1);
  EXPECT_EQ(Next(9), "ne|two|three|");
  cursor_.Advance(3);
  EXPECT_EQ(Next(1), "wo|");
  cursor_.Advance(2);
  EXPECT_EQ(Next(9), "three|");
}

TEST_F(BufferCursorTest, EndsBehindTheLastByte) {
  cursor_.Advance(10);
  EXPECT_FALSE(cursor_.AtEnd());
  EXPECT_EQ(Next(9), "e|");
  cursor_.Advance(1);
  EXPECT_TRUE(cursor_.AtEnd());
  EXPECT_EQ(Next(9), "");
}

TEST(BufferCursor, OfNothingIsAtItsEnd) {
  const std::array<std::span<const std::byte>, 2> empty;
  EXPECT_TRUE(BufferCursor().AtEnd());
  EXPECT_TRUE(BufferCursor(empty).AtEnd());
}

}  // namespace
}  // namespace os
