#include <sys/syscall.h>

#include <string>

#include "os/syscall_count.h"

namespace os {
namespace {

struct Name {
  int number;
  const char* name;
};

#define OS_NAME(call) \
  { SYS_##call, #call }

// Those that a library is likely to make, as far as every machine has them.
constexpr Name kNames[] = {
    OS_NAME(brk),
    OS_NAME(clock_gettime),
    OS_NAME(clock_nanosleep),
    OS_NAME(clone),
    OS_NAME(close),
    OS_NAME(dup),
    OS_NAME(dup3),
    OS_NAME(epoll_ctl),
    OS_NAME(epoll_pwait),
    OS_NAME(eventfd2),
    OS_NAME(execve),
    OS_NAME(exit),
    OS_NAME(exit_group),
    OS_NAME(faccessat),
    OS_NAME(fallocate),
    OS_NAME(fcntl),
    OS_NAME(fdatasync),
    OS_NAME(flock),
    OS_NAME(fstat),
    OS_NAME(fsync),
    OS_NAME(ftruncate),
    OS_NAME(futex),
    OS_NAME(getcwd),
    OS_NAME(getdents64),
    OS_NAME(getpid),
    OS_NAME(getppid),
    OS_NAME(getrandom),
    OS_NAME(getrusage),
    OS_NAME(gettid),
    OS_NAME(gettimeofday),
    OS_NAME(getuid),
    OS_NAME(ioctl),
    OS_NAME(kill),
    OS_NAME(lseek),
    OS_NAME(madvise),
    OS_NAME(membarrier),
    OS_NAME(memfd_create),
    OS_NAME(mincore),
    OS_NAME(mlock),
    OS_NAME(mlock2),
    OS_NAME(mlockall),
    OS_NAME(mmap),
    OS_NAME(mprotect),
    OS_NAME(mremap),
    OS_NAME(msync),
    OS_NAME(munlock),
    OS_NAME(munlockall),
    OS_NAME(munmap),
    OS_NAME(nanosleep),
    OS_NAME(openat),
    OS_NAME(pipe2),
    OS_NAME(ppoll),
    OS_NAME(prctl),
    OS_NAME(pread64),
    OS_NAME(preadv),
    OS_NAME(prlimit64),
    OS_NAME(pselect6),
    OS_NAME(pwrite64),
    OS_NAME(pwritev),
    OS_NAME(read),
    OS_NAME(readlinkat),
    OS_NAME(readv),
    OS_NAME(recvfrom),
    OS_NAME(recvmsg),
    OS_NAME(restart_syscall),
    OS_NAME(rt_sigaction),
    OS_NAME(rt_sigprocmask),
    OS_NAME(rt_sigsuspend),
    OS_NAME(rt_sigtimedwait),
    OS_NAME(sched_yield),
    OS_NAME(sendmsg),
    OS_NAME(sendto),
    OS_NAME(set_robust_list),
    OS_NAME(sigaltstack),
    OS_NAME(socket),
    OS_NAME(statx),
    OS_NAME(tgkill),
    OS_NAME(uname),
    OS_NAME(unlinkat),
    OS_NAME(wait4),
    OS_NAME(write),
    OS_NAME(writev),
#ifdef SYS_clone3
    OS_NAME(clone3),
#endif
#ifdef SYS_newfstatat
    OS_NAME(newfstatat),
#endif
#ifdef SYS_open
    OS_NAME(access),
    OS_NAME(fork),
    OS_NAME(open),
    OS_NAME(pipe),
    OS_NAME(poll),
    OS_NAME(readlink),
    OS_NAME(rename),
    OS_NAME(select),
    OS_NAME(stat),
    OS_NAME(unlink),
    OS_NAME(vfork),
#endif
};

#undef OS_NAME

}  // namespace

std::string NameOfSyscall(int number) {
  for (const Name& name : kNames) {
    if (name.number == number) return name.name;
  }
  return "system call " + std::to_string(number);
}

}  // namespace os
