// The checks of the machine: what it does to pages that are locked, and what a pool needs of it.

#include <cerrno>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/doctor_checks.h"
#include "cli/doctor_verdict.h"

namespace cli {
namespace {

using Status = Check::Status;

Json NumberOrNull(std::optional<uint64_t> value) { return value ? Json(*value) : Json(); }
std::string NumberText(std::optional<uint64_t> value) {
  return value ? absl::StrCat(*value) : "not known";
}

Check Swap(const DoctorFacts& facts, bool in_bytes) {
  const os::MachineSettings& machine = facts.machine;
  Check check{.id = "swap"};
  check.values = {{"swap_bytes", NumberOrNull(machine.swap_bytes)},
                  {"swap_free_bytes", NumberOrNull(machine.swap_free_bytes)},
                  {"swappiness", NumberOrNull(machine.swappiness)}};
  check.reason =
      "Pages of files (programs, libraries, mapped files) are dropped and read again where memory "
      "is short, with or without swap.";
  if (!machine.swap_bytes) {
    check.status = Status::kUnknown;
    check.summary = "not known";
  } else if (*machine.swap_bytes == 0) {
    check.summary = "none: unlocked pages of files can still go, anonymous ones not";
  } else {
    check.summary = absl::StrCat(RoundedText(*machine.swap_bytes, in_bytes), " (",
                                 RoundedText(machine.swap_free_bytes.value_or(0), in_bytes),
                                 " free): unlocked memory may go there");
  }
  return check;
}

// A setting of the machine whose value 0 leaves locked pages alone.
Check Disturbance(const char* id, const char* setting, std::optional<uint64_t> value,
                  const char* harmless, const char* effect, const char* advice) {
  Check check{.id = id};
  check.values = {{"setting", setting}, {"value", NumberOrNull(value)}};
  check.summary = absl::StrCat(setting, " = ", NumberText(value), ": ");
  if (value.value_or(0) == 0) {
    check.summary = value ? absl::StrCat(check.summary, harmless)
                          : absl::StrCat(setting, ": this kernel does not have it, or hides it");
    return check;
  }
  check.status = Status::kWarning;
  check.summary += effect;
  check.advice = advice;
  return check;
}

Check Compaction(const DoctorFacts& facts) {
  Check check = Disturbance("compaction", "compact_unevictable_allowed",
                            facts.machine.compact_unevictable_allowed,
                            "locked pages stay in their place", "locked pages may be moved",
                            "sysctl -w vm.compact_unevictable_allowed=0 forbids it");
  check.values["setting"] = "vm.compact_unevictable_allowed";
  check.reason =
      "A page that is moved stays in memory, but who touches it then takes a minor fault. Most "
      "programs need not mind.";
  return check;
}

Check Ksm(const DoctorFacts& facts) {
  // 2: it stops, and takes apart what it has merged.
  const auto run = facts.machine.ksm_run == 2u ? std::optional<uint64_t>(0) : facts.machine.ksm_run;
  Check check = Disturbance("ksm", "ksm/run", run, "no page is merged",
                            "pages of MADV_MERGEABLE memory are merged, locked or not",
                            "do not mark memory that you lock, or write 0 to "
                            "/sys/kernel/mm/ksm/run");
  check.values["value"] = NumberOrNull(facts.machine.ksm_run);
  check.reason = "The next write to a merged page takes a fault. mpool and pinlock mark nothing.";
  return check;
}

Check HugePages(const DoctorFacts& facts) {
  const os::MachineSettings& machine = facts.machine;
  const auto text = [](const std::string& word) { return word.empty() ? Json() : Json(word); };
  Check check{.id = "huge-pages"};
  check.values = {{"enabled", text(machine.huge_pages_enabled)},
                  {"defrag", text(machine.huge_pages_defrag)},
                  {"khugepaged_defrag", NumberOrNull(machine.khugepaged_defrag)}};
  check.reason =
      "Where khugepaged makes a huge page of small ones, locked or not, whoever touches them "
      "meanwhile takes a fault. mpool forbids it for its frames.";
  if (machine.huge_pages_enabled.empty()) {
    check.summary = "transparent huge pages: this kernel does not have them, or hides it";
    return check;
  }
  check.summary =
      absl::StrCat("transparent huge pages: ", machine.huge_pages_enabled, ", defrag ",
                   machine.huge_pages_defrag.empty() ? "not known" : machine.huge_pages_defrag);
  if (machine.huge_pages_enabled == "always") {
    check.status = Status::kWarning;
    check.summary += "; khugepaged may move pages";
    check.advice =
        "MADV_NOHUGEPAGE on memory that may not fault, or write madvise to "
        "/sys/kernel/mm/transparent_hugepage/enabled";
  }
  return check;
}

Check Numa(const DoctorFacts& facts) {
  Check check = Disturbance("numa", "kernel.numa_balancing", facts.machine.numa_balancing,
                            "no page is moved to another node",
                            "the kernel unmaps pages, locked ones too, to see who uses them",
                            "bind the memory to a node (numactl --membind), or sysctl -w "
                            "kernel.numa_balancing=0");
  check.reason = "The next touch of such a page takes a minor fault.";
  return check;
}

Check SharedMemory(const DoctorFacts& facts, bool in_bytes) {
  Check check{.id = "dev-shm"};
  const auto& room = facts.shared_memory;
  check.values = {{"total_bytes", room ? Json(room->total_bytes) : Json()},
                  {"free_bytes", room ? Json(room->free_bytes) : Json()}};
  check.reason = "Pools that processes share have their memory in /dev/shm.";
  if (!facts.shared_memory_known) {
    check.status = Status::kUnknown;
    check.summary = "/dev/shm: that of the process may not be looked at";
    return check;
  }
  if (!room) {
    check.status = Status::kWarning;
    check.summary = "there is no /dev/shm: no shared pools";
    check.advice = "mount a tmpfs there";
    return check;
  }
  if (room->total_bytes == 0) {  // a tmpfs that was mounted with size=0
    check.summary = "/dev/shm: no limit of its own";
    return check;
  }
  check.summary = absl::StrCat("/dev/shm: ", RoundedText(room->free_bytes, in_bytes), " free of ",
                               RoundedText(room->total_bytes, in_bytes));
  if (room->free_bytes < facts.size) {
    check.status = Status::kWarning;
    check.summary += ", too little for a shared pool of this size";
    check.advice = facts.surroundings.container == os::Surroundings::Container::kNone
                       ? "mount -o remount,size=SIZE /dev/shm, or remove pools: mpool ls, mpool rm"
                       : "start the container with --shm-size=SIZE, or remove pools: mpool ls, "
                         "mpool rm";
  }
  return check;
}

Check IoUring(const DoctorFacts& facts) {
  Check check{.id = "io-uring"};
  check.values = {{"usable", facts.io_uring ? Json(*facts.io_uring) : Json()},
                  {"setting", "kernel.io_uring_disabled"},
                  {"value", NumberOrNull(facts.machine.io_uring_disabled)}};
  check.reason = "mpool_prefetch(3) reads its pages at once with it, and one by one without.";
  const std::string setting = absl::StrCat(
      " (kernel.io_uring_disabled: ", NumberText(facts.machine.io_uring_disabled), ")");
  if (!facts.io_uring && facts.io_uring_error == os::Errno(ENOMEM)) {
    // Before Linux 5.12 they are charged to it.
    check.status = Status::kWarning;
    check.summary = "io_uring: the lock limit has no room for its rings (tried)";
    check.advice = "prefetch is slower without; raise the lock limit";
  } else if (!facts.io_uring && !facts.io_uring_error.ok()) {
    check.status = Status::kUnknown;
    check.summary = absl::StrCat("io_uring: not now: ", facts.io_uring_error.Name(), setting);
  } else if (!facts.io_uring) {
    check.status = Status::kUnknown;
    check.summary = absl::StrCat("cannot be tried", setting);
    check.detail = true;
  } else if (*facts.io_uring) {
    check.summary = "io_uring: usable (tried)";
  } else {
    check.status = Status::kWarning;
    check.summary = absl::StrCat("io_uring: refused (tried)", setting);
    check.advice =
        "prefetch is slower without; allow it in the container's seccomp profile, or "
        "sysctl -w kernel.io_uring_disabled=0";
  }
  return check;
}

Check Membarrier(const DoctorFacts& facts) {
  Check check{.id = "membarrier"};
  check.values = {{"usable", facts.membarrier ? Json(*facts.membarrier) : Json()}};
  check.reason = "A pool needs it so that a hit takes no latch.";
  if (!facts.membarrier) {
    check.status = Status::kUnknown;
    check.summary = "membarrier(2): cannot be tried";
    check.detail = true;
  } else if (*facts.membarrier) {
    check.summary = "membarrier(2): usable (tried)";
  } else {
    check.status = Status::kWarning;
    check.summary = "membarrier(2): refused (tried)";
    check.advice = "every hit in a pool takes its latch; allow it in the seccomp profile";
  }
  return check;
}

Check Overcommit(const DoctorFacts& facts, bool in_bytes) {
  const os::MachineSettings& machine = facts.machine;
  Check check{.id = "overcommit"};
  check.values = {{"overcommit_memory", NumberOrNull(machine.overcommit_memory)},
                  {"commit_limit_bytes", NumberOrNull(machine.commit_limit_bytes)},
                  {"committed_bytes", NumberOrNull(machine.committed_bytes)}};
  check.summary = absl::StrCat("vm.overcommit_memory = ", NumberText(machine.overcommit_memory));
  check.reason = "With 2 the kernel refuses to map memory beyond CommitLimit of /proc/meminfo.";
  check.detail = machine.overcommit_memory != 2u;
  if (check.detail || !machine.commit_limit_bytes || !machine.committed_bytes) return check;
  const uint64_t limit = *machine.commit_limit_bytes;
  const uint64_t left = limit > *machine.committed_bytes ? limit - *machine.committed_bytes : 0;
  absl::StrAppend(&check.summary, ": ", RoundedText(left, in_bytes), " may still be mapped");
  if (left < facts.size) {
    check.status = Status::kWarning;
    check.advice = "raise vm.overcommit_ratio, or add swap";
  }
  return check;
}

Check Hugetlb(const DoctorFacts& facts) {
  Check check{.id = "hugetlb", .detail = true};
  check.values = {{"nr_hugepages", NumberOrNull(facts.machine.nr_hugepages)}};
  check.summary = absl::StrCat("vm.nr_hugepages = ", NumberText(facts.machine.nr_hugepages));
  check.reason =
      "Such pages are never paged out and not charged to the lock limit: "
      "PagePool's Options::hugetlb takes them.";
  return check;
}

Check Oom(const DoctorFacts& facts) {
  Check check{.id = "oom", .detail = true};
  check.values = {{"panic_on_oom", NumberOrNull(facts.machine.panic_on_oom)}};
  check.summary = absl::StrCat("vm.panic_on_oom = ", NumberText(facts.machine.panic_on_oom));
  if (facts.machine.panic_on_oom.value_or(0) != 0) {
    check.status = Status::kWarning;
    check.detail = false;
    check.summary += ": where memory ends, the machine does";
    check.advice = "sysctl -w vm.panic_on_oom=0, or leave much memory unlocked";
  }
  check.reason = "Locked memory cannot be taken back: with too much of it, somebody is killed.";
  return check;
}

}  // namespace

void AddMachineChecks(const DoctorFacts& facts, bool in_bytes, std::vector<Check>& checks) {
  Check all[] = {Swap(facts, in_bytes), Compaction(facts), Ksm(facts),
                 HugePages(facts),      Numa(facts),       SharedMemory(facts, in_bytes),
                 IoUring(facts),        Membarrier(facts), Overcommit(facts, in_bytes),
                 Hugetlb(facts),        Oom(facts)};
  for (Check& check : all) checks.push_back(std::move(check));
}

}  // namespace cli
