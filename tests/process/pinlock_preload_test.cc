// libpinlock preloaded into a program that has never heard of it.

#include <cstdio>
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"

namespace {

TEST(PinlockPreloaded, FollowsWhatAProgramDoesThatHasNeverHeardOfIt) {
  const std::string root =
      std::string(std::getenv("TEST_SRCDIR")) + "/" + std::getenv("TEST_WORKSPACE");
  const std::string command =
      "LD_PRELOAD=" + root + "/pinlock/libpinlock.so.0 " + root + "/tests/process/forgetful";
  std::FILE* output = popen(command.c_str(), "r");
  ASSERT_NE(output, nullptr);
  std::string text;
  for (int c; (c = std::fgetc(output)) != EOF;) text += static_cast<char>(c);
  EXPECT_EQ(pclose(output), 0) << text;
  EXPECT_EQ(text,
            "pinned 11111111\n"
            "munmap 10111111\n"
            "mmap 10011111\n"
            "mremap 10001111\n"
            "moved 10\n"
            "madvise 10000111\n");
}

}  // namespace
