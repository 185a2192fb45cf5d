#include "os/syscall_count.h"

#if defined(__x86_64__) && !defined(__ILP32__)

#include <linux/audit.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "absl/base/thread_annotations.h"
#include "os/latch.h"

// The only code that may enter the kernel while a thread is counted. `restorer` is where the SIGSYS
// handler returns to. A counted call is made at `resume`, with all of its registers and a stack
// that holds two words more: where to go on, and the stack pointer for that. (A system call destroys
// rcx in any case.) `bare` is for rt_sigreturn(2), which does not come back and needs its own stack
// pointer.
asm(R"(
  .pushsection .text.os_syscall_count, "ax", @progbits
  .globl os_syscall_count_begin, os_syscall_count_restorer, os_syscall_count_bare
  .globl os_syscall_count_resume, os_syscall_count_end
  .hidden os_syscall_count_begin, os_syscall_count_restorer, os_syscall_count_bare
  .hidden os_syscall_count_resume, os_syscall_count_end
  .balign 16
os_syscall_count_begin:
os_syscall_count_restorer:
  mov $15, %eax
os_syscall_count_bare:
  syscall
  ud2
os_syscall_count_resume:
  syscall
  pop %rcx
  pop %rsp
  jmp *%rcx
os_syscall_count_end:
  .popsection
)");

extern "C" {
[[gnu::visibility("hidden")]] extern const char os_syscall_count_begin[];
[[gnu::visibility("hidden")]] extern const char os_syscall_count_restorer[];
[[gnu::visibility("hidden")]] extern const char os_syscall_count_bare[];
[[gnu::visibility("hidden")]] extern const char os_syscall_count_resume[];
[[gnu::visibility("hidden")]] extern const char os_syscall_count_end[];
}

namespace os {
namespace {

// As in <linux/prctl.h> and <asm-generic/siginfo.h>, which may be older.
constexpr int kSetDispatch = 59;
constexpr unsigned long kDispatchOff = 0;
constexpr unsigned long kDispatchOn = 1;
constexpr int kUserDispatch = 2;  // si_code
constexpr char kAllow = 0;
constexpr char kBlock = 1;

// What the kernel's rt_sigaction(2) takes: the C library's call puts its own restorer in.
struct KernelAction {
  void (*handler)(int, siginfo_t*, void*);
  unsigned long flags;
  const char* restorer;
  uint64_t mask;
};
constexpr unsigned long kRestorerFlag = 0x04000000;
constexpr uintptr_t kDefaultAction = 0;  // SIG_DFL
constexpr uintptr_t kIgnore = 1;         // SIG_IGN

// Of one thread. The handler may touch it at any moment that the thread counts.
struct ThreadCount {
  volatile char selector;
  volatile bool counting;
  volatile bool complete;
  volatile int first;
  volatile uint64_t calls;
  bool was_blocked;  // SIGSYS, before
};
[[gnu::tls_model("initial-exec")]] thread_local ThreadCount this_thread;

Latch action_latch;
int action_users ABSL_GUARDED_BY(action_latch) = 0;
// Of the program. Does not change while there are users.
KernelAction program_action;

uintptr_t AddressOf(const char* label) { return reinterpret_cast<uintptr_t>(label); }

long SetAction(const KernelAction* action, KernelAction* old) {
  return syscall(SYS_rt_sigaction, SIGSYS, action, old, sizeof(action->mask));
}

// Whether SIGSYS may not come through to the handler after this call, or the call comes back on
// another stack or in another process.
bool EndsCounting(long number, const greg_t* registers) {
  switch (number) {
    case SYS_clone:
    case SYS_clone3:
    case SYS_execve:
    case SYS_execveat:
    case SYS_fork:
    case SYS_vfork:
    case SYS_rt_sigsuspend:
      return true;
    case SYS_rt_sigprocmask:
      return registers[REG_RSI] != 0 && registers[REG_RDI] != SIG_UNBLOCK;
    case SYS_rt_sigaction:
      return registers[REG_RDI] == SIGSYS && registers[REG_RSI] != 0;
    case SYS_prctl:
      return registers[REG_RDI] == kSetDispatch;
    case SYS_ppoll:
      return registers[REG_R10] != 0;
    case SYS_epoll_pwait:
    case 441:  // epoll_pwait2
      return registers[REG_R8] != 0;
    case SYS_pselect6:
    case SYS_io_pgetevents:
      return registers[REG_R9] != 0;
    default:
      return false;
  }
}

// A SIGSYS that has nothing to do with counting, such as a seccomp filter's, is the program's.
void PassOn(int signal, siginfo_t* info, void* context) {
  const char selector = this_thread.selector;
  this_thread.selector = kAllow;
  const auto handler = reinterpret_cast<uintptr_t>(program_action.handler);
  if (handler == kDefaultAction) {
    (void)SetAction(&program_action, nullptr);
    (void)raise(signal);  // takes effect when the handler is done
  } else if (handler != kIgnore) {
    program_action.handler(signal, info, context);  // one without SA_SIGINFO uses the first only
  }
  this_thread.selector = selector;
}

// Runs on the stack of the counted thread, with all signals blocked, and makes no system call. Not
// instrumented: a sanitizer's runtime may make some, and knows nothing of the words below the stack.
__attribute__((no_sanitize("address", "thread", "undefined"))) void OnSigsys(int signal,
                                                                             siginfo_t* info,
                                                                             void* context) {
  if (info->si_code != kUserDispatch || !this_thread.counting) {
    PassOn(signal, info, context);
    return;
  }
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const bool native = info->si_arch == AUDIT_ARCH_X86_64;
  if (native && info->si_syscall == SYS_rt_sigreturn) {  // the end of a signal handler
    registers[REG_RIP] = static_cast<greg_t>(AddressOf(os_syscall_count_bare));
    return;
  }
  if (this_thread.calls == 0) this_thread.first = info->si_syscall;
  this_thread.calls = this_thread.calls + 1;
  if (!native || EndsCounting(info->si_syscall, registers)) {
    this_thread.complete = false;
    this_thread.selector = kAllow;
    registers[REG_RIP] -= 2;  // the length of the instruction, which is executed again
    return;
  }
  // Below this function's own frame, and so below all that the return from it still reads.
  constexpr uintptr_t kBelow = 2048;
  auto* stack = reinterpret_cast<greg_t*>(
      (reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) - kBelow) & ~uintptr_t{15});
  stack[0] = registers[REG_RIP];
  stack[1] = registers[REG_RSP];
  registers[REG_RSP] = reinterpret_cast<greg_t>(stack);
  registers[REG_RIP] = static_cast<greg_t>(AddressOf(os_syscall_count_resume));
}

void InstallHandler() {
  const LatchHolder holder(action_latch);
  if (action_users++ > 0) return;
  const KernelAction ours = {OnSigsys, SA_SIGINFO | kRestorerFlag, os_syscall_count_restorer,
                             ~uint64_t{0}};
  (void)SetAction(&ours, &program_action);  // cannot fail with good pointers
}

void RemoveHandler() {
  const LatchHolder holder(action_latch);
  if (--action_users > 0) return;
  KernelAction now{};
  (void)SetAction(nullptr, &now);
  // What the program itself has set meanwhile stays.
  if (now.handler == OnSigsys) (void)SetAction(&program_action, nullptr);
}

// Whether SIGSYS was blocked on this thread.
bool ChangeMask(int how) {
  sigset_t set;
  sigset_t old;
  sigemptyset(&set);
  sigaddset(&set, SIGSYS);
  (void)pthread_sigmask(how, &set, &old);
  return sigismember(&old, SIGSYS) == 1;
}

// One system call that does nothing, and whether it was counted.
bool CountsOne() {
  long result = SYS_getppid;
  asm volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
  return this_thread.calls == 1 && this_thread.first == SYS_getppid && result >= 0;
}

}  // namespace

Errno SyscallCounter::Start() {
  if (this_thread.counting) {
    this_thread.selector = kAllow;
    std::fputs("SyscallCounter: this thread's system calls are being counted already\n", stderr);
    std::abort();
  }
  InstallHandler();
  this_thread = {};
  this_thread.first = -1;
  this_thread.complete = true;
  this_thread.was_blocked = ChangeMask(SIG_UNBLOCK);
  this_thread.counting = started_ = true;
  const uintptr_t begin = AddressOf(os_syscall_count_begin);
  Errno error;
  if (prctl(kSetDispatch, kDispatchOn, begin, AddressOf(os_syscall_count_end) - begin,
            &this_thread.selector) != 0) {
    error = Errno::Last();
  } else {
    this_thread.selector = kBlock;
    if (!CountsOne()) error = Errno(ENOSYS);
  }
  if (!error.ok()) (void)Stop();
  this_thread.calls = 0;
  this_thread.first = -1;
  return error;
}

SyscallCount SyscallCounter::Stop() {
  if (!started_) return {};
  this_thread.selector = kAllow;
  const SyscallCount count = {this_thread.calls, this_thread.first, this_thread.complete};
  (void)prctl(kSetDispatch, kDispatchOff, 0, 0, 0);
  this_thread.counting = started_ = false;
  if (this_thread.was_blocked) (void)ChangeMask(SIG_BLOCK);
  RemoveHandler();
  return count;
}

}  // namespace os

#else

namespace os {

Errno SyscallCounter::Start() { return Errno(ENOSYS); }
SyscallCount SyscallCounter::Stop() { return {}; }

}  // namespace os

#endif
