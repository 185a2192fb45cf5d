#include "cli/doctor_fix.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "cli/doctor_verdict.h"
#include "cli/output.h"

namespace cli {
namespace {

using Container = os::Surroundings::Container;

constexpr const char* kKindNames[] = {"ulimit", "systemd", "docker", "kubernetes",
                                      "pam",    "lxc",     "nspawn"};

std::string Kib(uint64_t bytes) { return absl::StrCat(bytes / 1024); }

std::string Service(uint64_t bytes) {
  return absl::StrCat("[Service]\nLimitMEMLOCK=", bytes, "\n");
}

bool HardLimitAllowsIt(const DoctorFacts& facts) {
  const auto& hard = facts.limits.memlock_hard_bytes;
  return facts.memlock_known && (!hard || *hard >= BytesNeeded(facts));
}

// A limit for the size might then be a lower one than there is.
bool SoftLimitAllowsIt(const DoctorFacts& facts) {
  const auto& soft = facts.limits.memlock_soft_bytes;
  return facts.memlock_known && (!soft || *soft >= BytesNeeded(facts));
}

Fix NothingToRaise() {
  Fix fix;
  fix.notes = {"the soft limit allows it already: there is nothing to raise"};
  fix.is_needless = true;
  return fix;
}

// Where the hard limit allows it: rounded up, but not beyond the hard limit.
uint64_t SoftLimitToAskFor(const DoctorFacts& facts) {
  return std::min(LimitToAskFor(facts), facts.limits.memlock_hard_bytes.value_or(~uint64_t{0}));
}

// Whether somebody with sudo may change a limit from where the caller is.
bool SudoMayHelp(const DoctorFacts& facts) {
  return facts.caller.uid != 0 && facts.caller.in_initial_user_namespace &&
         !facts.caller.in_container;
}

Fix NoFix(const DoctorFacts& facts) {
  Fix fix;
  if (HardLimitAllowsIt(facts)) {
    fix.notes = {
        "the process belongs to another user: ask as its user, or as root with CAP_SYS_RESOURCE"};
    return fix;
  }
  const auto& hard = facts.limits.memlock_hard_bytes;
  fix.notes = {absl::StrCat("the hard limit is ",
                            facts.memlock_known ? LimitText(hard, false) : "not known",
                            ", and this user may not raise it (CAP_SYS_RESOURCE in the initial "
                            "user namespace, which was tried): it has to be raised where this is "
                            "started from")};
  return fix;
}

Fix UlimitHere(const DoctorFacts& facts) {
  const uint64_t bytes = LimitToAskFor(facts);
  const std::string both = absl::StrCat("--memlock=", bytes, ":", bytes);
  if (SoftLimitAllowsIt(facts)) return NothingToRaise();
  Fix fix;
  if (HardLimitAllowsIt(facts)) {
    fix.place = "In the shell that starts the program";
    fix.text = absl::StrCat("ulimit -S -l ", Kib(SoftLimitToAskFor(facts)), "\n");
    fix.notes = {"-S leaves the hard limit as it is.", "The unit is KiB."};
  } else if (facts.caller.may_raise_hard_limit) {
    fix.place = "In the shell that starts the program, as you may raise its hard limit";
    fix.text = absl::StrCat("ulimit -l ", Kib(bytes), "\n");
    fix.notes = {"The unit is KiB."};
  } else if (SudoMayHelp(facts)) {
    fix.place = "In the shell that starts the program, if you may use sudo";
    fix.text = absl::StrCat("sudo prlimit --pid $$ ", both, "\n");
    fix.notes = {"ulimit -l alone goes up to the hard limit only."};
  } else if (!facts.limits.in_initial_user_namespace &&
             facts.surroundings.container == Container::kNone) {
    fix.place = "Outside of this user namespace, in the shell that makes it, before it does";
    fix.text = absl::StrCat("sudo prlimit --pid $$ ", both, "\n");
    fix.notes = {"Limits are inherited; within, nobody may raise the hard one."};
  } else {
    return NoFix(facts);
  }
  return fix;
}

// Of another process, which need not be started again.
Fix Prlimit(const DoctorFacts& facts) {
  const uint64_t bytes = LimitToAskFor(facts);
  const std::string command = absl::StrCat("prlimit --pid ", facts.process->pid, " --memlock=");
  // Root alone is not enough: it may have lost the capability.
  const bool is_ours = facts.uid == facts.caller.uid || facts.caller.may_raise_hard_limit;
  Fix fix;
  if (!facts.has_memory()) {
    fix.notes = {"the process has no memory of its own to lock"};
    return fix;
  }
  if (SoftLimitAllowsIt(facts)) return NothingToRaise();
  fix.place = "At once, for the running process";
  fix.notes = {"The unit is bytes. What it starts later inherits the limit."};
  if (HardLimitAllowsIt(facts) && (is_ours || SudoMayHelp(facts))) {
    fix.text = absl::StrCat(is_ours ? "" : "sudo ", command, SoftLimitToAskFor(facts),
                            ":\n");  // the soft one alone
  } else if (facts.caller.may_raise_hard_limit && is_ours) {
    fix.text = absl::StrCat(command, bytes, ":", bytes, "\n");
  } else if (SudoMayHelp(facts)) {
    fix.text = absl::StrCat("sudo ", command, bytes, ":", bytes, "\n");
  } else {
    return NoFix(facts);
  }
  return fix;
}

Fix Systemd(const DoctorFacts& facts) {
  const os::Surroundings& around = facts.surroundings;
  Fix fix{.kind = FixKind::kSystemd, .text = Service(LimitToAskFor(facts))};
  const bool rootless = around.container != Container::kNone;
  if (around.user_manager || rootless) {
    const std::string user = facts.uid && !rootless ? absl::StrCat(*facts.uid) : std::string("UID");
    fix.place = absl::StrCat(
        rootless ? "On the host, if a user runs the container engine, in " : "In ",
        "/etc/systemd/system/user@.service.d/memlock.conf, then systemctl daemon-reload and "
        "systemctl restart user@",
        user, ".service, which ends all that the user runs");
    fix.notes = {
        "A unit of a user's manager cannot go beyond the hard limit of the manager, which "
        "this raises. Units that set no LimitMEMLOCK= of their own inherit it."};
    return fix;
  }
  const bool is_service = around.unit.ends_with(".service");
  const std::string unit = is_service ? Printable(around.unit) : "UNIT.service";
  fix.place =
      absl::StrCat("In the unit (systemctl edit ", unit, "), then systemctl restart ", unit);
  fix.notes = {"The unit of the number is bytes.",
               "/etc/security/limits.conf does not count for services."};
  return fix;
}

Fix Docker(const DoctorFacts& facts) {
  const uint64_t bytes = LimitToAskFor(facts);
  Fix fix{.kind = FixKind::kDocker,
          .place = "Options of docker run and podman run, for a new container",
          .text = absl::StrCat("--ulimit memlock=", bytes, ":", bytes, "\n")};
  fix.notes = {absl::StrCat("The unit is bytes. In compose.yaml: ulimits: {memlock: {soft: ", bytes,
                            ", hard: ", bytes, "}}."),
               "If a user runs the engine (rootless), that user's hard limit on the host has to be "
               "as high first, and --cap-add IPC_LOCK does nothing."};
  if (facts.limits.in_initial_user_namespace) {
    fix.notes.insert(fix.notes.begin() + 1,
                     "Or --cap-add IPC_LOCK, which lifts the limit for root in the container, if "
                     "root runs the engine.");
  }
  return fix;
}

// A pod's specification has no resource limits of the kernel (ulimits).
Fix Kubernetes(const DoctorFacts& facts) {
  const bool in_pod = facts.surroundings.container == Container::kKubernetes;
  Fix fix{.kind = FixKind::kKubernetes};
  // A capability counts for root alone, and in the initial user namespace alone.
  if (in_pod && (facts.uid != 0u || !facts.limits.in_initial_user_namespace)) {
    fix.place =
        "On the nodes, in /etc/systemd/system/containerd.service.d/memlock.conf, then "
        "systemctl daemon-reload and systemctl restart containerd; then make the pod anew";
    fix.text = Service(LimitToAskFor(facts));
    fix.notes = {"With CRI-O it is crio.service. Containers inherit the limit of the runtime.",
                 facts.limits.in_initial_user_namespace
                     ? "securityContext.capabilities would count only if the container ran as root."
                     : "securityContext.capabilities counts for nothing with hostUsers: false."};
    return fix;
  }
  fix.place = "In the pod, of the container that locks";
  fix.text = "securityContext:\n  capabilities:\n    add: [\"IPC_LOCK\"]\n";
  fix.notes = {
      "It counts for a container that runs as root, and not with hostUsers: false. "
      "Otherwise LimitMEMLOCK= for containerd.service on the nodes: a pod has no ulimits."};
  return fix;
}

Fix Pam(const DoctorFacts& facts) {
  std::string user = "*";
  std::string whose = "every user but root";
  if (facts.limits.in_initial_user_namespace && facts.uid) {
    user = facts.user.empty() ? absl::StrCat(":", *facts.uid) : Printable(facts.user);
    whose = user;
  }
  return {.kind = FixKind::kPam,
          .place = absl::StrCat("For every login of ", whose,
                                ", in /etc/security/limits.d/memlock.conf; then log in again"),
          .text = absl::StrCat(user, " - memlock ", Kib(LimitToAskFor(facts)), "\n"),
          .notes = {"The unit is KiB. It counts for logins (pam_limits), not for services and not "
                    "for containers."}};
}

Fix Lxc(const DoctorFacts& facts) {
  return {.kind = FixKind::kLxc,
          .place = "On the host, in the container's config, then start it again",
          .text = absl::StrCat("lxc.prlimit.memlock = ", LimitToAskFor(facts), "\n"),
          .notes = {"The unit is bytes. Not for containers that a user without privileges starts, "
                    "whose own hard limit has to be raised."}};
}

Fix Nspawn(const DoctorFacts& facts) {
  return {.kind = FixKind::kNspawn,
          .place = "On the host, in /etc/systemd/nspawn/NAME.nspawn, then start the machine again",
          .text = absl::StrCat("[Exec]\nLimitMEMLOCK=", LimitToAskFor(facts), "\n"),
          .notes = {"The unit is bytes."}};
}

std::vector<FixKind> KindsOf(const DoctorFacts& facts) {
  const os::Surroundings& around = facts.surroundings;
  switch (around.container) {
    case Container::kDocker:
    case Container::kPodman:
      if (facts.limits.in_initial_user_namespace) return {FixKind::kDocker};
      return {FixKind::kSystemd, FixKind::kDocker};
    case Container::kKubernetes:
      return {FixKind::kKubernetes};
    case Container::kLxc:
      return {FixKind::kLxc};
    case Container::kNspawn:
      return {FixKind::kNspawn};
    case Container::kOther:
      return {};
    case Container::kNone:
      break;
  }
  if (!facts.limits.in_initial_user_namespace) return {};
  // It may well be in the container that the caller is in.
  if (!around.root_known && facts.caller.in_container) return {};
  const bool is_service = around.unit.ends_with(".service");
  if (is_service || around.user_manager) return {FixKind::kSystemd};
  return {FixKind::kPam};
}

}  // namespace

const char* NameOf(FixKind kind) { return kKindNames[static_cast<int>(kind)]; }

std::optional<FixKind> FixKindOf(std::string_view name) {
  const auto* const found = std::ranges::find(kKindNames, name);
  if (found == std::end(kKindNames)) return std::nullopt;
  return static_cast<FixKind>(found - std::begin(kKindNames));
}

std::string FixKindNames() {
  std::string names;
  for (const char* name : kKindNames) absl::StrAppend(&names, names.empty() ? "" : "|", name);
  return names;
}

uint64_t LimitToAskFor(const DoctorFacts& facts) {
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  const uint64_t needed = BytesNeeded(facts);
  const uint64_t unit = needed > kMiB ? kMiB : kMiB / 16;
  // Beyond any memory anyway; the kernel's own numbers end at 2^63.
  if (needed >= uint64_t{1} << 62) return uint64_t{1} << 62;
  return (needed + unit - 1) / unit * unit;
}

Fix FixOf(FixKind kind, const DoctorFacts& facts) {
  switch (kind) {
    case FixKind::kUlimit:
      return facts.is_own() ? UlimitHere(facts) : Prlimit(facts);
    case FixKind::kSystemd:
      return Systemd(facts);
    case FixKind::kDocker:
      return Docker(facts);
    case FixKind::kKubernetes:
      return Kubernetes(facts);
    case FixKind::kPam:
      return Pam(facts);
    case FixKind::kLxc:
      return Lxc(facts);
    case FixKind::kNspawn:
      return Nspawn(facts);
  }
  return {};
}

std::vector<Fix> FixesFor(const DoctorFacts& facts) {
  if (!IsObstacle(Obstacle::kLockLimit, facts) || facts.size > facts.physical_bytes) return {};
  std::vector<Fix> fixes;
  Fix here = FixOf(FixKind::kUlimit, facts);
  const bool here_works = !here.text.empty();
  if (here_works) fixes.push_back(std::move(here));
  for (const FixKind kind : KindsOf(facts)) fixes.push_back(FixOf(kind, facts));
  if (fixes.empty()) fixes.push_back(NoFix(facts));
  return fixes;
}

}  // namespace cli
