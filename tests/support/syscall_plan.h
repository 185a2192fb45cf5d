// SyscallPlan: system calls of a process that fail, or at which it dies, one after the other.
//
// For code that cannot be given a kernel to order: the real calls of a whole process, whichever thread and
// library makes them. The process runs under a seccomp filter that asks this one what becomes of each call
// (seccomp_unotify(2)). A call that is made to fail is never executed; one at which the process dies
// neither. No privilege is needed.
//
// What the sanitizers' own runtimes call is let through, and not counted.
//
// Not thread-safe, and for a process with one thread. What it skips it skips with the kernel's reason.

#ifndef TESTS_SUPPORT_SYSCALL_PLAN_H_
#define TESTS_SUPPORT_SYSCALL_PLAN_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace test_support {

// A system call that is counted, and how it fails where it is made to.
struct PlannedCall {
  long number;  // SYS_*
  const char* name;
  int error;  // errno
};

struct SyscallPlan {
  enum class Act {
    kCount,
    kFailOnce,  // the nth
    kFailFrom,  // the nth, and all that are made after it
    kKill,      // SIGKILL when the nth begins
  };
  std::span<const PlannedCall> calls;  // at most 100
  Act act = Act::kCount;
  uint64_t nth = 0;  // from 1
};

// In memory that the processes of one run share. Calls count while it is open; it is closed at first.
class SyscallWindow {
 public:
  void Open() { is_open_.store(true); }
  void Close() { is_open_.store(false); }
  bool is_open() const { return is_open_.load(); }
  // For the companion: whether the process under the plan is no more, however it ended.
  bool has_ended() const { return has_ended_.load(); }

 private:
  friend class PlannedRun;
  std::atomic<bool> is_open_ = false;
  std::atomic<bool> has_ended_ = false;
  std::atomic<int> listener_ = 0;  // the filter's, in that process, + 1; -errno: there is none
  std::atomic<bool> is_supervised_ = false;
};

using SyscallBody = std::function<void(SyscallWindow&)>;

struct PlanOutcome {
  std::vector<std::string> calls;  // that were counted, in their order
  bool was_killed = false;         // by the plan
};

// Runs `subject` in a child under the plan, and `companion`, if there is one, in another child without it.
// Both use GoogleTest as usual: their failures and skips become those of the calling test. A child that
// ends by a signal, but for the plan's, or is not done after a minute fails the test. Children end at
// once: no destructor outside of the bodies runs. Processes that the subject forks must not outlive it.
void RunUnderPlan(const SyscallPlan& plan, const SyscallBody& subject, const SyscallBody& companion,
                  PlanOutcome& outcome);

// Runs it with the first call failing (or dying at it), the second …, until three runs have had none to
// fail. `after` runs in this process after each run. Ends after a few failures.
struct PlanLoop {
  std::span<const PlannedCall> calls;
  SyscallPlan::Act act = SyscallPlan::Act::kFailOnce;
  SyscallBody subject;
  SyscallBody companion = nullptr;
  std::function<void()> after = nullptr;
  uint64_t stride = 1;  // one call of so many, where each run takes long
};
void ForEachSyscall(const PlanLoop& loop);

}  // namespace test_support

#endif  // TESTS_SUPPORT_SYSCALL_PLAN_H_
