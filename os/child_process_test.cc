#include "os/child_process.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/child.h"

namespace os {
namespace {

using Step = ChildProcess::Step;
using std::chrono_literals::operator""ms;

constexpr char kMemoryUser[] = "tests/support/memory_user";

std::string Temporary(const std::string& name) {
  const char* directory = std::getenv("TEST_TMPDIR");
  return std::string(directory != nullptr ? directory : "/tmp") + "/" + name;
}

std::unique_ptr<ChildProcess> Started(const ChildProcess::Request& request) {
  Step failed;
  auto child = ChildProcess::Start(request, failed);
  EXPECT_EQ(child.error(), kSuccess);
  return child.ok() ? std::move(*child) : nullptr;
}

std::unique_ptr<ChildProcess> StartedShell(const std::string& script) {
  return Started({.command = {"sh", "-c", script}});
}

ChildProcess::End EndOf(ChildProcess& child) {
  for (;;) {
    if (const auto end = child.WaitFor(10ms)) return *end;
  }
}

ChildProcess::End EndOfShell(const std::string& script) {
  const auto child = StartedShell(script);
  return child == nullptr ? ChildProcess::End{.exit_code = -1} : EndOf(*child);
}

void ExpectNotStarted(const ChildProcess::Request& request, Step step, Errno error) {
  Step failed = Step::kFork;
  EXPECT_EQ(ChildProcess::Start(request, failed).error(), error);
  EXPECT_EQ(failed, step);
}

TEST(ChildProcess, TellsHowTheProgramEnded) {
  EXPECT_EQ(EndOfShell("exit 0").exit_code, 0);
  EXPECT_EQ(EndOfShell("exit 42").exit_code, 42);
  EXPECT_EQ(EndOfShell("exit 42").signal, 0);
  EXPECT_EQ(EndOfShell("kill -KILL $$").signal, SIGKILL);
  EXPECT_EQ(EndOfShell("kill -KILL $$").exit_code, 0);
}

TEST(ChildProcess, HasTheArgumentsAsTheyAre) {
  const auto child =
      Started({.command = {"sh", "-c", "test \"$1|$2|$3\" = 'a b||[x]'", "sh", "a b", "", "[x]"},
               .memlock_bytes = {}});
  ASSERT_NE(child, nullptr);
  EXPECT_EQ(EndOf(*child).exit_code, 0);
}

TEST(ChildProcess, IsNotStartedWhereThereIsNoSuchProgram) {
  ExpectNotStarted({.command = {"no-such-program-anywhere"}}, Step::kExecute, Errno(ENOENT));
  ExpectNotStarted({.command = {"/etc"}}, Step::kExecute, Errno(EACCES));
  const std::string path = Temporary("not executable");
  std::ofstream(path) << "#!/bin/sh\n";
  ExpectNotStarted({.command = {path}}, Step::kExecute, Errno(EACCES));
  errno = 0;
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD) << "a child that has not become the program is left over";
}

TEST(ChildProcess, RunsUnderTheLockLimitThatIsAskedFor) {
  test_support::RunInChild(test_support::Limited(1 << 20), [] {
    const auto child =
        Started({.command = {"sh", "-c", "test \"$(ulimit -Sl) $(ulimit -Hl)\" = '64 64'"},
                 .memlock_bytes = 64 << 10});
    ASSERT_NE(child, nullptr);
    EXPECT_EQ(EndOf(*child).exit_code, 0);
    rlimit own = {};
    ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &own), 0);
    EXPECT_EQ(own.rlim_max, rlim_t{1} << 20) << "this process keeps its own";
  });
}

TEST(ChildProcess, IsNotStartedAboveTheHardLimitWithoutPrivilege) {
  test_support::RunInChild(test_support::Limited(1 << 20), [] {
    ExpectNotStarted({.command = {"true"}, .memlock_bytes = (1 << 20) + 1}, Step::kLimit,
                     Errno(EPERM));
    ExpectNotStarted({.command = {"true"}, .memlock_bytes = ChildProcess::kUnlimited}, Step::kLimit,
                     Errno(EPERM));
  });
}

TEST(ChildProcess, MayRunAboveTheHardLimitWithPrivilege) {
  test_support::RunInChild([] {
    rlimit low = {1 << 20, 1 << 20};
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &low), 0);
    low.rlim_max = 2 << 20;
    if (setrlimit(RLIMIT_MEMLOCK, &low) != 0) GTEST_SKIP() << "may not raise a hard limit";
    const auto child = Started({.command = {"sh", "-c", "test \"$(ulimit -Hl)\" = unlimited"},
                                .memlock_bytes = ChildProcess::kUnlimited});
    ASSERT_NE(child, nullptr);
    EXPECT_EQ(EndOf(*child).exit_code, 0);
  });
}

TEST(ChildProcess, GetsSignalsThatOthersSendToThisOne) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM}) {
    const auto child = StartedShell("exec sleep 1000");
    ASSERT_NE(child, nullptr);
    EXPECT_EQ(child->WaitFor(0ms), std::nullopt);
    ASSERT_EQ(kill(getpid(), signal), 0);
    EXPECT_EQ(EndOf(*child).signal, signal);
  }
}

TEST(ChildProcess, HasTheSignalsOfItsParentAsTheyWere) {
  struct sigaction ignore = {}, before = {};
  ignore.sa_handler = SIG_IGN;
  ASSERT_EQ(sigaction(SIGCHLD, &ignore, &before), 0);
  sigset_t mask, mask_before;
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR2);
  ASSERT_EQ(sigprocmask(SIG_SETMASK, &mask, &mask_before), 0);
  // Bit 11 of what is blocked is SIGUSR2; bit 16 of what is ignored is SIGCHLD. (A shell would
  // begin by clearing the mask.)
  for (const char* line : {"^SigBlk:.0*800$", "^SigIgn:.*[13579bdf]....$"}) {
    const auto child = Started({.command = {"grep", "-q", line, "/proc/self/status"}});
    ASSERT_NE(child, nullptr);
    EXPECT_EQ(EndOf(*child).exit_code, 0) << line;
  }
  struct sigaction after = {};
  ASSERT_EQ(sigaction(SIGCHLD, &before, &after), 0);
  EXPECT_EQ(after.sa_handler, SIG_IGN);
  sigset_t mask_after;
  ASSERT_EQ(sigprocmask(SIG_SETMASK, &mask_before, &mask_after), 0);
  EXPECT_EQ(sigismember(&mask_after, SIGTERM), 0);
  EXPECT_EQ(sigismember(&mask_after, SIGUSR2), 1);
}

TEST(ChildProcess, CountsItsPageFaults) {
  const ChildProcess::End end = EndOfShell("exit 0");
  EXPECT_GT(end.faults.minor, 0u);
  const std::string path = Temporary("pages");
  std::ofstream(path) << std::string(1 << 20, 'x');
  const auto child = Started({.command = {kMemoryUser, "fault", path}});
  ASSERT_NE(child, nullptr);
  const ChildProcess::End faulted = EndOf(*child);
  if (faulted.exit_code == 77) GTEST_SKIP() << path << " does not leave the page cache";
  EXPECT_EQ(faulted.exit_code, 0);
  EXPECT_GE(faulted.faults.major, 1u);
}

TEST(ChildProcess, ShowsItsMemoryWhileItLives) {
  const auto child = Started({.command = {kMemoryUser, "lock", "65536"}});
  ASSERT_NE(child, nullptr);
  uint64_t locked = 0, resident = 0;
  std::optional<ChildProcess::End> end;
  while (!(end = child->WaitFor(1ms))) {
    const auto memory = child->ReadMemory();
    if (!memory) continue;
    locked = std::max(locked, memory->locked_bytes);
    resident = std::max(resident, memory->resident_bytes_max);
  }
  EXPECT_EQ(end->exit_code, 0);
  EXPECT_GE(locked, 65536u);
  EXPECT_LE(locked, 65536u + 4096) << "it begins and ends within pages";
  EXPECT_GE(resident, locked);
  EXPECT_EQ(child->ReadMemory(), std::nullopt) << "it has ended";
}

}  // namespace
}  // namespace os
