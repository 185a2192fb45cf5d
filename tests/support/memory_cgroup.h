// MemoryCgroup: a memory cgroup with a limit, below that of this process.
//
// For tests of what becomes of a process whose memory is bounded. Needs the privilege to make one,
// which a test has outside of Bazel's sandbox at most.

#ifndef TESTS_SUPPORT_MEMORY_CGROUP_H_
#define TESTS_SUPPORT_MEMORY_CGROUP_H_

#include <cstdint>
#include <optional>
#include <utility>

#include "os/private_cgroup.h"

namespace test_support {

// Enter() is meant for a child, which never leaves it. What a test that crashed has left is removed
// by the next Create.
class MemoryCgroup : public os::PrivateCgroup {
 public:
  // nullopt: it may not be made here, or there is no memory controller.
  static std::optional<MemoryCgroup> Create(uint64_t limit_bytes) {
    os::Result<os::PrivateCgroup> group = os::PrivateCgroup::Create(limit_bytes, "mpool_test.");
    if (!group.ok()) return std::nullopt;
    return MemoryCgroup(*std::move(group));
  }

 private:
  explicit MemoryCgroup(os::PrivateCgroup group) : os::PrivateCgroup(std::move(group)) {}
};

}  // namespace test_support

#endif  // TESTS_SUPPORT_MEMORY_CGROUP_H_
