#include "pinlock/mpin.h"

#include <cerrno>
#include <string>

#include "gtest/gtest.h"

// What the man page promises is tested sentence by sentence in tests/conformance/mpin_test.cc; here
// is what concerns the translation alone.

extern "C" int PinAndUnpinFromC(void* addr, size_t len);

namespace {

char buffer[100];

TEST(MpinInC, WorksFromC) { EXPECT_EQ(PinAndUnpinFromC(buffer, sizeof(buffer)), 1); }

TEST(MpinInC, SuccessLeavesErrnoAlone) {
  errno = ESRCH;
  mpin_info info;
  EXPECT_EQ(mpin(buffer, sizeof(buffer)), 0);
  EXPECT_EQ(mpin_query(buffer, sizeof(buffer), &info), 0);
  EXPECT_EQ(munpin(buffer, sizeof(buffer)), 0);
  EXPECT_EQ(errno, ESRCH);
}

TEST(MpinInC, SuccessLeavesTheLastFailureInPlace) {
  EXPECT_EQ(munpin(buffer, sizeof(buffer)), -1);
  const std::string text = mpin_error();
  EXPECT_EQ(mpin(buffer, sizeof(buffer)), 0);
  EXPECT_EQ(munpin(buffer, sizeof(buffer)), 0);
  EXPECT_EQ(mpin_error(), text);
}

TEST(MpinInC, AMissingAnswerIsNamed) {
  errno = 0;
  EXPECT_EQ(mpin_query(buffer, sizeof(buffer), nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_TRUE(std::string(mpin_error()).starts_with("mpin_query of 100 bytes at ")) << mpin_error();
  EXPECT_EQ(mpin_get_stat(nullptr, 8), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_TRUE(std::string(mpin_error()).starts_with("mpin_get_stat of ")) << mpin_error();
}

}  // namespace
