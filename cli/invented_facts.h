// InventedFacts: of a process without privilege that nothing keeps from locking 64 MiB, for tests.

#ifndef CLI_INVENTED_FACTS_H_
#define CLI_INVENTED_FACTS_H_

#include <cstdint>

#include "cli/doctor_facts.h"

namespace cli {

inline DoctorFacts InventedFacts() {
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  DoctorFacts facts;
  facts.size = 64 * kMiB;
  facts.physical_bytes = 2048 * kMiB;
  facts.limits.headroom_bound = pinlock::Limits::Bound::kSystem;
  facts.limits.headroom_bytes = 1024 * kMiB;
  facts.limits.headroom_reserve_bytes = 4 * kMiB;
  facts.limits.headroom_limit_bytes = 2048 * kMiB;
  facts.limits.headroom_used_bytes = 1024 * kMiB;
  facts.limits.mappings = 30;
  facts.limits.mappings_max = 65530;
  facts.claims_capability = false;
  facts.user = "alice";
  facts.uid = 1000;
  facts.caller.uid = 1000;
  facts.shared_memory = os::FileSystemRoom{1024 * kMiB, 1024 * kMiB};
  facts.io_uring = true;
  facts.membarrier = true;
  return facts;
}

}  // namespace cli

#endif  // CLI_INVENTED_FACTS_H_
