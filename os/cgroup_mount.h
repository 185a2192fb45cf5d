// FindMemoryCgroup: the directory of a process' memory cgroup.
//
// The path that /proc/PID/cgroup shows is not one of the file system: the hierarchy may be mounted
// anywhere, in part (a container gets a bind mount of its own sub-cgroup), and a cgroup namespace
// shows paths relative to its own root. So the path is fitted to the mounts of
// /proc/self/mountinfo. Behind ReadHeadroom and the tests that make cgroups.
//
// No allocation. Safe from every thread; enters the kernel.

#ifndef OS_CGROUP_MOUNT_H_
#define OS_CGROUP_MOUNT_H_

#include <cstddef>
#include <string_view>

namespace os {

// A path in a buffer of its own, always NUL-terminated. Shorter than PATH_MAX, as threads may have
// small stacks; cgroups have no longer paths.
class PathBuffer {
 public:
  PathBuffer() { text_[0] = '\0'; }
  // False: it does not fit, and nothing was appended.
  bool Append(std::string_view text);
  void Truncate(size_t size) { text_[size_ = size] = '\0'; }
  const char* c_str() const { return text_; }
  std::string_view view() const { return {text_, size_}; }
  size_t size() const { return size_; }

 private:
  size_t size_ = 0;
  char text_[1024];
};

struct MemoryCgroup {
  int version = 0;       // of the hierarchy that has the memory controller: 1, 2; 0: none was found
  PathBuffer directory;  // of the process' cgroup
  size_t mount_size = 0;  // bytes of `directory` that are the mount point: nothing above it counts
};

// Fills a new `cgroup` from proc_root/PROCESS/cgroup and, where the hierarchy is not at its usual
// place, from proc_root/self/mountinfo. A cgroup that no mount shows gets the directory of the
// mount itself: the closest ancestor, or the cgroup itself, that this process is shown. For another
// process that is so only of a mount whose root is above its cgroup: where the path leads out of
// the cgroup namespace of this one ("/../other"), or no mount is above it, none is found.
// `file_root` is put before each mount point; `process` is a number, or this one.
void FindMemoryCgroup(const char* proc_root, const char* file_root, MemoryCgroup& cgroup,
                      const char* process = "self");

}  // namespace os

#endif  // OS_CGROUP_MOUNT_H_
