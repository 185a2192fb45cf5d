// Surroundings: the container and the service manager's unit that a process runs in.
//
// Nothing is decided by them but the advice that a person gets: a limit is raised in another place
// in each. Containers leave marks, and none is sure; the strongest is taken.

#ifndef OS_CONTAINER_H_
#define OS_CONTAINER_H_

#include <string>

namespace os {

struct Surroundings {
  enum class Container { kNone, kDocker, kPodman, kKubernetes, kLxc, kNspawn, kOther };
  Container container = Container::kNone;
  std::string container_mark;  // where it was seen: a path, or a variable
  // The unit of systemd, as "postgresql.service" or "session-2.scope"; empty: none was seen.
  std::string unit;
  bool root_known = true;     // false: the files that would tell may not be looked at
  bool user_manager = false;  // the unit belongs to the manager of a user, user@UID.service
};

// "docker"; "no container".
const char* NameOf(Surroundings::Container container);

// `root` is put before all paths: "" for this process, /proc/PID/root for another. `cgroup_path` is
// the file /proc/PID/cgroup. `in_kubernetes`: whether its environment has KUBERNETES_SERVICE_HOST.
// What may not be read counts as absent, and /var/run of another root is not looked at. Safe from
// every thread; enters the kernel.
Surroundings ReadSurroundings(const std::string& root, const std::string& cgroup_path,
                              bool in_kubernetes);

// Of this process.
Surroundings ReadOwnSurroundings();

}  // namespace os

#endif  // OS_CONTAINER_H_
