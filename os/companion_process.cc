#include "os/companion_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

namespace os {
namespace {

// Best effort: a process may always make itself the first to go.
void OfferItselfToTheOomKiller() {
  const int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  (void)!write(file, "1000", 4);
  (void)close(file);
}

[[noreturn]] void RunChild(int begin, pid_t parent, const std::function<void()>& body) {
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);  // it has ended before
  // They may be for the whole process group; the parent ends it.
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) (void)signal(number, SIG_IGN);
  OfferItselfToTheOomKiller();
  char byte = 0;
  ssize_t bytes = 0;
  do {
    bytes = read(begin, &byte, 1);
  } while (bytes < 0 && errno == EINTR);
  if (bytes == 1) body();
  _exit(0);
}

}  // namespace

Result<CompanionProcess> CompanionProcess::Start(const std::function<void()>& body) {
  int ends[2];
  // Not a pipe: a write to a child that is gone must be no signal.
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return Errno::Last();
  const pid_t parent = getpid();
  const pid_t process = fork();
  if (process == 0) {
    (void)close(ends[1]);
    RunChild(ends[0], parent, body);
  }
  const Errno error = Errno::Last();
  (void)close(ends[0]);
  if (process < 0) {
    (void)close(ends[1]);
    return error;
  }
  return CompanionProcess(process, ends[1]);
}

CompanionProcess::CompanionProcess(CompanionProcess&& other) noexcept
    : process_(std::exchange(other.process_, -1)), begin_(std::exchange(other.begin_, -1)) {}

CompanionProcess::~CompanionProcess() {
  if (begin_ >= 0) (void)close(begin_);
  if (!IsRunning()) return;
  (void)kill(process_, SIGKILL);
  while (waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void CompanionProcess::Begin() {
  if (begin_ < 0) return;
  (void)!send(begin_, "", 1, MSG_NOSIGNAL);
  (void)close(std::exchange(begin_, -1));
}

bool CompanionProcess::IsRunning() {
  if (process_ < 0) return false;
  int status = 0;
  const pid_t ended = waitpid(process_, &status, WNOHANG);
  // ECHILD: it has been waited for, as it is where SIGCHLD is ignored.
  if (ended != process_ && (ended == 0 || errno != ECHILD)) return true;
  was_killed_ = ended == process_ && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  process_ = -1;
  return false;
}

}  // namespace os
