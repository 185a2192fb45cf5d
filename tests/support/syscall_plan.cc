#include "tests/support/syscall_plan.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <fstream>
#include <new>
#include <sstream>
#include <string>

#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"

namespace test_support {
namespace {

constexpr unsigned kSecondsMax = 60;
constexpr size_t kCallsMax = 100;
// Exit statuses of a child.
constexpr int kPassed = 0, kFailed = 1, kSkipped = 2;

// Writes what fails to a file, as it fails: the process may be killed at any time.
class FileReporter final : public testing::ScopedFakeTestPartResultReporter {
 public:
  explicit FileReporter(int file)
      : ScopedFakeTestPartResultReporter(INTERCEPT_ALL_THREADS, nullptr), file_(file) {}
  void ReportTestPartResult(const testing::TestPartResult& result) override {
    if (result.passed()) return;
    int expected = kPassed;
    if (result.failed()) status_.store(kFailed);
    if (result.skipped()) status_.compare_exchange_strong(expected, kSkipped);
    std::ostringstream text;
    text << (result.file_name() != nullptr ? result.file_name() : "") << ":" << result.line_number()
         << ": " << result.message() << "\n";
    const std::string line = text.str();
    (void)!write(file_, line.data(), line.size());
  }
  int status() const { return status_.load(); }

 private:
  const int file_;
  std::atomic<int> status_ = kPassed;
};

std::string ReadFile(int file) {
  std::string text;
  char part[4096];
  for (off_t at = 0;;) {
    const ssize_t bytes = pread(file, part, sizeof(part), at);
    if (bytes <= 0) return text;
    text.append(part, static_cast<size_t>(bytes));
    at += bytes;
  }
}

// Past the sanitizers' own _exit, which waits for a second where there were threads.
[[noreturn]] void Exit(int status) {
  for (;;) syscall(SYS_exit_group, status);
}

// A child that runs a body, and what it has to say.
class Child {
 public:
  Child() = default;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (results_ >= 0) close(results_);
    if (process_ >= 0) close(process_);
  }

  // False: the test has failed.
  bool Start(const char* name, const std::function<void()>& body) {
    name_ = name;
    results_ = static_cast<int>(syscall(SYS_memfd_create, "results", MFD_CLOEXEC));
    pid_ = results_ < 0 ? -1 : fork();
    if (pid_ == 0) Be(body);
    if (pid_ > 0) process_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
    if (process_ >= 0) return true;
    ADD_FAILURE() << "no child: " << std::strerror(errno);
    if (pid_ > 0) kill(pid_, SIGKILL);
    return false;
  }
  pid_t pid() const { return pid_; }
  int descriptor() const { return process_; }  // ready when the child has ended

  // Waits for its end. `signal`: that it may be killed by; `context`: what is said of its failures.
  bool Await(int signal, const std::string& context) {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0) {
      if (errno != EINTR) break;
    }
    const std::string text = context + ReadFile(results_);
    const bool was_killed = WIFSIGNALED(status) && WTERMSIG(status) == signal;
    if (WIFSIGNALED(status) && !was_killed) {
      ADD_FAILURE() << "the " << name_ << " died by signal " << WTERMSIG(status)
                    << (WTERMSIG(status) == SIGALRM ? ": it was not done in time" : "") << "\n"
                    << text;
    } else if (was_killed ? text.size() > context.size() : WEXITSTATUS(status) == kFailed) {
      ADD_FAILURE() << "in the " << name_ << ":\n" << text;
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == kSkipped) {
      Skip(text);
    }
    return was_killed;
  }

 private:
  static void Skip(const std::string& text) { GTEST_SKIP() << text; }

  [[noreturn]] void Be(const std::function<void()>& body) const {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(kSecondsMax);
    const FileReporter reporter(results_);
    // Nothing may unwind into the caller's frames: the child would go on with the parent's tests.
    try {
      body();
    } catch (const std::exception& error) {
      ADD_FAILURE() << "it threw: " << error.what();
    } catch (...) {
      ADD_FAILURE() << "it threw what is not a std::exception";
    }
    Exit(reporter.status());
  }

  const char* name_ = "";
  pid_t pid_ = -1;
  int process_ = -1;
  int results_ = -1;
};

// The listener of a filter that asks about the calls; -errno.
int InstallFilter(std::span<const PlannedCall> calls) {
  std::vector<sock_filter> filter = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
  };
  for (const PlannedCall& call : calls) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call.number), 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog program = {static_cast<unsigned short>(filter.size()), filter.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -errno;
  const long listener =
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
  return listener < 0 ? -errno : static_cast<int>(listener);
}

struct Range {
  uint64_t begin, end;
};

// Where the code of the sanitizers' runtimes lies, here and in every child.
std::vector<Range> SanitizerCode() {
  std::vector<Range> ranges;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const size_t at = line.rfind('/');
    if (at == line.npos || line.find("san.so", at) == line.npos) continue;
    char* end = nullptr;
    const uint64_t begin = std::strtoull(line.c_str(), &end, 16);
    ranges.push_back({begin, std::strtoull(end + 1, nullptr, 16)});
  }
  return ranges;
}

const char* NameOf(SyscallPlan::Act act) {
  switch (act) {
    case SyscallPlan::Act::kCount:
      return "is counted";
    case SyscallPlan::Act::kFailOnce:
      return "fails";
    case SyscallPlan::Act::kFailFrom:
      return "fails, and all that follow";
    case SyscallPlan::Act::kKill:
      return "is the last";
  }
  return "";
}

}  // namespace

class PlannedRun {
 public:
  PlannedRun(const SyscallPlan& plan, PlanOutcome& outcome) : plan_(plan), outcome_(outcome) {
    void* const shared = mmap(nullptr, sizeof(SyscallWindow), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared != MAP_FAILED) window_ = new (shared) SyscallWindow();
  }
  PlannedRun(const PlannedRun&) = delete;
  PlannedRun& operator=(const PlannedRun&) = delete;
  ~PlannedRun() {
    if (listener_ >= 0) close(listener_);
    if (window_ != nullptr) munmap(window_, sizeof(SyscallWindow));
  }

  void Run(const SyscallBody& subject, const SyscallBody& companion) {
    ASSERT_LE(plan_.calls.size(), kCallsMax);
    ASSERT_NE(window_, nullptr) << std::strerror(errno);
    Child other;
    if (companion && !other.Start("companion", [&] { companion(*window_); })) return;
    Child child;
    const bool has_begun = child.Start("subject", [&] {
      const int listener = InstallFilter(plan_.calls);
      window_->listener_.store(listener < 0 ? listener : listener + 1);
      if (listener < 0) return;
      while (!window_->is_supervised_.load()) sched_yield();
      subject(*window_);
    });
    if (has_begun) {
      TakeListener(child);
      if (listener_ >= 0) Supervise(child);
      outcome_.was_killed = child.Await(outcome_.was_killed ? SIGKILL : 0, Context());
    }
    window_->has_ended_.store(true);
    if (companion) (void)other.Await(0, Context());
  }

 private:
  // Whether there is something to read.
  static bool IsReady(const pollfd& descriptor) { return (descriptor.revents & POLLIN) != 0; }

  void TakeListener(const Child& child) {
    pollfd end = {child.descriptor(), POLLIN, 0};
    while (window_->listener_.load() == 0 && poll(&end, 1, 1) == 0) {
    }
    const int listener = window_->listener_.load();
    if (listener < 0) {
      GTEST_SKIP() << "seccomp filters cannot ask another process here: "
                   << std::strerror(-listener);
    }
    ASSERT_NE(listener, 0) << "the child has ended before it began";
    listener_ = static_cast<int>(syscall(SYS_pidfd_getfd, child.descriptor(), listener - 1, 0));
    if (listener_ >= 0) {
      window_->is_supervised_.store(true);
      return;
    }
    const int error = errno;
    kill(child.pid(), SIGKILL);
    outcome_.was_killed = true;
    GTEST_SKIP() << "the descriptor of a child's seccomp filter cannot be had: "
                 << std::strerror(error);
  }

  void Supervise(const Child& child) {
    for (;;) {
      pollfd ready[] = {{listener_, POLLIN, 0}, {child.descriptor(), POLLIN, 0}};
      if (poll(ready, 2, -1) < 0) continue;
      if (IsReady(ready[0])) Decide(child);
      if (IsReady(ready[1])) return;
    }
  }

  void Decide(const Child& child) {
    seccomp_notif asked = {};
    // ENOENT: the thread has gone meanwhile.
    if (ioctl(listener_, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) return;
    seccomp_notif_resp answer = {};
    answer.id = asked.id;
    answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    if (window_->is_open() && !IsSanitizers(asked.data)) {
      const PlannedCall& call =
          *std::ranges::find(plan_.calls, asked.data.nr,
                             [](const auto& each) { return static_cast<int>(each.number); });
      outcome_.calls.emplace_back(call.name);
      const uint64_t count = outcome_.calls.size();
      const bool is_nth = count == plan_.nth;
      if (plan_.act == SyscallPlan::Act::kKill && is_nth) {
        outcome_.was_killed = true;
        kill(child.pid(), SIGKILL);
        return;
      }
      if ((plan_.act == SyscallPlan::Act::kFailOnce && is_nth) ||
          (plan_.act == SyscallPlan::Act::kFailFrom && count >= plan_.nth)) {
        answer.flags = 0;
        answer.error = -call.error;
      }
    }
    (void)ioctl(listener_, SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }

  bool IsSanitizers(const seccomp_data& data) const {
    return std::ranges::any_of(sanitizer_code_, [&](const Range& range) {
      return data.instruction_pointer >= range.begin && data.instruction_pointer <= range.end;
    });
  }

  // What has been done to it.
  std::string Context() const {
    if (plan_.act == SyscallPlan::Act::kCount) return "";
    std::ostringstream text;
    text << "(call " << plan_.nth << " " << NameOf(plan_.act) << ";";
    for (size_t i = 0; i < outcome_.calls.size(); ++i) {
      text << (i + 1 == plan_.nth ? " **" : " ") << outcome_.calls[i];
    }
    text << ")\n";
    return text.str();
  }

  const SyscallPlan& plan_;
  PlanOutcome& outcome_;
  const std::vector<Range> sanitizer_code_ = SanitizerCode();
  SyscallWindow* window_ = nullptr;
  int listener_ = -1;
};

void RunUnderPlan(const SyscallPlan& plan, const SyscallBody& subject, const SyscallBody& companion,
                  PlanOutcome& outcome) {
  outcome = PlanOutcome();
  PlannedRun(plan, outcome).Run(subject, companion);
}

void ForEachSyscall(const PlanLoop& loop) {
  constexpr int kFailuresMax = 5;
  constexpr uint64_t kRunsMax = 1000;
  // Threads may make a call more in one run than in another.
  constexpr int kShortRuns = 3;
  int failures = 0, short_runs = 0;
  for (SyscallPlan plan = {loop.calls, loop.act, 1}; plan.nth <= kRunsMax;
       plan.nth += loop.stride) {
    const auto& result = *testing::UnitTest::GetInstance()->current_test_info()->result();
    const int parts_before = result.total_part_count();
    PlanOutcome outcome;
    RunUnderPlan(plan, loop.subject, loop.companion, outcome);
    if (testing::Test::IsSkipped()) return;
    if (loop.after) loop.after();
    short_runs = outcome.calls.size() < plan.nth ? short_runs + 1 : 0;
    if (short_runs == kShortRuns) return;
    if (result.total_part_count() > parts_before && ++failures == kFailuresMax) return;
  }
  ADD_FAILURE() << "there are always more calls";
}

}  // namespace test_support
