#include "cli/doctor_checks.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "cli/doctor_verdict.h"
#include "cli/output.h"

namespace cli {
namespace {

using Bound = pinlock::Limits::Bound;
using Container = os::Surroundings::Container;
using Status = Check::Status;

Json BytesOrNull(std::optional<uint64_t> bytes) { return bytes ? Json(*bytes) : Json(); }
Json BoolOrNull(std::optional<bool> value) { return value ? Json(*value) : Json(); }

// As the shell's `ulimit -l` prints it.
std::string InKib(std::optional<uint64_t> limit) {
  return limit ? absl::StrCat(*limit / 1024) : "unlimited";
}

std::string MemoryAdvice(const DoctorFacts& facts, bool in_bytes) {
  const uint64_t usable = std::min(BytesUsable(facts), facts.physical_bytes);
  const std::string less = absl::StrCat("lock no more than ", RoundedText(usable, in_bytes));
  if (facts.limits.headroom_bound == Bound::kNone) return less;
  if (facts.limits.headroom_bound == Bound::kSystem) {
    return absl::StrCat("free memory of other programs, or ", less);
  }
  switch (facts.surroundings.container) {
    case Container::kDocker:
    case Container::kPodman:
      return absl::StrCat("start the container with a larger --memory, or ", less);
    case Container::kKubernetes:
      return absl::StrCat("raise resources.limits.memory of the pod's container, or ", less);
    default:
      break;
  }
  const bool v1 = facts.limits.headroom_bound == Bound::kCgroupV1;
  return absl::StrCat("raise ", v1 ? "memory.limit_in_bytes" : "memory.max",
                      " of that cgroup (MemoryMax= in a unit of systemd), or ", less);
}

Check LockLimit(const DoctorFacts& facts, bool in_bytes) {
  const pinlock::Limits& limits = facts.limits;
  Check check{.id = "lock-limit"};
  check.values = {{"soft_bytes", BytesOrNull(limits.memlock_soft_bytes)},
                  {"hard_bytes", BytesOrNull(limits.memlock_hard_bytes)},
                  {"known", facts.memlock_known},
                  {"locked_bytes", facts.locked_known ? Json(limits.locked_bytes) : Json()},
                  {"needed_bytes", BytesNeeded(facts)},
                  {"binds", facts.memlock_known ? Json(!limits.privileged) : Json()}};
  check.reason =
      "RLIMIT_MEMLOCK bounds what a process without CAP_IPC_LOCK may have locked at a time. "
      "mlock(2) "
      "says ENOMEM beyond it, however much memory is free; EPERM where it is 0.";
  if (!facts.memlock_known) {
    check.status = Status::kUnknown;
    check.summary = "may not be read";
    return check;
  }
  check.summary = absl::StrCat(
      "soft ", LimitText(limits.memlock_soft_bytes, in_bytes),
      " (ulimit -l: ", InKib(limits.memlock_soft_bytes), "), hard ",
      LimitText(limits.memlock_hard_bytes, in_bytes), " (", InKib(limits.memlock_hard_bytes), "); ",
      facts.locked_known ? ExactText(limits.locked_bytes, in_bytes) : "unknown bytes", " locked");
  if (IsObstacle(Obstacle::kLockLimit, facts)) {
    check.status = Status::kProblem;
    check.advice =
        absl::StrCat("a soft limit of ", ExactText(BytesNeeded(facts), in_bytes), " is needed");
  } else if (limits.privileged && limits.memlock_soft_bytes) {
    absl::StrAppend(&check.summary, "; does not bind");
  }
  return check;
}

Check Privilege(const DoctorFacts& facts) {
  Check check{.id = "privilege"};
  const std::optional<bool> claims = facts.claims_capability;
  check.values = {{"claimed", BoolOrNull(claims)},
                  {"tried", facts.is_own()},
                  {"privileged", facts.limits.privileged}};
  check.reason =
      "CAP_IPC_LOCK lifts the limit only where it is held in the initial user namespace. CapEff "
      "does not tell, so a lock beyond the limit is asked for.";
  const char* const how = facts.is_own() ? "tried" : "by its numbers, as it cannot be tried";
  if (facts.limits.privileged) {
    check.summary = absl::StrCat("CAP_IPC_LOCK: yes (", how, "); no lock limit binds");
  } else if (claims == true) {
    check.status = Status::kWarning;
    check.summary = absl::StrCat(
        "CAP_IPC_LOCK: claimed by CapEff, but the kernel does not honour it (", how, ")");
    check.advice = facts.limits.in_initial_user_namespace
                       ? "something outside of this process takes it away: a limit is needed"
                       : "it is a user namespace's own and lifts no limit: raise the limit instead";
  } else if (!claims && !facts.is_own()) {
    check.status = Status::kUnknown;
    check.summary = "CAP_IPC_LOCK: may not be read";
  } else {
    check.summary = absl::StrCat("CAP_IPC_LOCK: no (", how, "), so the lock limit binds");
  }
  return check;
}

Check Namespace(const DoctorFacts& facts) {
  Check check{.id = "namespace"};
  const bool initial = facts.limits.in_initial_user_namespace;
  check.values = {{"initial", initial}};
  check.summary = initial ? "the initial user namespace (by uid_map)"
                          : "a user namespace: root and capabilities in it lift no limit";
  if (!facts.is_own() && facts.process->shares_user_namespace) {
    check.values["same_as_caller"] = *facts.process->shares_user_namespace;
    absl::StrAppend(&check.summary, *facts.process->shares_user_namespace
                                        ? "; the one that doctor is in"
                                        : "; another than doctor is in");
  }
  check.reason = "Rootless containers, build sandboxes and unshare(1) -U make user namespaces.";
  return check;
}

Check ContainerCheck(const DoctorFacts& facts) {
  const os::Surroundings& around = facts.surroundings;
  Check check{.id = "container"};
  check.values = {
      {"kind", around.container == Container::kNone ? Json() : Json(os::NameOf(around.container))},
      {"mark", around.container_mark.empty() ? Json() : TextOrNull(around.container_mark)},
      {"unit", around.unit.empty() ? Json() : TextOrNull(around.unit)},
      {"user_manager", around.user_manager}};
  check.summary = os::NameOf(around.container);
  if (around.container == Container::kNone && !around.root_known) {
    check.status = Status::kUnknown;
    check.summary = "none seen, but its files may not be looked at";
  }
  if (!around.container_mark.empty()) {
    absl::StrAppend(&check.summary, " (", Printable(around.container_mark), ")");
  }
  if (!around.unit.empty()) {
    absl::StrAppend(&check.summary, "; systemd unit ", Printable(around.unit),
                    around.user_manager ? " of the user's manager" : "");
  }
  check.reason = "Who starts the process sets its limits; this tells where to change them.";
  return check;
}

Check Memory(const DoctorFacts& facts, bool in_bytes) {
  const pinlock::Limits& limits = facts.limits;
  Check check{.id = "memory"};
  const bool known = limits.headroom_bound != Bound::kNone;
  const bool is_cgroup = known && limits.headroom_bound != Bound::kSystem;
  const auto number = [known](uint64_t bytes) { return known ? Json(bytes) : Json(); };
  check.values = {{"bound", !known      ? Json()
                            : is_cgroup ? Json("cgroup")
                                        : Json("machine")},
                  {"cgroup_version",
                   !is_cgroup ? Json() : Json(limits.headroom_bound == Bound::kCgroupV1 ? 1 : 2)},
                  {"cgroup", is_cgroup ? TextOrNull(limits.headroom_cgroup) : Json()},
                  {"headroom_bytes", number(limits.headroom_bytes)},
                  {"reserve_bytes", number(limits.headroom_reserve_bytes)},
                  {"limit_bytes", number(limits.headroom_limit_bytes)},
                  {"used_bytes", number(limits.headroom_used_bytes)}};
  check.reason =
      "In a full memory cgroup mlock(2) does not fail: the kernel kills a process. So mpin(3), and "
      "this program, do not ask for more than there is room for, less a reserve.";
  if (!known) {
    check.status = Status::kUnknown;
    check.summary = "how much is free cannot be read";
    if (IsObstacle(Obstacle::kMemory, facts)) {
      check.status = Status::kProblem;
      absl::StrAppend(&check.summary, "; the machine has ",
                      RoundedText(facts.physical_bytes, in_bytes));
      check.advice = MemoryAdvice(facts, in_bytes);
    }
    return check;
  }
  check.summary =
      absl::StrCat(RoundedText(limits.headroom_bytes, in_bytes), " free of ",
                   RoundedText(limits.headroom_limit_bytes, in_bytes), " of ", BoundOf(facts));
  if (IsObstacle(Obstacle::kMemory, facts)) {
    check.status = Status::kProblem;
    check.advice = MemoryAdvice(facts, in_bytes);
    if (limits.headroom_reserve_bytes > 0) {
      absl::StrAppend(&check.summary, ", of which ",
                      RoundedText(limits.headroom_reserve_bytes, in_bytes), " stay free");
    }
  }
  return check;
}

// RLIMIT_RSS and PLOCK_MAX, which mpin(3) alone observes.
Check OwnLimit(const DoctorFacts& facts, Obstacle obstacle, const char* name, bool is_known,
               std::optional<uint64_t> limit, const char* advice, bool in_bytes) {
  Check check{.id = IdOf(obstacle)};
  check.values = {{"limit_bytes", BytesOrNull(limit)},
                  {"pinned_bytes", facts.is_own() ? Json(facts.limits.pinned_bytes) : Json()}};
  check.summary = absl::StrCat(name, ": ", limit ? LimitText(limit, in_bytes) : "not set");
  check.reason = "Linux ignores it; mpin(3) does not, unless the process is privileged.";
  check.detail = !limit;
  if (!is_known) {
    check.status = Status::kUnknown;
    check.summary = absl::StrCat(name, ": not known");
    return check;
  }
  if (IsObstacle(obstacle, facts)) {
    check.status = Status::kProblem;
    check.advice = advice;
  }
  return check;
}

Check Mappings(const DoctorFacts& facts) {
  const pinlock::Limits& limits = facts.limits;
  Check check{.id = "mappings"};
  check.values = {{"mappings", BytesOrNull(limits.mappings)},
                  {"max", BytesOrNull(limits.mappings_max)}};
  check.reason =
      "Each locked piece of a mapping is a mapping of its own. Where there are too many, mlock(2) "
      "says ENOMEM, and munlock(2) and munmap(2) too.";
  if (!limits.mappings || !limits.mappings_max) {
    check.status = Status::kUnknown;
    check.summary =
        absl::StrCat("how many there are may not be read; vm.max_map_count is ",
                     limits.mappings_max ? absl::StrCat(*limits.mappings_max) : "not known");
    return check;
  }
  check.summary =
      absl::StrCat(*limits.mappings, " of ", *limits.mappings_max, " (vm.max_map_count)");
  const char* const advice = "sysctl -w vm.max_map_count=N, or lock fewer, larger ranges";
  if (IsObstacle(Obstacle::kMappings, facts)) {
    check.status = Status::kProblem;
    check.advice = advice;
  } else if (*limits.mappings > *limits.mappings_max / 10 * 9) {
    check.status = Status::kWarning;
    check.advice = advice;
  }
  return check;
}

}  // namespace

const char* NameOf(Check::Status status) {
  constexpr const char* kNames[] = {"ok", "warning", "problem", "unknown"};
  return kNames[static_cast<int>(status)];
}

std::vector<Check> ChecksOf(const DoctorFacts& facts, bool in_bytes) {
  std::vector<Check> checks = {
      LockLimit(facts, in_bytes), Privilege(facts),        Namespace(facts),
      ContainerCheck(facts),      Memory(facts, in_bytes),
  };
  const bool rss_known = facts.is_own() || facts.process->rss.has_value();
  checks.push_back(OwnLimit(facts, Obstacle::kRssLimit, "RLIMIT_RSS", rss_known,
                            facts.limits.rss_soft_bytes,
                            "`ulimit -m unlimited` in the shell that starts it", in_bytes));
  checks.push_back(OwnLimit(facts, Obstacle::kPlockMax, "PLOCK_MAX", facts.is_own(),
                            facts.limits.plock_max_bytes,
                            "a larger number for mpin_set_max_pages(3), or 0 for none", in_bytes));
  checks.push_back(Mappings(facts));
  AddMachineChecks(facts, in_bytes, checks);
  return checks;
}

}  // namespace cli
