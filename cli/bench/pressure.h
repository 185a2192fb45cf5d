// Memory pressure: how much of it is safe, and the process that makes it.

#ifndef CLI_BENCH_PRESSURE_H_
#define CLI_BENCH_PRESSURE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "os/companion_process.h"
#include "os/limits.h"

namespace cli::bench {

inline constexpr uint64_t kCgroupBytesMin = uint64_t{32} << 20;
// Of fewer pages there are no percentiles to speak of.
inline constexpr uint64_t kWorkingSetBytesMin = 8 * 4096;

// What a plan is made from.
struct Circumstances {
  std::optional<uint64_t> pressure_bytes;  // what was asked for
  std::optional<uint64_t> cgroup_bytes;    // of the bench's own cgroup
  std::optional<uint64_t> size_bytes;      // of the working set, as asked for
  uint64_t file_bytes = 0;                 // the file has no more
  os::Headroom headroom;                   // outside of the bench's own cgroup
  bool anonymous_goes_out = false;         // there is swap that serves this process
  uint64_t swap_free_bytes = 0;
};

struct Plan {
  uint64_t working_set_bytes = 0;  // the most; the lock limit may allow less
  uint64_t anonymous_bytes = 0;    // that the pressure process keeps writing to
  uint64_t page_cache_bytes = 0;   // that it keeps reading
  std::vector<std::string> notes;  // what the user should know
};

// Plans for no more than what cannot wake the kernel's OOM killer. FailedPrecondition: what was
// asked for would; the message says what there is room for, and the cure. Pure.
absl::StatusOr<Plan> MakePlan(const Circumstances& circumstances);

// Whether the kernel pages out anonymous memory of this process, in the cgroup that it is in: tried
// on a little of it. Without swap it has nowhere to go.
bool AnonymousMemoryGoesOut();

// Makes the process that puts memory under pressure, in the cgroup of this one; it waits to begin.
absl::StatusOr<os::CompanionProcess> StartPressure(const Plan& plan);

}  // namespace cli::bench

#endif  // CLI_BENCH_PRESSURE_H_
