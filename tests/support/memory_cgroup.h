// MemoryCgroup: a memory cgroup with a limit, below that of this process.
//
// For tests of what becomes of a process whose memory is bounded. Needs the privilege to make one,
// which a test has outside of Bazel's sandbox at most.

#ifndef TESTS_SUPPORT_MEMORY_CGROUP_H_
#define TESTS_SUPPORT_MEMORY_CGROUP_H_

#include <cstdint>
#include <optional>
#include <string>

#include "os/errno.h"

namespace test_support {

// Of version 1 or 2, as the memory controller is found. Removed at its end, with what still runs in
// it; what a test that crashed has left is removed by the next Create. Movable, not thread-safe. A
// forked child does not remove it.
class MemoryCgroup {
 public:
  // nullopt: it may not be made here, or there is no memory controller.
  static std::optional<MemoryCgroup> Create(uint64_t limit_bytes);
  MemoryCgroup(MemoryCgroup&& other) noexcept;
  MemoryCgroup& operator=(MemoryCgroup&&) = delete;
  ~MemoryCgroup();

  // Moves the calling process into it: meant for a child, which never leaves it. What the process
  // has touched before is not charged to it.
  os::Errno Enter() const;

  // Its place in the file system.
  const std::string& directory() const { return directory_; }
  // Bytes charged to it; 0 where that cannot be read.
  uint64_t used_bytes() const;

 private:
  explicit MemoryCgroup(std::string directory, int version);

  std::string directory_;  // empty: moved away
  int version_;
  int owner_;  // the process that removes it
};

}  // namespace test_support

#endif  // TESTS_SUPPORT_MEMORY_CGROUP_H_
