#include "cli/doctor_verdict.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "cli/output.h"
#include "cli/size_text.h"

namespace cli {
namespace {

using Bound = pinlock::Limits::Bound;

constexpr uint64_t kMax = ~uint64_t{0};

uint64_t Add(uint64_t a, uint64_t b) { return a > kMax - b ? kMax : a + b; }

// Whole pages.
uint64_t SizeInPages(const DoctorFacts& facts) {
  const uint64_t rest = facts.size % facts.page_size;
  return rest == 0 ? facts.size : Add(facts.size, facts.page_size - rest);
}

bool Exceeds(uint64_t held, const DoctorFacts& facts, std::optional<uint64_t> limit) {
  return limit && Add(SizeInPages(facts), held) > *limit;
}

std::string RefusalText(const DoctorFacts& facts, Obstacle obstacle, bool in_bytes) {
  const pinlock::Limits& limits = facts.limits;
  const std::string size = ExactText(facts.size, in_bytes);
  switch (obstacle) {
    case Obstacle::kMemory: {
      const std::string room =
          ExceedsMachine(facts)
              ? absl::StrCat("the machine has ", RoundedText(facts.physical_bytes, in_bytes),
                             " of memory")
              : absl::StrCat(BoundOf(facts), " has room for ",
                             RoundedText(BytesUsable(facts), in_bytes));
      const char* const untried = "; it was not tried, as the kernel would kill a process";
      return absl::StrCat(room, ", not for ", size, facts.is_own() ? untried : "");
    }
    case Obstacle::kLockLimit: {
      const uint64_t soft = limits.memlock_soft_bytes.value_or(kMax);
      if (soft == 0) return absl::StrCat("RLIMIT_MEMLOCK is 0, which forbids every lock");
      std::string text = absl::StrCat("RLIMIT_MEMLOCK lets ", SubjectOf(facts), " lock ",
                                      ExactText(soft, in_bytes), ", not ", size);
      if (limits.locked_bytes > 0) {
        absl::StrAppend(&text, " besides ", ExactText(limits.locked_bytes, in_bytes),
                        " that are locked");
      }
      return text;
    }
    case Obstacle::kRssLimit:
      return absl::StrCat("RLIMIT_RSS is ", LimitText(limits.rss_soft_bytes, in_bytes),
                          ", which mpin(3) observes, though Linux ignores it");
    case Obstacle::kPlockMax:
      return absl::StrCat("PLOCK_MAX is ", LimitText(limits.plock_max_bytes, in_bytes));
    case Obstacle::kMappings:
      return absl::StrCat(SubjectOf(facts), " has ", limits.mappings.value_or(0),
                          " mappings, as many as vm.max_map_count allows");
  }
  return {};
}

std::string SizeForVerdict(const DoctorFacts& facts, bool in_bytes) {
  return absl::StrCat(ExactText(facts.size, in_bytes),
                      facts.size_is_default ? " (as no SIZE was given)" : "");
}

}  // namespace

const char* NameOf(Verdict::Answer answer) {
  constexpr const char* kNames[] = {"yes", "no", "unknown"};
  return kNames[static_cast<int>(answer)];
}

const char* IdOf(Obstacle obstacle) {
  constexpr const char* kIds[] = {"memory", "lock-limit", "rss-limit", "plock-max", "mappings"};
  return kIds[static_cast<int>(obstacle)];
}

std::string ExactText(uint64_t bytes, bool in_bytes) {
  return in_bytes ? absl::StrCat(bytes) : ExactSizeText(bytes);
}

std::string RoundedText(uint64_t bytes, bool in_bytes) {
  return in_bytes ? absl::StrCat(bytes) : SizeText(bytes);
}

std::string LimitText(std::optional<uint64_t> limit, bool in_bytes) {
  return limit ? ExactText(*limit, in_bytes) : "unlimited";
}

std::string SubjectOf(const DoctorFacts& facts) {
  if (facts.is_own()) return "this process";
  return absl::StrCat("process ", facts.process->pid, " (", Printable(facts.process->name), ")");
}

std::string BoundOf(const DoctorFacts& facts) {
  const pinlock::Limits& limits = facts.limits;
  switch (limits.headroom_bound) {
    case Bound::kCgroupV1:
      return absl::StrCat("the cgroup (v1) ", Printable(limits.headroom_cgroup));
    case Bound::kCgroupV2:
      return absl::StrCat("the cgroup (v2) ", Printable(limits.headroom_cgroup));
    case Bound::kSystem:
      return "the machine";
    case Bound::kNone:
      break;
  }
  return "nothing known";
}

uint64_t BytesNeeded(const DoctorFacts& facts) {
  return Add(SizeInPages(facts), facts.limits.locked_bytes);
}

uint64_t BytesUsable(const DoctorFacts& facts) {
  const pinlock::Limits& limits = facts.limits;
  return limits.headroom_bytes - std::min(limits.headroom_bytes, limits.headroom_reserve_bytes);
}

bool ExceedsMachine(const DoctorFacts& facts) { return SizeInPages(facts) > facts.physical_bytes; }

bool IsObstacle(Obstacle obstacle, const DoctorFacts& facts) {
  const pinlock::Limits& limits = facts.limits;
  if (!facts.has_memory()) return false;  // nothing stands in its way
  switch (obstacle) {
    case Obstacle::kMemory:
      return ExceedsMachine(facts) ||
             (limits.headroom_bound != Bound::kNone && SizeInPages(facts) > BytesUsable(facts));
    case Obstacle::kLockLimit:
      return facts.memlock_known && !limits.privileged &&
             Exceeds(limits.locked_bytes, facts, limits.memlock_soft_bytes);
    case Obstacle::kRssLimit:
      return !limits.privileged && Exceeds(limits.pinned_bytes, facts, limits.rss_soft_bytes);
    case Obstacle::kPlockMax:
      return !limits.privileged && Exceeds(limits.pinned_bytes, facts, limits.plock_max_bytes);
    case Obstacle::kMappings:
      return limits.mappings && limits.mappings_max && *limits.mappings >= *limits.mappings_max;
  }
  return false;
}

std::vector<Obstacle> ObstaclesOf(const DoctorFacts& facts) {
  std::vector<Obstacle> obstacles;
  for (const Obstacle obstacle : {Obstacle::kMemory, Obstacle::kLockLimit, Obstacle::kRssLimit,
                                  Obstacle::kPlockMax, Obstacle::kMappings}) {
    if (IsObstacle(obstacle, facts)) obstacles.push_back(obstacle);
  }
  return obstacles;
}

Verdict VerdictOf(const DoctorFacts& facts, bool in_bytes) {
  const std::vector<Obstacle> obstacles = ObstaclesOf(facts);
  const bool tried = facts.trial.has_value();
  const std::string size = SizeForVerdict(facts, in_bytes);
  const char* const by_numbers = facts.is_own() ? "" : ", by its numbers";
  const bool all_was_tried = facts.size <= kTrialBytesMax;
  if (tried && facts.trial->ok() && (all_was_tried || obstacles.empty())) {
    const std::string part = absl::StrCat(": ", ExactText(kTrialBytesMax, in_bytes),
                                          " was locked, and the limit allows the rest");
    return {Verdict::Answer::kYes, true,
            absl::StrCat("Yes: this process can lock ", size, all_was_tried ? "" : part, ".")};
  }
  if (!facts.has_memory()) {
    return {Verdict::Answer::kNo, false,
            absl::StrCat("No: ", SubjectOf(facts),
                         " has no memory of its own (a thread of the "
                         "kernel, or a process that has ended).")};
  }
  if (!obstacles.empty()) {
    std::string text =
        absl::StrCat("No", by_numbers, ": ", RefusalText(facts, obstacles.front(), in_bytes), ".");
    const bool limited = obstacles.front() == Obstacle::kLockLimit;
    if (limited && facts.claims_capability == true && !facts.limits.in_initial_user_namespace) {
      text += " Its CAP_IPC_LOCK is a user namespace's own, and lifts no limit.";
    }
    return {Verdict::Answer::kNo, tried, text};
  }
  if (tried) {
    const std::string reason(facts.trial->message());
    return {Verdict::Answer::kNo, true, absl::StrCat("No: ", reason, ".")};
  }
  if (facts.is_own() || !facts.memlock_known) {
    return {Verdict::Answer::kUnknown, false,
            absl::StrCat("Unknown: whether ", SubjectOf(facts), " can lock ", size,
                         " cannot be told.")};
  }
  return {Verdict::Answer::kYes, false,
          absl::StrCat("Yes, by its numbers: ", SubjectOf(facts), " can lock ", size, ".")};
}

}  // namespace cli
