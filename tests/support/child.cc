#include "tests/support/child.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <exception>
#include <sstream>
#include <string>
#include <thread>

#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"

namespace test_support {
namespace {

constexpr unsigned kSecondsMax = 60;
// Exit statuses of a child.
constexpr int kPassed = 0, kFailed = 1, kSkipped = 2;

// The C library has no wrapper for capset(2).
bool DropCapabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  return syscall(SYS_capset, &header, none) == 0;
}

void WriteFile(const char* path, const std::string& text) {
  const int file = open(path, O_WRONLY | O_CLOEXEC);
  ASSERT_GE(file, 0) << path << ": " << std::strerror(errno);
  ASSERT_EQ(write(file, text.data(), text.size()), static_cast<ssize_t>(text.size()))
      << path << ": " << std::strerror(errno);
  close(file);
}

void Restrict(const ChildOptions& options, uid_t user, gid_t group) {
  if ((options.namespaces & CLONE_NEWUSER) != 0) {
    WriteFile("/proc/self/uid_map", "0 " + std::to_string(user) + " 1");
    WriteFile("/proc/self/setgroups", "deny");
    WriteFile("/proc/self/gid_map", "0 " + std::to_string(group) + " 1");
  }
  if (options.memlock_bytes) {
    const rlimit limit{*options.memlock_bytes, *options.memlock_bytes};
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0) << std::strerror(errno);
  }
  if (options.drop_privilege) {
    ASSERT_TRUE(DropCapabilities()) << std::strerror(errno);
  }
}

// Past the sanitizers' own _exit, which waits for a second where the parent had threads.
[[noreturn]] void Exit(int status) {
  for (;;) syscall(SYS_exit_group, status);
}

pid_t Fork(const ChildOptions& options) {
  if (!options.raw_clone && options.namespaces == 0) return fork();
  const auto flags = static_cast<unsigned long>(options.namespaces) | SIGCHLD;
  return static_cast<pid_t>(syscall(SYS_clone, flags, nullptr, nullptr, nullptr, nullptr));
}

// The child's part: its results go down the pipe as text. `user` and `group` are the parent's.
[[noreturn]] void BeChild(const ChildOptions& options, uid_t user, gid_t group,
                          const std::function<void()>& body, int pipe_end) {
  alarm(kSecondsMax);
  testing::TestPartResultArray results;
  {
    const testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ALL_THREADS, &results);
    // Nothing may unwind into the caller's frames: the child would go on with the parent's tests.
    try {
      Restrict(options, user, group);
      if (results.size() == 0) body();
    } catch (const std::exception& error) {
      ADD_FAILURE() << "the child threw: " << error.what();
    } catch (...) {
      ADD_FAILURE() << "the child threw what is not a std::exception";
    }
  }
  int status = kPassed;
  std::ostringstream text;
  for (int i = 0; i < results.size(); ++i) {
    const testing::TestPartResult& result = results.GetTestPartResult(i);
    if (result.passed()) continue;
    if (result.failed()) status = kFailed;
    if (result.skipped() && status == kPassed) status = kSkipped;
    text << (result.file_name() != nullptr ? result.file_name() : "") << ":" << result.line_number()
         << ": " << result.message() << "\n";
  }
  const std::string report = text.str();
  for (size_t done = 0; done < report.size();) {
    const ssize_t bytes = write(pipe_end, report.data() + done, report.size() - done);
    if (bytes <= 0) Exit(kFailed);
    done += static_cast<size_t>(bytes);
  }
  Exit(status);
}

std::string ReadAll(int pipe_end) {
  std::string text;
  char part[4096];
  for (;;) {
    const ssize_t bytes = read(pipe_end, part, sizeof(part));
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) return text;
    text.append(part, static_cast<size_t>(bytes));
  }
}

}  // namespace

ChildOptions Limited(uint64_t memlock_bytes) {
  ChildOptions options;
  options.memlock_bytes = memlock_bytes;
  options.drop_privilege = true;
  return options;
}

void RunInChild(const ChildOptions& options, const std::function<void()>& body) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0) << std::strerror(errno);
  const uid_t user = geteuid();
  const gid_t group = getegid();
  const pid_t child = Fork(options);
  const int fork_error = errno;
  if (child == 0) {
    close(ends[0]);
    BeChild(options, user, group, body, ends[1]);
  }
  close(ends[1]);
  const std::string text = child < 0 ? "" : ReadAll(ends[0]);
  close(ends[0]);
  if (child < 0 && options.namespaces != 0) {
    GTEST_SKIP() << "namespaces cannot be made here: " << std::strerror(fork_error);
  }
  ASSERT_GT(child, 0) << std::strerror(fork_error);
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    ASSERT_EQ(errno, EINTR);
  }
  ASSERT_TRUE(WIFEXITED(status)) << "the child died by signal " << WTERMSIG(status)
                                 << (WTERMSIG(status) == SIGALRM ? ": it was not done in time" : "")
                                 << "\n"
                                 << text;
  if (WEXITSTATUS(status) == kSkipped) GTEST_SKIP() << text;
  EXPECT_EQ(WEXITSTATUS(status), kPassed) << "in the child:\n" << text;
}

void CopyOwnMemoryAfterFork() {
  volatile char stack[1024];  // of what is called next
  for (volatile char& byte : stack) byte = 0;
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace test_support
