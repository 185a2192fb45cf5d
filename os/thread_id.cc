#include "os/thread_id.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace os {

ThreadId CurrentThread() { return static_cast<ThreadId>(syscall(SYS_gettid)); }

bool IsAlive(ThreadId thread) {
  const int saved = errno;
  const bool alive = syscall(SYS_tgkill, getpid(), thread, 0) == 0;
  errno = saved;
  return alive;
}

}  // namespace os
