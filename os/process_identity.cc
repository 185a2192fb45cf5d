#include "os/process_identity.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>

#include "os/descriptor.h"

namespace os {
namespace {

uint64_t PidNamespace() {
  struct stat status {};
  return stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

struct Status {
  char state = 0;
  uint64_t started = 0;
};

// See proc_pid_stat(5). The name in parentheses may hold anything.
std::optional<Status> StatusOf(const std::string& process) {
  const OwnedDescriptor file(open(("/proc/" + process + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  char text[1024];
  const ssize_t length = file.get() < 0 ? -1 : read(file.get(), text, sizeof(text) - 1);
  if (length <= 0) return std::nullopt;
  text[length] = 0;
  const char* const fields = std::strrchr(text, ')');
  Status status;
  const bool parsed =
      fields != nullptr &&
      std::sscanf(fields,
                  ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
                  "%" SCNu64,
                  &status.state, &status.started) == 2;
  return parsed ? std::optional(status) : std::nullopt;
}

}  // namespace

ProcessIdentity ProcessIdentity::OfThisProcess() {
  const std::optional<Status> status = StatusOf("self");
  return {getpid(), status ? status->started : 0, PidNamespace()};
}

bool ProcessIdentity::IsGone() const {
  if (pid == 0 || pid_namespace == 0 || pid_namespace != PidNamespace()) return false;
  if (kill(pid, 0) != 0 && errno == ESRCH) return true;
  const std::optional<Status> status = StatusOf(std::to_string(pid));
  if (!status) return false;
  if (status->state == 'Z' || status->state == 'X') return true;
  return started != 0 && status->started != started;
}

}  // namespace os
