#include "os/process_identity.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <thread>

#include "tests/support/child.h"

namespace os {
namespace {

using test_support::RunInChild;

// A child that says who it is, and then does no more until it is killed.
class Child {
 public:
  // Before it does no more, it runs `body`, which may not come back.
  explicit Child(const std::function<void()>& body = [] {}) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      (void)alarm(60);
      const ProcessIdentity identity = ProcessIdentity::OfThisProcess();
      if (write(ends[1], &identity, sizeof(identity)) == sizeof(identity)) body();
      for (;;) (void)pause();
    }
    (void)close(ends[1]);
    EXPECT_EQ(read(ends[0], &identity_, sizeof(identity_)), ssize_t{sizeof(identity_)});
    (void)close(ends[0]);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    Kill();
    Reap();
  }

  const ProcessIdentity& identity() const { return identity_; }
  pid_t pid() const { return pid_; }

  // Until it is a zombie.
  void Kill() {
    ASSERT_EQ(kill(pid_, SIGKILL), 0);
    siginfo_t info;
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT), 0);
  }
  void Reap() {
    ASSERT_EQ(waitpid(pid_, nullptr, 0), pid_);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
  ProcessIdentity identity_;
};

// A process that is no more, and has left no zombie.
ProcessIdentity EndedProcess() {
  Child child;
  child.Kill();
  child.Reap();
  return child.identity();
}

// What proc_pid_stat(5) says of the process' first thread.
char StateOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t name_end = text.rfind(") ");
  return name_end == std::string::npos ? '?' : text[name_end + 2];
}

TEST(ProcessIdentity, OfThisProcessIsNotGone) {
  const ProcessIdentity identity = ProcessIdentity::OfThisProcess();
  EXPECT_EQ(identity.pid, getpid());
  EXPECT_NE(identity.started, 0u);
  EXPECT_NE(identity.pid_namespace, 0u);
  EXPECT_FALSE(identity.IsGone());
  EXPECT_EQ(identity, ProcessIdentity::OfThisProcess());
}

TEST(ProcessIdentity, IsTheSameInEveryThread) {
  ProcessIdentity other;
  std::thread([&other] { other = ProcessIdentity::OfThisProcess(); }).join();
  EXPECT_EQ(other, ProcessIdentity::OfThisProcess());
}

TEST(ProcessIdentity, AForkedChildIsAnother) {
  const ProcessIdentity parent = ProcessIdentity::OfThisProcess();
  RunInChild([&] {
    const ProcessIdentity child = ProcessIdentity::OfThisProcess();
    EXPECT_NE(child, parent);
    EXPECT_EQ(child.pid, getpid());
    EXPECT_EQ(child.pid_namespace, parent.pid_namespace);
    EXPECT_EQ(child.time_namespace, parent.time_namespace);
    EXPECT_FALSE(child.IsGone());
    EXPECT_FALSE(parent.IsGone());
  });
}

TEST(ProcessIdentity, IsGoneOnceKilledAndOnceReaped) {
  Child child;
  EXPECT_FALSE(child.identity().IsGone());
  child.Kill();
  EXPECT_EQ(StateOf(child.pid()), 'Z');
  EXPECT_TRUE(child.identity().IsGone());
  child.Reap();
  EXPECT_TRUE(child.identity().IsGone());
}

TEST(ProcessIdentity, AStoppedProcessIsNotGone) {
  const Child child;
  ASSERT_EQ(kill(child.pid(), SIGSTOP), 0);
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child.pid()), &info, WSTOPPED | WNOWAIT), 0);
  EXPECT_FALSE(child.identity().IsGone());
}

// Its first thread is a zombie, and looks like a process that has ended.
TEST(ProcessIdentity, IsNotGoneWhileOneOfItsThreadsRuns) {
  Child child([] {
    pthread_t thread;
    const auto wait = [](void*) -> void* {
      for (;;) (void)pause();
    };
    if (pthread_create(&thread, nullptr, wait, nullptr) != 0) _exit(1);
    // The thread alone, as pthread_exit(3) does in the end.
    for (;;) syscall(SYS_exit, 0);
  });
  while (StateOf(child.pid()) != 'Z') std::this_thread::yield();
  EXPECT_FALSE(child.identity().IsGone());
  child.Kill();
  EXPECT_TRUE(child.identity().IsGone());
}

TEST(ProcessIdentity, ALaterProcessOfTheSameNumberIsNotTheOneThatIsGone) {
  const Child child;
  ProcessIdentity earlier = child.identity();
  --earlier.started;
  EXPECT_TRUE(earlier.IsGone());
  earlier.started = 0;  // cannot be told
  EXPECT_FALSE(earlier.IsGone());
}

TEST(ProcessIdentity, OfAnotherTimeNamespaceHasNoStartToCompare) {
  const Child child;
  ProcessIdentity elsewhere = child.identity();
  --elsewhere.started;
  ++elsewhere.time_namespace;
  EXPECT_FALSE(elsewhere.IsGone());
  ProcessIdentity ended = EndedProcess();
  ++ended.time_namespace;
  EXPECT_TRUE(ended.IsGone());
}

TEST(ProcessIdentity, NothingIsCertainOfAnotherPidNamespace) {
  ProcessIdentity ended = EndedProcess();
  ASSERT_TRUE(ended.IsGone());
  ++ended.pid_namespace;
  EXPECT_FALSE(ended.IsGone());
  ended.pid_namespace = 0;
  EXPECT_FALSE(ended.IsGone());
}

TEST(ProcessIdentity, NobodyIsNotGone) {
  ProcessIdentity nobody;
  std::memset(static_cast<void*>(&nobody), 0, sizeof(nobody));
  EXPECT_EQ(nobody, ProcessIdentity());
  EXPECT_FALSE(nobody.IsGone());
}

// kill(2) would take it for a group of processes, or for all.
TEST(ProcessIdentity, ANumberThatIsNoneIsNobody) {
  for (const int32_t pid : {0, -1, INT32_MIN + 1}) {
    ProcessIdentity nobody = ProcessIdentity::OfThisProcess();
    nobody.pid = pid;
    EXPECT_FALSE(nobody.IsGone()) << pid;
  }
}

TEST(ProcessIdentity, AProgramsNameIsNotTakenForItsState) {
  const ProcessIdentity before = ProcessIdentity::OfThisProcess();
  char name[16];
  ASSERT_EQ(prctl(PR_GET_NAME, name), 0);
  ASSERT_EQ(prctl(PR_SET_NAME, "a) Z 1 (b) X 2"), 0);
  EXPECT_EQ(ProcessIdentity::OfThisProcess(), before);
  EXPECT_FALSE(before.IsGone());
  ASSERT_EQ(prctl(PR_SET_NAME, name), 0);
}

// As `unshare --pid --fork` leaves it: /proc has other numbers for the same processes.
TEST(ProcessIdentity, OfANewPidNamespaceIsNotGoneThoughProcIsThatOfTheOld) {
  const ProcessIdentity outside = ProcessIdentity::OfThisProcess();
  RunInChild({.namespaces = CLONE_NEWUSER | CLONE_NEWPID}, [&] {
    const ProcessIdentity identity = ProcessIdentity::OfThisProcess();
    EXPECT_EQ(identity.pid, 1);
    EXPECT_NE(identity.pid_namespace, outside.pid_namespace);
    EXPECT_FALSE(identity.IsGone());
    EXPECT_FALSE(outside.IsGone());
    const Child child;
    EXPECT_FALSE(child.identity().IsGone());
    EXPECT_TRUE(EndedProcess().IsGone());
  });
}

// Who is told the start of a process is told it in his own time namespace.
TEST(ProcessIdentity, IsNotGoneForProcessesOfAnotherTimeNamespace) {
  const ProcessIdentity outside = ProcessIdentity::OfThisProcess();
  RunInChild([&] {
    if (unshare(CLONE_NEWUSER | CLONE_NEWTIME) != 0) {
      GTEST_SKIP() << "no time namespace can be made here: " << std::strerror(errno);
    }
    std::ofstream offsets("/proc/self/timens_offsets");
    if (!(offsets << "boottime 100000 0" << std::flush)) {
      GTEST_SKIP() << "no offset can be set here: " << std::strerror(errno);
    }
    RunInChild([&] {  // the first in it
      const ProcessIdentity identity = ProcessIdentity::OfThisProcess();
      EXPECT_EQ(identity.pid_namespace, outside.pid_namespace);
      EXPECT_NE(identity.time_namespace, outside.time_namespace);
      EXPECT_GT(identity.started, outside.started + 100'000);
      EXPECT_FALSE(identity.IsGone());
      EXPECT_FALSE(outside.IsGone());
    });
  });
}

}  // namespace
}  // namespace os
