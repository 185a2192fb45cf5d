#include "os/interrupt.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace os {
namespace {

TEST(Interrupt, RemembersTheSignalsInsteadOfEndingTheProcess) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const Interrupt interrupt;
    EXPECT_FALSE(interrupt.requested());
    EXPECT_EQ(raise(signal), 0);
    EXPECT_TRUE(interrupt.requested()) << signal;
  }
}

// How a process ends that does this while nobody else signals it; with status 7 if it returns.
template <typename Action>
int EndAfter(const Action& action) {
  const pid_t child = fork();
  if (child == 0) {
    action();
    _exit(7);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

void ExpectKilledBySigint(int status) {
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGINT);
}

TEST(Interrupt, ASigintMuchLaterEndsTheProcess) {
  ExpectKilledBySigint(EndAfter([] {
    const Interrupt interrupt;
    (void)raise(SIGTERM);
    usleep(1'001'000);
    (void)raise(SIGTERM);
    (void)raise(SIGINT);
  }));
}

// As those of timeout(1).
TEST(Interrupt, TwoSigintAtOnceAreOneRequest) {
  const int status = EndAfter([] {
    const Interrupt interrupt;
    (void)raise(SIGINT);
    (void)raise(SIGINT);
    if (!interrupt.requested()) _exit(8);
  });
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST(Interrupt, TheSignalsDoWhatTheyDidBeforeAfterItsEnd) {
  ExpectKilledBySigint(EndAfter([] {
    { const Interrupt interrupt; }
    (void)raise(SIGINT);
  }));
}

TEST(Interrupt, WhatWasIgnoredStaysSo) {
  ASSERT_NE(signal(SIGHUP, SIG_IGN), SIG_ERR);
  {
    const Interrupt interrupt;
    EXPECT_EQ(raise(SIGHUP), 0);
    EXPECT_FALSE(interrupt.requested());
  }
  (void)signal(SIGHUP, SIG_DFL);
}

}  // namespace
}  // namespace os
