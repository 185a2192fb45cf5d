#include "os/thread.h"

#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <string>

#include "gtest/gtest.h"

namespace os {
namespace {

TEST(StartThread, RunsWithItsNameAndWithoutSignals) {
  std::string name(16, '\0');
  bool blocked = false;
  std::thread thread;
  ASSERT_EQ(StartThread(thread, "a-name",
                        [&] {
                          sigset_t mask;
                          pthread_sigmask(SIG_SETMASK, nullptr, &mask);
                          blocked = sigismember(&mask, SIGUSR1) == 1;
                          // The name is set by the thread that has started this one.
                          for (int i = 0; i < 1'000 && name.compare(0, 6, "a-name") != 0; ++i) {
                            pthread_getname_np(pthread_self(), name.data(), name.size());
                            std::this_thread::sleep_for(std::chrono::milliseconds(1));
                          }
                        }),
            kSuccess);
  thread.join();
  EXPECT_TRUE(blocked);
  EXPECT_EQ(std::string(name.c_str()), "a-name");
}

TEST(StartThread, LeavesTheSignalsOfTheCallerAsTheyWere) {
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  std::thread thread;
  ASSERT_EQ(StartThread(thread, "a-name", [] {}), kSuccess);
  thread.join();
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int signal = 1; signal < 32; ++signal) {
    EXPECT_EQ(sigismember(&before, signal), sigismember(&after, signal)) << signal;
  }
}

}  // namespace
}  // namespace os
