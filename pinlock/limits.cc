#include "pinlock/limits.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "os/limits.h"
#include "os/memory.h"
#include "pinlock/internal/admission.h"
#include "pinlock/limits_from.h"
#include "pinlock/mpin.h"

namespace pinlock {
namespace {

constexpr uint64_t kUnbounded = std::numeric_limits<uint64_t>::max();

Limits::Bound FromOs(os::Headroom::Bound bound) {
  switch (bound) {
    case os::Headroom::Bound::kSystem:
      return Limits::Bound::kSystem;
    case os::Headroom::Bound::kCgroupV1:
      return Limits::Bound::kCgroupV1;
    case os::Headroom::Bound::kCgroupV2:
      return Limits::Bound::kCgroupV2;
    case os::Headroom::Bound::kNone:
      break;
  }
  return Limits::Bound::kNone;
}

os::Headroom::Bound ToOs(Limits::Bound bound) {
  switch (bound) {
    case Limits::Bound::kSystem:
      return os::Headroom::Bound::kSystem;
    case Limits::Bound::kCgroupV1:
      return os::Headroom::Bound::kCgroupV1;
    case Limits::Bound::kCgroupV2:
      return os::Headroom::Bound::kCgroupV2;
    case Limits::Bound::kNone:
      break;
  }
  return os::Headroom::Bound::kNone;
}

template <typename T>
std::optional<T> Known(const os::Result<T>& result) {
  if (!result.ok()) return std::nullopt;
  return *result;
}

uint64_t Left(std::optional<uint64_t> limit, uint64_t used) {
  if (!limit) return kUnbounded;
  return *limit - std::min(*limit, used);
}

// "8388608 bytes (8.0 MiB)"; from 1 KiB on with the larger unit.
std::string Bytes(std::optional<uint64_t> bytes) {
  if (!bytes) return "unlimited";
  constexpr std::array<const char*, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::string text = absl::StrCat(*bytes, *bytes == 1 ? " byte" : " bytes");
  double value = static_cast<double>(*bytes) / 1024;
  if (value < 1) return text;
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  std::array<char, 32> larger;
  std::snprintf(larger.data(), larger.size(), " (%.1f %s)", value, kUnits[unit]);
  return text + larger.data();
}

std::string Number(std::optional<uint64_t> number) {
  return number ? absl::StrCat(*number) : "unknown";
}

std::string Headroom(const Limits& limits) {
  if (limits.headroom_bound == Limits::Bound::kNone) return "unknown";
  std::string bound = "the machine";
  if (limits.headroom_bound != Limits::Bound::kSystem) {
    const bool v1 = limits.headroom_bound == Limits::Bound::kCgroupV1;
    bound = absl::StrCat("cgroup v", v1 ? 1 : 2, " ", limits.headroom_cgroup);
  }
  return absl::StrCat(Bytes(limits.headroom_bytes), ", bound by ", bound, " with ",
                      Bytes(limits.headroom_used_bytes), " used of ",
                      Bytes(limits.headroom_limit_bytes));
}

}  // namespace

namespace internal {

Limits LimitsFrom(const os::Limits& limits, const ProcessFacts& facts) {
  Limits result;
  const os::ByteLimit memlock = limits.Memlock();
  result.memlock_soft_bytes = memlock.soft;
  result.memlock_hard_bytes = memlock.hard;
  result.rss_soft_bytes = limits.Rss();
  result.locked_bytes = limits.LockedBytes();
  result.privileged = limits.Privileged();
  result.in_initial_user_namespace = Known(facts.in_initial_user_namespace).value_or(true);
  const os::Headroom headroom = limits.ReadHeadroom();
  result.headroom_bound = FromOs(headroom.bound);
  result.headroom_bytes = headroom.bytes;
  result.headroom_reserve_bytes = ReserveOf(headroom);
  result.headroom_limit_bytes = headroom.limit_bytes;
  result.headroom_used_bytes = headroom.used_bytes;
  result.headroom_cgroup = headroom.group.data();
  result.plock_max_bytes = facts.plock_max_bytes;
  result.pinned_bytes = facts.pinned_bytes;
  result.mappings_max = Known(facts.mappings_max);
  result.mappings = Known(facts.mappings);
  return result;
}

}  // namespace internal

Limits Limits::Read() {
  internal::ProcessFacts facts{.in_initial_user_namespace = os::InInitialUserNamespace(),
                               .mappings_max = os::MaxMappings(),
                               .mappings = os::CountMappings()};
  mpin_stat stat{};
  if (mpin_get_stat(&stat, sizeof(stat)) == 0) {
    const uint64_t page_size = os::RealMemory().page_size();
    facts.pinned_bytes = stat.pages_locked * page_size;
    if (stat.pages_max != 0) facts.plock_max_bytes = stat.pages_max * page_size;
  }
  return internal::LimitsFrom(os::RealLimits(), facts);
}

uint64_t Limits::bytes_lockable() const {
  if (mappings && mappings_max && *mappings >= *mappings_max) return 0;
  const uint64_t memory =
      headroom_bound == Bound::kNone ? kUnbounded : Left(headroom_bytes, headroom_reserve_bytes);
  if (privileged) return memory;
  return std::min({memory, Left(memlock_soft_bytes, locked_bytes),
                   Left(rss_soft_bytes, pinned_bytes), Left(plock_max_bytes, pinned_bytes)});
}

std::string Limits::ToString() const {
  const uint64_t lockable = bytes_lockable();
  return absl::StrCat(
      "lockable: ", lockable == kUnbounded ? "unknown" : Bytes(lockable),
      "\nlocked: ", Bytes(locked_bytes), "\nRLIMIT_MEMLOCK: ", Bytes(memlock_soft_bytes), " soft, ",
      Bytes(memlock_hard_bytes), " hard\npinned: ", Bytes(pinned_bytes),
      "\nRLIMIT_RSS: ", Bytes(rss_soft_bytes), "\nPLOCK_MAX: ", Bytes(plock_max_bytes),
      "\nprivileged: ", privileged ? "yes" : "no",
      "\ninitial user namespace: ", in_initial_user_namespace ? "yes" : "no",
      "\nheadroom: ", Headroom(*this), "\nmappings: ", Number(mappings), " of ",
      Number(mappings_max), "\n");
}

std::ostream& operator<<(std::ostream& out, const Limits& limits) {
  return out << limits.ToString();
}

uint64_t ReserveBytesOf(Limits::Bound bound, uint64_t limit_bytes) {
  os::Headroom headroom;
  headroom.bound = ToOs(bound);
  headroom.limit_bytes = limit_bytes;
  return internal::ReserveOf(headroom);
}

}  // namespace pinlock
