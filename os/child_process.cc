#include "os/child_process.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace os::testing {

int RunInChild(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child < 0) return -1;
  if (child == 0) {
    int status = 255;
    try {
      status = body();
    } catch (...) {
    }
    _exit(status);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

Errno SetMemlockLimit(size_t bytes) {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return Errno::Last();
  limit.rlim_cur = bytes;
  return setrlimit(RLIMIT_MEMLOCK, &limit) == 0 ? kSuccess : Errno::Last();
}

Errno DropLockPrivilege() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, sets) != 0) return Errno::Last();
  constexpr uint32_t kIpcLock = uint32_t{1} << CAP_IPC_LOCK;
  sets[0].effective &= ~kIpcLock;
  sets[0].permitted &= ~kIpcLock;
  sets[0].inheritable &= ~kIpcLock;
  return syscall(SYS_capset, &header, sets) == 0 ? kSuccess : Errno::Last();
}

}  // namespace os::testing
