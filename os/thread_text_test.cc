#include "os/thread_text.h"

#include <cstdio>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "tests/support/sanitizer.h"

namespace os {
namespace {

thread_local ThreadText<32> line;

TEST(ThreadText, IsEmptyAtFirstAndHoldsWhatWasWritten) {
  std::thread([] {
    EXPECT_STREQ(line.text(), "");
    ASSERT_EQ(line.buffer().size(), 32u);
    (void)std::snprintf(line.buffer().data(), line.buffer().size(), "page %d", 7);
    EXPECT_STREQ(line.text(), "page 7");
  }).join();
}

TEST(ThreadText, IsTheThreadsOwn) {
  (void)std::snprintf(line.buffer().data(), line.buffer().size(), "of this thread");
  std::thread([] { EXPECT_STREQ(line.text(), ""); }).join();
  EXPECT_STREQ(line.text(), "of this thread");
}

TEST(ThreadText, TakesLittleThreadLocalStorage) { EXPECT_LE(sizeof(ThreadText<100'000>), 16u); }

TEST(ThreadText, WithoutMemorySaysSo) {
  if (test_support::kAddressSanitizer || test_support::kThreadSanitizer) {
    GTEST_SKIP() << "the sanitizer ends a program that asks for too much memory";
  }
  constexpr size_t kMoreThanThereIs = size_t{1} << 60;
  ThreadText<kMoreThanThereIs> text;
  EXPECT_STREQ(text.text(), "");
  EXPECT_TRUE(text.buffer().empty());
  EXPECT_NE(std::string(text.text()).find("no memory"), std::string::npos);
}

}  // namespace
}  // namespace os
