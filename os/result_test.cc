#include "os/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace os {
namespace {

Result<std::string> Answer(bool succeed) {
  if (!succeed) return Errno(ENOENT);
  return std::string("answer");
}

TEST(Result, HoldsAValue) {
  const Result<std::string> result = Answer(true);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result.error().ok());
  EXPECT_EQ(*result, "answer");
  EXPECT_EQ(result.value(), "answer");
  EXPECT_EQ(result->size(), 6u);
}

TEST(Result, HoldsAnError) {
  const Result<std::string> result = Answer(false);
  EXPECT_FALSE(result.ok());
  EXPECT_EQ(result.error(), Errno(ENOENT));
}

TEST(Result, ValueOfAnIntegerTypeIsNotAnError) {
  const Result<int> result = 0;
  EXPECT_TRUE(result.ok());
  EXPECT_EQ(*result, 0);
}

TEST(Result, MovesWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(7);
  ASSERT_TRUE(result.ok());
  const std::unique_ptr<int> taken = *std::move(result);
  EXPECT_EQ(*taken, 7);
}

TEST(Result, ValueCanBeChanged) {
  Result<std::string> result = Answer(true);
  *result += "s";
  result->append("!");
  EXPECT_EQ(result.value(), "answers!");
}

TEST(ResultDeathTest, SuccessNeedsAValue) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH((void)Result<int>(kSuccess), "");
}

}  // namespace
}  // namespace os
