// ChildProcess: another program, run in a child of this process, and what it used.
//
// For a program that runs another one in its place, as time(1) and timeout(1) do: the child has this
// process' standard streams, environment, process group and signal dispositions. While the object
// exists, the signals that ask a program to end or to do something (SIGHUP, SIGINT, SIGQUIT,
// SIGUSR1, SIGUSR2, SIGALRM, SIGTERM) do nothing to the calling thread: WaitFor hands them on to the
// child. Not SIGINT and SIGQUIT from a keyboard, for its whole process group gets them. Signals that stop
// and continue are left as they are.
//
// Page faults are the kernel's own count and exact. Locked memory has no such count: it can only be
// looked at while the child lives (ReadMemory), so who wants its maximum samples.
//
// Not thread-safe, and for a process with one thread: other threads would get the signals. One at a
// time. Signals that come after the child's end and before that of the object are delivered then.

#ifndef OS_CHILD_PROCESS_H_
#define OS_CHILD_PROCESS_H_

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "os/descriptor.h"
#include "os/errno.h"
#include "os/fault_count.h"
#include "os/result.h"

namespace os {

class ChildProcess {
 public:
  static constexpr uint64_t kUnlimited = ~uint64_t{0};

  struct Request {
    std::vector<std::string> command;  // not empty; without a slash it is looked for in PATH
    std::optional<uint64_t> memlock_bytes = {};  // RLIMIT_MEMLOCK of the child, soft and hard
  };
  // What could not be done.
  enum class Step { kFork, kLimit, kExecute };

  // Returns once the program runs. Otherwise `failed` is the step: kFork, the error of fork(2) or
  // pipe(2); kLimit, EPERM: above the hard limit, and no privilege to raise it; kExecute, the error
  // of execvp(3).
  static Result<std::unique_ptr<ChildProcess>> Start(const Request& request, Step& failed);
  // Lets signals through again. A child that has not been waited for runs on.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  struct End {
    int exit_code = 0;       // where signal is 0
    int signal = 0;          // that has killed it
    FaultCount faults = {};  // of the child and of its descendants that were waited for
    uint64_t user_us = 0, system_us = 0;  // processor time, of the same
    friend bool operator==(const End&, const End&) = default;
  };
  // Waits for the child's end, but not longer than `timeout`, and hands on signals meanwhile.
  // nullopt: it is not known to have ended. To be called until it has, and not again.
  std::optional<End> WaitFor(std::chrono::nanoseconds timeout);

  struct Memory {
    uint64_t locked_bytes = 0;        // VmLck: lengths of locked mappings, resident or not
    uint64_t resident_bytes_max = 0;  // VmHWM: the most that was resident, since exec(2)
    friend bool operator==(const Memory&, const Memory&) = default;
  };
  // Of the child itself, now. nullopt: it has ended, or /proc cannot be read.
  std::optional<Memory> ReadMemory() const;

  pid_t pid() const { return pid_; }

 private:
  ChildProcess() = default;
  void HoldSignals();
  // In the child. Does not return. Allocates nothing.
  void Execute(const Request& request, char* const* arguments, int report) const;
  void HandOn(const siginfo_t& signal) const;

  pid_t pid_ = -1;
  sigset_t held_;                         // those signals, and SIGCHLD
  sigset_t mask_before_;                  // of the calling thread
  struct sigaction child_action_before_;  // of SIGCHLD; the child gets it back
  OwnedDescriptor status_;                // /proc/PID/status
};

}  // namespace os

#endif  // OS_CHILD_PROCESS_H_
