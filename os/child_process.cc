#include "os/child_process.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string_view>
#include <utility>

#include "os/line_reader.h"

namespace os {
namespace {

constexpr int kHandedOn[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM};

// What a child that could not start the program leaves in the pipe; of one that could there is
// nothing, as exec(2) closes it.
struct StartFailure {
  ChildProcess::Step step;
  int error;
};

[[noreturn]] void Report(int report, ChildProcess::Step step) {
  const StartFailure failure = {step, errno};
  (void)!write(report, &failure, sizeof(failure));
  _exit(127);
}

// Waits until the program runs or the child has ended.
std::optional<StartFailure> ReadReport(int report) {
  StartFailure failure = {};
  for (;;) {
    const ssize_t bytes = read(report, &failure, sizeof(failure));
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes != static_cast<ssize_t>(sizeof(failure))) return std::nullopt;
    return failure;
  }
}

uint64_t Microseconds(const timeval& time) {
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000 + static_cast<uint64_t>(time.tv_usec);
}

// "VmLck:\t     128 kB"; a process without memory has no such line.
std::optional<uint64_t> BytesAfter(std::string_view status, std::string_view key) {
  const size_t at = status.find(key);
  if (at == status.npos) return std::nullopt;
  const std::optional<uint64_t> kib = ParseNumber(status.substr(at + key.size()));
  return kib ? std::optional(*kib * 1024) : std::nullopt;
}

}  // namespace

void ChildProcess::HoldSignals() {
  sigemptyset(&held_);
  for (const int signal : kHandedOn) sigaddset(&held_, signal);
  sigaddset(&held_, SIGCHLD);
  // Where SIGCHLD is ignored, a child leaves nothing to wait for.
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  (void)sigaction(SIGCHLD, &action, &child_action_before_);
  (void)sigprocmask(SIG_BLOCK, &held_, &mask_before_);
}

void ChildProcess::Execute(const Request& request, char* const* arguments, int report) const {
  (void)sigaction(SIGCHLD, &child_action_before_, nullptr);
  if (request.memlock_bytes) {
    const rlim_t bytes =
        *request.memlock_bytes == kUnlimited ? RLIM_INFINITY : *request.memlock_bytes;
    const rlimit limit = {bytes, bytes};
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) Report(report, Step::kLimit);
  }
  (void)sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
  (void)execvp(arguments[0], arguments);
  Report(report, Step::kExecute);
}

Result<std::unique_ptr<ChildProcess>> ChildProcess::Start(const Request& request, Step& failed) {
  failed = Step::kFork;
  std::vector<char*> arguments;
  for (const std::string& text : request.command) {
    arguments.push_back(const_cast<char*>(text.c_str()));
  }
  arguments.push_back(nullptr);
  std::array<int, 2> pipe_ends;
  if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0) return Errno::Last();
  const OwnedDescriptor from_child(pipe_ends[0]);
  OwnedDescriptor to_parent(pipe_ends[1]);
  std::unique_ptr<ChildProcess> child(new ChildProcess);
  child->HoldSignals();
  child->pid_ = fork();
  if (child->pid_ < 0) return Errno::Last();
  if (child->pid_ == 0) child->Execute(request, arguments.data(), to_parent.get());
  { const OwnedDescriptor closed = std::move(to_parent); }  // the child has the only other one
  if (const std::optional<StartFailure> failure = ReadReport(from_child.get())) {
    while (waitpid(child->pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    failed = failure->step;
    return Errno(failure->error);
  }
  const std::string status = "/proc/" + std::to_string(child->pid_) + "/status";
  child->status_ = OwnedDescriptor(open(status.c_str(), O_RDONLY | O_CLOEXEC));
  return child;
}

ChildProcess::~ChildProcess() {
  (void)sigaction(SIGCHLD, &child_action_before_, nullptr);
  (void)sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
}

void ChildProcess::HandOn(const siginfo_t& signal) const {
  const int number = signal.si_signo;
  // A hangup is for the leader of the session alone, which this process may be.
  const bool is_of_keys = number == SIGINT || number == SIGQUIT;
  const bool is_of_terminal = is_of_keys && signal.si_code > 0;  // the kernel has sent it
  if (number != SIGCHLD && !is_of_terminal) (void)kill(pid_, number);
}

std::optional<ChildProcess::End> ChildProcess::WaitFor(std::chrono::nanoseconds timeout) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout);
  const timespec time = {seconds.count(), (timeout - seconds).count()};
  siginfo_t signal = {};
  if (sigtimedwait(&held_, &signal, &time) > 0) HandOn(signal);
  int status = 0;
  rusage usage = {};
  const pid_t ended = wait4(pid_, &status, WNOHANG, &usage);
  if (ended < 0 && errno == ECHILD) {
    std::fprintf(stderr, "os::ChildProcess: somebody else has waited for the child\n");
    std::abort();
  }
  if (ended != pid_) return std::nullopt;
  return End{
      .exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
      .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
      .faults = {static_cast<uint64_t>(usage.ru_minflt), static_cast<uint64_t>(usage.ru_majflt)},
      .user_us = Microseconds(usage.ru_utime),
      .system_us = Microseconds(usage.ru_stime)};
}

std::optional<ChildProcess::Memory> ChildProcess::ReadMemory() const {
  std::array<char, 16384> buffer;  // the groups of the user come first
  const ssize_t bytes = pread(status_.get(), buffer.data(), buffer.size(), 0);
  if (bytes <= 0) return std::nullopt;
  const std::string_view status(buffer.data(), static_cast<size_t>(bytes));
  const std::optional<uint64_t> locked = BytesAfter(status, "\nVmLck:");
  const std::optional<uint64_t> resident = BytesAfter(status, "\nVmHWM:");
  if (!locked || !resident) return std::nullopt;
  return Memory{.locked_bytes = *locked, .resident_bytes_max = *resident};
}

}  // namespace os
