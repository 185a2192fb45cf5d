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
#include <string_view>

#include "os/descriptor.h"

namespace os {
namespace {

constexpr char kPidNamespace[] = "/proc/self/ns/pid";
constexpr char kTimeNamespace[] = "/proc/self/ns/time";

uint64_t InodeOf(const char* path) {
  struct stat status {};
  return stat(path, &status) == 0 ? status.st_ino : 0;
}

// Whether the numbers in /proc are those of this process' pid namespace. They are not where it is a
// new one and nobody has mounted a /proc of it.
bool ProcCountsAsWeDo() {
  char link[16];
  const ssize_t length = readlink("/proc/self", link, sizeof(link));
  return length > 0 &&
         std::string_view(link, static_cast<size_t>(length)) == std::to_string(getpid());
}

struct Status {
  char state = 0;
  int threads = 0;  // that have not been reaped; its first is, with the process
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
                  ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d %*d "
                  "%" SCNu64,
                  &status.state, &status.threads, &status.started) == 3;
  return parsed ? std::optional(status) : std::nullopt;
}

}  // namespace

ProcessIdentity ProcessIdentity::OfThisProcess() {
  const std::optional<Status> status = StatusOf("self");
  return {getpid(), status ? status->started : 0, InodeOf(kPidNamespace), InodeOf(kTimeNamespace)};
}

bool ProcessIdentity::IsGone() const {
  if (pid <= 0 || pid_namespace == 0 || pid_namespace != InodeOf(kPidNamespace)) return false;
  if (kill(pid, 0) != 0 && errno == ESRCH) return true;
  if (!ProcCountsAsWeDo()) return false;
  const std::optional<Status> status = StatusOf(std::to_string(pid));
  if (!status) return false;
  // The state is that of the first thread, which may end before others.
  const bool has_ended = status->state == 'X' || (status->state == 'Z' && status->threads <= 1);
  if (has_ended) return true;
  // Everybody is told the start in his own time namespace.
  if (started == 0 || time_namespace != InodeOf(kTimeNamespace)) return false;
  return status->started != started;
}

}  // namespace os
