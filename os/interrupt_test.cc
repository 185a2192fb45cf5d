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

// How a process ends that is sent SIGINT so often.
int EndAfter(int interrupts, bool with_object) {
  const pid_t child = fork();
  if (child == 0) {
    {
      const Interrupt interrupt;
      for (int i = 0; with_object && i < interrupts; ++i) (void)raise(SIGINT);
    }
    for (int i = 0; !with_object && i < interrupts; ++i) (void)raise(SIGINT);
    _exit(7);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

TEST(Interrupt, ASecondSigintEndsTheProcess) {
  EXPECT_EQ(WEXITSTATUS(EndAfter(1, true)), 7);
  const int status = EndAfter(2, true);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGINT);
}

TEST(Interrupt, TheSignalsDoWhatTheyDidBeforeAfterItsEnd) {
  const int status = EndAfter(1, false);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGINT);
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
