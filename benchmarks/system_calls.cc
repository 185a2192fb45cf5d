#include "benchmarks/system_calls.h"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace benchmarks {
namespace {

// Says that the child may not be traced.
constexpr int kNotAllowed = 77;

[[noreturn]] void RunTraced(const std::function<std::function<void()>()>& prepare) {
  const std::function<void()> counted = prepare();
  if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(kNotAllowed);
  (void)std::raise(SIGSTOP);  // from here on the parent watches
  syscall(SYS_getppid);       // marks the beginning, and below the end
  counted();
  syscall(SYS_getppid);
  _exit(0);
}

// Waits for the child to stop or to end.
int WaitFor(pid_t child) {
  int status = 0;
  if (waitpid(child, &status, 0) == child) return status;
  std::perror("benchmark: waitpid");
  std::exit(1);
}

// Whether the child is about to enter the kernel, and by which call.
std::optional<uint64_t> CallBegun(pid_t child) {
  __ptrace_syscall_info info{};
  const long bytes = ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(info), &info);
  if (bytes <= 0 || info.op != PTRACE_SYSCALL_INFO_ENTRY) return std::nullopt;
  return info.entry.nr;
}

// The signal that stopped the child, where it is not the tracing that did: the child is to have it.
void* SignalOf(int status) {
  const int signal = WSTOPSIG(status);
  const bool ours = signal == (SIGTRAP | 0x80) || signal == SIGSTOP;
  return reinterpret_cast<void*>(static_cast<intptr_t>(ours ? 0 : signal));
}

}  // namespace

std::optional<uint64_t> CountSystemCalls(const std::function<std::function<void()>()>& prepare) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) {
    std::perror("benchmark: fork");
    std::exit(1);
  }
  if (child == 0) RunTraced(prepare);
  int status = WaitFor(child);
  // Without this option a stop at a system call is not known as one.
  if (WIFSTOPPED(status)) ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD);
  int marks = 0;
  uint64_t calls = 0;
  while (WIFSTOPPED(status)) {
    if (const auto call = CallBegun(child)) {
      if (*call == SYS_getppid) {
        ++marks;
      } else if (marks == 1) {
        ++calls;
      }
    }
    if (ptrace(PTRACE_SYSCALL, child, nullptr, SignalOf(status)) != 0) break;
    status = WaitFor(child);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotAllowed) return std::nullopt;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && marks == 2) return calls;
  std::fprintf(stderr, "benchmark: the child that was to be counted ended with status %d\n",
               status);
  std::exit(1);
}

}  // namespace benchmarks
