// PrivateCgroup: a memory cgroup with a limit, made below that of this process.
//
// For a process that wants to be short of memory by itself, without its neighbours: what is in the
// cgroup is paged out, or killed, where the limit is reached, and nothing else is. Needs the
// privilege to make one.

#ifndef OS_PRIVATE_CGROUP_H_
#define OS_PRIVATE_CGROUP_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "os/errno.h"
#include "os/result.h"

namespace os {

// Of version 1 or 2, as the memory controller is found. Removed at its end, with what still runs in
// it; the process itself is moved back before. What a process that was killed has left is removed
// by the next Create of its prefix. Movable, not thread-safe. A forked child does not remove it.
class PrivateCgroup {
 public:
  // Named PREFIX, the number of this process, and a number of its own. ENOENT: no memory controller
  // is mounted. EACCES, EPERM, EROFS: it may not be made here. Else the error of making it, or of
  // setting its limit, in bytes.
  static Result<PrivateCgroup> Create(uint64_t limit_bytes, std::string_view prefix = "mpool.");
  PrivateCgroup(PrivateCgroup&& other) noexcept;
  PrivateCgroup& operator=(PrivateCgroup&&) = delete;
  ~PrivateCgroup();

  // Moves the calling process into it. What the process has touched before is not charged to it.
  Errno Enter() const;
  // Moves the calling process back to the cgroup that this one was made from.
  Errno Leave() const;

  // Its place in the file system.
  const std::string& directory() const { return directory_; }
  // Bytes charged to it; 0 where that cannot be read.
  uint64_t used_bytes() const;

 private:
  PrivateCgroup(std::string home, std::string directory, int version);

  std::string home_;       // the directory of the cgroup that the process was in
  std::string directory_;  // empty: moved away
  int version_;
  int owner_;  // the process that removes it
};

}  // namespace os

#endif  // OS_PRIVATE_CGROUP_H_
