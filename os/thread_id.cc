#include "os/thread_id.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "os/at_fork.h"

namespace os {
namespace {

thread_local constinit ThreadId remembered = 0;

// The one thread that a forked child has.
[[maybe_unused]] const bool forgets_in_child =
    CallAroundFork(nullptr, nullptr, [] { remembered = 0; });

}  // namespace

ThreadId CurrentThread() { return static_cast<ThreadId>(syscall(SYS_gettid)); }

ThreadId ThisThread() {
  if (remembered == 0) remembered = CurrentThread();
  return remembered;
}

bool IsAlive(ThreadId thread) {
  const int saved = errno;
  const bool alive = syscall(SYS_tgkill, getpid(), thread, 0) == 0;
  errno = saved;
  return alive;
}

bool IsThreadOf(int32_t pid, ThreadId thread) {
  const int saved = errno;
  char path[64];
  (void)std::snprintf(path, sizeof(path), "/proc/%d/task/%d", pid, thread);
  const bool there = access(path, F_OK) == 0;
  errno = saved;
  return there;
}

}  // namespace os
