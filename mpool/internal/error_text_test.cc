#include "mpool/internal/error_text.h"

#include <cerrno>
#include <string>
#include <thread>

#include "gtest/gtest.h"

namespace mpool::internal {
namespace {

TEST(ErrorText, IsEmptyBeforeTheFirstFailureOfAThread) {
  (void)Failed(os::Errno(EIO), "of this thread");
  std::thread([] { EXPECT_STREQ(ErrorText(), ""); }).join();
  EXPECT_STREQ(ErrorText(), "of this thread");
}

TEST(ErrorText, IsFormattedAndReplacedAndTheErrorComesBack) {
  EXPECT_EQ(Failed(os::Errno(EINVAL), "page %u of %s", 7u, "a file"), os::Errno(EINVAL));
  EXPECT_STREQ(ErrorText(), "page 7 of a file");
  EXPECT_EQ(Failed(os::Errno(EIO), "shorter"), os::Errno(EIO));
  EXPECT_STREQ(ErrorText(), "shorter");
}

TEST(ErrorText, WhatWasReportedStaysUntilTheNextReport) {
  (void)Failed(os::Errno(EIO), "reported");
  ReportErrorText();
  (void)Failed(os::Errno(EIO), "got by");
  EXPECT_STREQ(ReportedErrorText(), "reported");
  EXPECT_STREQ(ErrorText(), "got by");
}

TEST(ErrorText, IsCutToFit) {
  const std::string longer(5000, 'x');
  (void)Failed(os::Errno(EIO), "%s", longer.c_str());
  EXPECT_EQ(std::string(ErrorText()), longer.substr(0, 1023));
}

}  // namespace
}  // namespace mpool::internal
