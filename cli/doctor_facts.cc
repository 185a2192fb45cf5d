#include "cli/doctor_facts.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/status/statusor.h"
#include "os/descriptor.h"
#include "os/errno.h"
#include "os/headroom.h"
#include "os/limits.h"
#include "os/memory.h"
#include "os/privilege.h"
#include "os/process_barrier.h"
#include "os/ring.h"
#include "os/shared_object.h"
#include "pinlock/locked_region.h"

namespace cli {
namespace {

constexpr char kSharedMemory[] = "/dev/shm";

template <typename T>
std::optional<T> Known(const os::Result<T>& result) {
  if (!result.ok()) return std::nullopt;
  return *result;
}

// What is the same for every process, and what this one may do.
DoctorFacts ReadCommonFacts(uint64_t size, const std::string& root) {
  DoctorFacts facts;
  facts.size = size;
  facts.page_size = os::RealMemory().page_size();
  facts.physical_bytes = os::PhysicalMemoryBytes();
  facts.machine = os::ReadMachineSettings(root);
  facts.caller.uid = os::CurrentUser();
  facts.caller.may_raise_hard_limit = os::MayRaiseHardLockLimit().value_or(false);
  facts.caller.in_initial_user_namespace =
      Known(os::IsInitialUidMap((root + "/proc/self/uid_map").c_str())).value_or(true);
  facts.caller.in_container =
      os::ReadOwnSurroundings().container != os::Surroundings::Container::kNone;
  return facts;
}

// `root`: of the process in question.
void ReadSharedMemory(const std::string& root, DoctorFacts& facts) {
  const os::Result<os::FileSystemRoom> room = os::ReadFileSystemRoom(root + kSharedMemory);
  facts.shared_memory = Known(room);
  facts.shared_memory_known =
      room.ok() || (facts.surroundings.root_known && room.error() == os::Errno(ENOENT));
}

void TryIoUring(DoctorFacts& facts) {
  const os::Result<os::OwnedDescriptor> any = os::OpenForReading("/dev/null");
  if (!any.ok()) return;
  const auto ring = os::OpenRing(any->get(), 1);
  if (ring.ok()) {
    facts.io_uring = true;
    return;
  }
  facts.io_uring_error = ring.error();
  for (const int refusal : {EPERM, EACCES, ENOSYS}) {
    if (ring.error() == os::Errno(refusal)) facts.io_uring = false;
  }
}

pinlock::Limits::Bound FromOs(os::Headroom::Bound bound) {
  switch (bound) {
    case os::Headroom::Bound::kSystem:
      return pinlock::Limits::Bound::kSystem;
    case os::Headroom::Bound::kCgroupV1:
      return pinlock::Limits::Bound::kCgroupV1;
    case os::Headroom::Bound::kCgroupV2:
      return pinlock::Limits::Bound::kCgroupV2;
    case os::Headroom::Bound::kNone:
      break;
  }
  return pinlock::Limits::Bound::kNone;
}

// A namespace can map every user onto itself as the initial one does, so uid_map alone does not
// tell.
bool IsInInitialNamespace(const os::ProcessLimits& process, bool caller_is) {
  if (caller_is && process.shares_user_namespace == false) return false;
  return process.in_initial_user_namespace.value_or(true);
}

pinlock::Limits LimitsOf(const os::ProcessLimits& process, const DoctorFacts& common,
                         const os::Headroom& headroom) {
  pinlock::Limits limits;
  limits.in_initial_user_namespace =
      IsInInitialNamespace(process, common.caller.in_initial_user_namespace);
  if (process.memlock) {
    limits.memlock_soft_bytes = process.memlock->soft;
    limits.memlock_hard_bytes = process.memlock->hard;
  }
  if (process.rss) limits.rss_soft_bytes = process.rss->soft;
  limits.locked_bytes = process.locked_bytes.value_or(0);
  limits.privileged =
      process.claims_lock_capability.value_or(false) && limits.in_initial_user_namespace;
  limits.headroom_bound = FromOs(headroom.bound);
  limits.headroom_bytes = headroom.bytes;
  limits.headroom_limit_bytes = headroom.limit_bytes;
  limits.headroom_reserve_bytes =
      pinlock::ReserveBytesOf(limits.headroom_bound, headroom.limit_bytes);
  limits.headroom_used_bytes = headroom.used_bytes;
  limits.headroom_cgroup = headroom.group.data();
  limits.mappings_max = common.machine.max_map_count;
  limits.mappings = process.mappings;
  return limits;
}

}  // namespace

DoctorFacts ReadOwnFacts(uint64_t size) {
  DoctorFacts facts = ReadCommonFacts(size, "");
  facts.limits = pinlock::Limits::Read();
  facts.locked_known = os::LockedBytes().ok();
  facts.claims_capability = Known(os::ClaimsLockCapability());
  facts.uid = facts.caller.uid;
  facts.user = os::UserName(facts.caller.uid);
  facts.surroundings = os::ReadOwnSurroundings();
  ReadSharedMemory("", facts);
  TryIoUring(facts);
  facts.membarrier = os::PrepareProcessBarrier();
  return facts;
}

os::Result<DoctorFacts> ReadFactsOf(int pid, uint64_t size, const std::string& root) {
  const std::string proc = root + "/proc";
  os::Result<os::ProcessLimits> process = os::ReadProcessLimits(pid, proc);
  if (!process.ok()) return process.error();
  if (!process->memlock && !process->locked_bytes) return os::Errno(EACCES);
  DoctorFacts facts = ReadCommonFacts(size, root);
  const std::string number = std::to_string(pid);
  facts.limits =
      LimitsOf(*process, facts, os::ReadHeadroom(proc.c_str(), root.c_str(), number.c_str()));
  facts.memlock_known = process->memlock.has_value();
  facts.locked_known = process->locked_bytes.has_value();
  facts.claims_capability = process->claims_lock_capability;
  facts.uid = process->uid;
  if (process->uid) facts.user = os::UserName(*process->uid);
  const std::string directory = proc + "/" + number;
  facts.surroundings = os::ReadSurroundings(directory + "/root", directory + "/cgroup",
                                            /*in_kubernetes=*/false);
  ReadSharedMemory(directory + "/root", facts);
  facts.process = *std::move(process);
  return facts;
}

absl::Status TryToLock(uint64_t size) {
  if (size > kTrialBytesMax) {
    const os::Memory& memory = os::RealMemory();
    const os::PageCount pages((size - 1) / memory.page_size() + 1);
    if (const os::Errno error = memory.CheckLockLimit(pages); !error.ok()) {
      return absl::ErrnoToStatus(error.code(), "the kernel does not allow to lock so much");
    }
  }
  return pinlock::LockedRegion::Allocate(std::min(size, kTrialBytesMax)).status();
}

}  // namespace cli
