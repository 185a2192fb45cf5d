#include "os/faulty_file.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "os/fake_file.h"

namespace os::testing {
namespace {

using Kind = FaultPlan::Kind;

class FaultyFileTest : public ::testing::Test {
 protected:
  // In two buffers, the first of three bytes.
  Errno Write(const std::string& text) {
    const auto bytes = std::as_bytes(std::span(text));
    const std::array buffers = {bytes.first(3), bytes.subspan(3)};
    return faulty_.WriteAt(buffers, 0);
  }

  std::string Contents() const {
    std::string text;
    for (const std::byte byte : fake_.contents()) text += static_cast<char>(byte);
    return text;
  }

  FakeFile fake_;
  FaultPlan plan_;
  FaultyFile faulty_{fake_, plan_};
};

TEST_F(FaultyFileTest, PassesEveryCallOn) {
  EXPECT_EQ(Write("0123456789"), kSuccess);
  EXPECT_EQ(Contents(), "0123456789");
  EXPECT_EQ(*faulty_.Size(), 10u);
  std::array<std::byte, 4> buffer;
  EXPECT_EQ(*faulty_.ReadAt(buffer, 6), 4u);
  EXPECT_EQ(buffer[3], std::byte{'9'});
  EXPECT_EQ(faulty_.Sync(), kSuccess);
  EXPECT_EQ(fake_.synced().size(), 10u);
  EXPECT_EQ(plan_.calls(), 4u);
}

TEST_F(FaultyFileTest, EveryKindOfCallCanFail) {
  std::array<std::byte, 4> buffer;
  plan_.Arm({.error = Errno(ENOSPC), .forever = true});
  EXPECT_EQ(Write("0123"), Errno(ENOSPC));
  EXPECT_EQ(faulty_.ReadAt(buffer, 0).error(), Errno(ENOSPC));
  EXPECT_EQ(faulty_.Size().error(), Errno(ENOSPC));
  EXPECT_EQ(faulty_.Sync(), Errno(ENOSPC));
  for (const Kind kind : {Kind::kWrite, Kind::kRead, Kind::kSize, Kind::kSync}) {
    EXPECT_EQ(plan_.calls(kind), 1u);
  }
  EXPECT_EQ(fake_.transfers(), 0u);
}

TEST_F(FaultyFileTest, AHalfDoneWriteWritesTheFirstHalf) {
  for (size_t size = 3; size <= 12; ++size) {
    plan_.Disarm();
    ASSERT_EQ(Write("............"), kSuccess);
    plan_.Arm({.error = Errno(EIO), .half_done = true});
    const std::string text = std::string("abcdefghijkl").substr(0, size);
    EXPECT_EQ(Write(text), Errno(EIO));
    EXPECT_EQ(Contents(), text.substr(0, size / 2) + std::string(12 - size / 2, '.'));
  }
}

}  // namespace
}  // namespace os::testing
