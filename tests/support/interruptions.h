// Interruptions: a process that gets a signal now and then.
//
// For calls that a signal interrupts. It comes again and again, as one could come before the call waits.

#ifndef TESTS_SUPPORT_INTERRUPTIONS_H_
#define TESTS_SUPPORT_INTERRUPTIONS_H_

#include <sys/time.h>

#include <csignal>

#include "gtest/gtest.h"

namespace test_support {

// While one lives the main thread gets SIGALRM every 20 ms, which does nothing, and no system call goes
// on after it (without SA_RESTART). Not in a child of RunInChild, which uses it to limit its time.
class Interruptions {
 public:
  Interruptions() {
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    EXPECT_EQ(sigaction(SIGALRM, &action, &before_), 0);
    constexpr itimerval kEvery20Ms = {{0, 20'000}, {0, 20'000}};
    EXPECT_EQ(setitimer(ITIMER_REAL, &kEvery20Ms, nullptr), 0);
  }
  Interruptions(const Interruptions&) = delete;
  Interruptions& operator=(const Interruptions&) = delete;
  ~Interruptions() {
    constexpr itimerval kNever = {};
    EXPECT_EQ(setitimer(ITIMER_REAL, &kNever, nullptr), 0);
    struct sigaction ignored = {};
    ignored.sa_handler = SIG_IGN;  // drops one that is pending
    EXPECT_EQ(sigaction(SIGALRM, &ignored, nullptr), 0);
    EXPECT_EQ(sigaction(SIGALRM, &before_, nullptr), 0);
  }

 private:
  struct sigaction before_ = {};
};

}  // namespace test_support

#endif  // TESTS_SUPPORT_INTERRUPTIONS_H_
