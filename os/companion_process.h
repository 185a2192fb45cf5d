// CompanionProcess: work that goes on beside this process, and ends with it.
//
// A fork(2) that waits to be told to begin. The child dies when its parent does, however that ends;
// it ignores SIGINT, SIGTERM and SIGHUP, which may be sent to the whole process group; and where the machine or its cgroup runs
// out of memory the kernel takes it before any other process (oom_score_adj).

#ifndef OS_COMPANION_PROCESS_H_
#define OS_COMPANION_PROCESS_H_

#include <functional>

#include "os/errno.h"
#include "os/result.h"

namespace os {

// Movable, not thread-safe. To be made while the process has one thread: the child goes on with
// copies of what the process has, latches included.
class CompanionProcess {
 public:
  // The child runs `body` once Begin() is called, and ends at once afterwards: no destructors, no
  // exit handlers. EAGAIN, ENOMEM: no more processes, no memory; EMFILE, ENFILE: no more pipes.
  static Result<CompanionProcess> Start(const std::function<void()>& body);
  CompanionProcess(CompanionProcess&& other) noexcept;
  CompanionProcess& operator=(CompanionProcess&&) = delete;
  // Kills the child and waits until it is gone.
  ~CompanionProcess();

  // Lets `body` begin. A second call does nothing.
  void Begin();
  // Whether it is still there. Does not block.
  bool IsRunning();
  // Of one that is not there any more: whether SIGKILL has ended it, as the kernel does where there
  // is no memory.
  bool was_killed() const { return was_killed_; }

 private:
  CompanionProcess(int process, int begin) : process_(process), begin_(begin) {}

  int process_ = -1;  // -1: none, or it has ended
  int begin_ = -1;    // of a pipe
  bool was_killed_ = false;
};

}  // namespace os

#endif  // OS_COMPANION_PROCESS_H_
