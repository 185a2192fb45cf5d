#include "os/run_queue.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>

#include "gtest/gtest.h"
#include "os/line_reader.h"
#include "tests/support/child.h"

namespace os {
namespace {

// Two processes on one CPU, both busy: each waits while the other runs.
TEST(RunQueueDelay, GrowsWhileAnotherProcessHasTheCpu) {
  if (!LineReader("/proc/thread-self/schedstat").ok()) {
    GTEST_SKIP() << "this kernel does not count it";
  }
  test_support::RunInChild([] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(sched_getcpu()), &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    const RunQueueDelay delay;
    const double before = delay.Ns();
    const pid_t other = fork();
    ASSERT_GE(other, 0);
    while (other == 0) (void)sched_yield();
    while (delay.Ns() <= before && std::clock() < 10 * CLOCKS_PER_SEC) (void)sched_yield();
    EXPECT_GT(delay.Ns(), before);
    EXPECT_EQ(kill(other, SIGKILL), 0);
    EXPECT_EQ(waitpid(other, nullptr, 0), other);
  });
}

}  // namespace
}  // namespace os
