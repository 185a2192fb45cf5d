#include "os/terminal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "os/descriptor.h"

namespace os {
namespace {

TEST(Terminal, IsNoneWhereOutputGoesToAFile) {
  const OwnedDescriptor null(open("/dev/null", O_WRONLY | O_CLOEXEC));
  EXPECT_FALSE(IsTerminal(null.get()));
  EXPECT_EQ(SizeOfTerminal(null.get()).columns, 80);
  EXPECT_EQ(SizeOfTerminal(null.get()).lines, 24);
}

TEST(Terminal, IsNoneWhereNothingIsOpen) {
  EXPECT_FALSE(IsTerminal(-1));
  EXPECT_EQ(SizeOfTerminal(-1).columns, 80);
}

TEST(Terminal, TellsItsSize) {
  const OwnedDescriptor master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (master.get() < 0 || grantpt(master.get()) != 0 || unlockpt(master.get()) != 0) {
    GTEST_SKIP() << "no pseudoterminals here";
  }
  EXPECT_TRUE(IsTerminal(master.get()));
  winsize window = {};
  window.ws_col = 123;
  window.ws_row = 45;
  ASSERT_EQ(ioctl(master.get(), TIOCSWINSZ, &window), 0);
  EXPECT_EQ(SizeOfTerminal(master.get()).columns, 123);
  EXPECT_EQ(SizeOfTerminal(master.get()).lines, 45);
}

}  // namespace
}  // namespace os
