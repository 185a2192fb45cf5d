#include "tests/support/other_process.h"

#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>

#include "gtest/gtest.h"
#include "tests/support/sanitizer.h"

// ThreadSanitizer ends a child that starts threads where the parent had some: there it looks for no
// races, but all else goes on.
extern "C" const char* __tsan_default_options();  // NOLINT: the runtime's name
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }

namespace test_support {
namespace {

constexpr int kMillisecondsMax = 60'000;
constexpr unsigned kSecondsOfLifeMax = 120;

// Past the sanitizers' own _exit, which waits for a second where the parent had threads.
[[noreturn]] void Exit(int status) {
  (void)std::fflush(nullptr);
  for (;;) syscall(SYS_exit_group, status);
}

// Nor may a child's thread have the stack of one that the parent had, which it would take it for: it gets
// a larger one.
void EnlargeStacks() {
  pthread_attr_t attributes;
  size_t bytes = 0;
  if (pthread_getattr_default_np(&attributes) != 0) return;
  if (pthread_attr_getstacksize(&attributes, &bytes) == 0 &&
      pthread_attr_setstacksize(&attributes, bytes + (size_t{1} << 20)) == 0) {
    (void)pthread_setattr_default_np(&attributes);
  }
  (void)pthread_attr_destroy(&attributes);
}
[[maybe_unused]] const bool stacks_are_enlarged =
    kThreadSanitizer && pthread_atfork(nullptr, nullptr, EnlargeStacks) == 0;

[[noreturn]] void BeChild(const OtherProcess::Body& body, const Line& line) {
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  (void)alarm(kSecondsOfLifeMax);
  // Nothing may unwind into the caller's frames: the child would go on with the parent's tests.
  try {
    body(line);
  } catch (const std::exception& error) {
    ADD_FAILURE() << "the child threw: " << error.what();
  }
  Exit(testing::Test::HasFailure() ? 1 : 0);
}

}  // namespace

void Line::Say(uint64_t number) const {
  const ssize_t sent = send(descriptor_, &number, sizeof(number), MSG_NOSIGNAL);
  if (is_child_ && sent < 0) return;  // the parent has hung up
  EXPECT_EQ(sent, ssize_t{sizeof(number)}) << std::strerror(errno);
}

uint64_t Line::Hear() const {
  pollfd end = {descriptor_, POLLIN, 0};
  int ready = 0;
  do {
    ready = poll(&end, 1, kMillisecondsMax);
  } while (ready < 0 && errno == EINTR);
  uint64_t number = kNothing;
  const ssize_t got = ready > 0 ? recv(descriptor_, &number, sizeof(number), 0) : -1;
  if (got == ssize_t{sizeof(number)}) return number;
  if (!is_child_ || ready <= 0) {
    ADD_FAILURE() << (ready > 0 ? "the child has ended" : "nothing is said");
  }
  return kNothing;
}

OtherProcess::OtherProcess(const Body& body) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    ADD_FAILURE() << std::strerror(errno);
    return;
  }
  (void)std::fflush(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    (void)close(ends[0]);
    BeChild(body, Line(ends[1], true));
  }
  (void)close(ends[1]);
  EXPECT_GT(pid_, 0) << std::strerror(errno);
  line_ = Line(ends[0], false);
}

OtherProcess::~OtherProcess() {
  if (pid_ > 0 && is_stopped_) Continue();
  (void)close(line_.descriptor());
  if (pid_ <= 0) return;
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  EXPECT_FALSE(WIFSIGNALED(status)) << "the child died by signal " << WTERMSIG(status);
  EXPECT_EQ(status, 0) << "the child has failed";
}

void OtherProcess::Stop() {
  ASSERT_EQ(kill(pid_, SIGSTOP), 0);
  int status = 0;
  ASSERT_EQ(waitpid(pid_, &status, WUNTRACED), pid_);
  EXPECT_TRUE(WIFSTOPPED(status));
  is_stopped_ = true;
}

void OtherProcess::Continue() {
  EXPECT_EQ(kill(pid_, SIGCONT), 0);
  is_stopped_ = false;
}

void OtherProcess::Kill() {
  ASSERT_EQ(kill(pid_, SIGKILL), 0);
  int status = 0;
  EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
  pid_ = -1;
}

}  // namespace test_support
