#include "os/side_child.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <thread>
#include <vector>

#include "tests/support/child.h"

namespace os {
namespace {

using test_support::RunInChild;

struct Answer {
  long process = 0;
  int descriptor = -1;
  long error = 0;
};

OS_RUNS_IN_SIDE_CHILD int TellProcess(void* argument) {
  static_cast<Answer*>(argument)->process = syscall(SYS_getpid);
  return 0;
}

OS_RUNS_IN_SIDE_CHILD int CloseDescriptor(void* argument) {
  auto* answer = static_cast<Answer*>(argument);
  answer->error = syscall(SYS_close, answer->descriptor);
  return 0;
}

OS_RUNS_IN_SIDE_CHILD int BeKilled(void* argument) {
  static_cast<Answer*>(argument)->process = syscall(SYS_getpid);
  syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
  static_cast<Answer*>(argument)->process = -1;
  return 0;
}

TEST(RunInSideChild, RunsInAnotherProcessThatSharesMemory) {
  Answer answer;
  ASSERT_TRUE(RunInSideChild(TellProcess, &answer));
  EXPECT_GT(answer.process, 0);
  EXPECT_NE(answer.process, getpid());
}

TEST(RunInSideChild, HasDescriptorsOfItsOwn) {
  Answer answer;
  answer.descriptor = dup(STDIN_FILENO);
  ASSERT_GE(answer.descriptor, 0);
  ASSERT_TRUE(RunInSideChild(CloseDescriptor, &answer));
  EXPECT_EQ(answer.error, 0);
  EXPECT_EQ(close(answer.descriptor), 0) << "still open here";
}

TEST(RunInSideChild, LeavesErrnoAndSignalsAlone) {
  sigset_t mask, after;
  ASSERT_EQ(sigemptyset(&mask), 0);
  ASSERT_EQ(sigaddset(&mask, SIGUSR2), 0);
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &mask, nullptr), 0);
  errno = E2BIG;
  Answer answer;
  EXPECT_TRUE(RunInSideChild(TellProcess, &answer));
  EXPECT_EQ(errno, E2BIG);
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &after), 0);
  for (const int signal : {SIGUSR1, SIGUSR2, SIGTERM, SIGCHLD}) {
    EXPECT_EQ(sigismember(&after, signal), sigismember(&mask, signal)) << signal;
  }
  ASSERT_EQ(sigemptyset(&mask), 0);
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &mask, nullptr), 0);
}

std::atomic<int> signals_seen{0};

void ExpectNoChildren() {
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG | __WALL), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(RunInSideChild, IsNotSeenByTheProgram) {
  RunInChild([] {
    struct sigaction action {};
    action.sa_handler = [](int) { ++signals_seen; };
    ASSERT_EQ(sigaction(SIGCHLD, &action, nullptr), 0);
    Answer answer;
    ASSERT_TRUE(RunInSideChild(TellProcess, &answer));
    EXPECT_EQ(signals_seen, 0);
    ExpectNoChildren();
  });
}

TEST(RunInSideChild, LeavesNothingWhereChildrenAreIgnored) {
  RunInChild([] {
    ASSERT_NE(signal(SIGCHLD, SIG_IGN), SIG_ERR);
    Answer answer;
    ASSERT_TRUE(RunInSideChild(TellProcess, &answer));
    ExpectNoChildren();
  });
}

TEST(RunInSideChild, DoesNotTakeAnotherChild) {
  RunInChild([] {
    const pid_t other = fork();
    ASSERT_GE(other, 0);
    if (other == 0) _exit(7);
    Answer answer;
    ASSERT_TRUE(RunInSideChild(TellProcess, &answer));
    int status = 0;
    ASSERT_EQ(waitpid(other, &status, 0), other);
    EXPECT_EQ(WEXITSTATUS(status), 7);
  });
}

TEST(RunInSideChild, ReturnsWhereTheChildIsKilled) {
  RunInChild([] {
    Answer answer;
    EXPECT_TRUE(RunInSideChild(BeKilled, &answer));
    EXPECT_GT(answer.process, 0);
    ExpectNoChildren();
  });
}

TEST(RunInSideChild, WorksInManyThreadsAtOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int round = 0; round < 50; ++round) {
        Answer answer;
        EXPECT_TRUE(RunInSideChild(TellProcess, &answer));
        EXPECT_NE(answer.process, 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::thread([] {}).join();  // ThreadSanitizer has not taken it for a fork
}

}  // namespace
}  // namespace os
