#include "os/errno.h"

#include <gtest/gtest.h>

namespace os {
namespace {

TEST(Errno, DefaultIsSuccess) {
  EXPECT_TRUE(Errno().ok());
  EXPECT_TRUE(kSuccess.ok());
  EXPECT_EQ(kSuccess.code(), 0);
  EXPECT_TRUE(Errno() == Errno(0));
}

TEST(Errno, KeepsTheCode) {
  constexpr Errno error(ENOSPC);
  static_assert(!error.ok());
  EXPECT_EQ(error.code(), ENOSPC);
  EXPECT_TRUE(error == Errno(ENOSPC));
  EXPECT_FALSE(error == Errno(ENOMEM));
}

TEST(Errno, LastTakesTheThreadsErrno) {
  errno = EAGAIN;
  const Errno error = Errno::Last();
  errno = 0;
  EXPECT_EQ(error.code(), EAGAIN);
}

TEST(Errno, NameIsTheSymbol) {
  EXPECT_EQ(kSuccess.Name(), "0");
  EXPECT_EQ(Errno(ENOMEM).Name(), "ENOMEM");
  EXPECT_EQ(Errno(EPERM).Name(), "EPERM");
}

TEST(Errno, NameOfAnUnknownValueIsItsNumber) {
  EXPECT_EQ(Errno(4711).Name(), "errno 4711");
  EXPECT_EQ(Errno(-1).Name(), "errno -1");
}

}  // namespace
}  // namespace os
