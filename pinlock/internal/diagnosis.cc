#include "pinlock/internal/diagnosis.h"

#include <new>
#include <optional>

#include "os/limits.h"

namespace pinlock::internal {
namespace {

struct Finding {
  Cause cause;
  os::PageNumber where;
};

// Splitting a mapping in two places needs this many more.
constexpr uint64_t kMappingsPerLock = 2;

// Calls `visit(mapping, its part of the range)` for each mapping until it returns a finding.
template <typename Visit>
std::optional<Finding> ForEachMapping(const os::Memory& memory, os::PageRange range, Visit visit) {
  os::PageNumber page = range.begin();
  while (page < range.end()) {
    const os::Result<std::optional<os::Mapping>> found = memory.MappingAt(page);
    if (!found.ok()) return std::nullopt;  // no /proc, or no descriptor: nothing can be told
    if (!found->has_value() || (*found)->pages.begin() > page) return Finding{Cause::kHole, page};
    const os::Mapping& mapping = **found;
    const os::PageRange part = mapping.pages.Intersection(os::PageRange(page, range.end()));
    if (std::optional<Finding> finding = visit(mapping, part)) return finding;
    page = part.end();
  }
  return std::nullopt;
}

// The first page that cannot be read in. Precondition: Populate(pages) fails.
os::PageNumber FirstUnreadable(os::Memory& memory, os::PageRange pages) {
  while (pages.count() > os::PageCount(1)) {
    const os::PageCount half(pages.count().value() / 2);
    const os::PageRange front(pages.begin(), half);
    pages = memory.Populate(front).ok() ? os::PageRange(front.end(), pages.end()) : front;
  }
  return pages.begin();
}

std::optional<Finding> FindBadMapping(os::Memory& memory, os::PageRange range) {
  const auto is_bad = [](const os::Mapping& mapping, os::PageRange part) {
    return mapping.accessible() ? std::nullopt
                                : std::optional<Finding>({Cause::kInaccessible, part.begin()});
  };
  if (std::optional<Finding> finding = ForEachMapping(memory, range, is_bad)) return finding;
  // Without a list of mappings the kernel still tells that there is a hole, but not where.
  if (memory.CheckMapped(range) != os::Errno(ENOMEM)) return std::nullopt;
  return Finding{Cause::kHole, range.begin()};
}

std::optional<Finding> FindBadPage(os::Memory& memory, os::PageRange range) {
  const size_t page_size = memory.page_size();
  return ForEachMapping(
      memory, range, [&](const os::Mapping& mapping, os::PageRange part) -> std::optional<Finding> {
        if (!mapping.readable) return std::nullopt;
        const os::Errno error = memory.Populate(part);
        if (error == os::Errno(EINVAL)) return Finding{Cause::kNotLockable, part.begin()};
        if (error != os::Errno(EFAULT)) return std::nullopt;
        const os::PageNumber page = FirstUnreadable(memory, part);
        const uint64_t offset =
            mapping.file_offset + (page - mapping.pages.begin()).bytes(page_size);
        const std::optional<uint64_t> file_bytes = memory.FileBytes(mapping);
        // Of a file that cannot be found any more the end is not known. Memory that only looks like
        // a file has no blocks to run out of.
        const bool inside = file_bytes ? offset < *file_bytes : mapping.needs_blocks();
        return Finding{inside ? Cause::kFileSystemFull : Cause::kPastEndOfFile, page};
      });
}

void ReadLimits(const os::Limits& limits, Failure& failure) {
  const os::ByteLimit limit = limits.Memlock();
  failure.limit_soft = limit.soft.value_or(Failure::kUnlimited);
  failure.limit_hard = limit.hard.value_or(Failure::kUnlimited);
  failure.bytes_held = limits.LockedBytes();
  const os::Result<bool> claims = os::ClaimsLockCapability();
  const os::Result<bool> initial = os::InInitialUserNamespace();
  failure.privilege_in_namespace_only = claims.ok() && *claims && initial.ok() && !*initial;
}

bool AtMappingLimit(Failure& failure) {
  const os::Result<uint64_t> max = os::MaxMappings();
  const os::Result<uint64_t> count = os::CountMappings();
  if (!max.ok() || !count.ok()) return false;
  failure.mappings_max = *max;
  return *count + kMappingsPerLock >= *max;
}

// What forbids a lock without trying it.
std::optional<Finding> FindObstacle(os::Memory& memory, os::PageRange range, os::PageCount needed) {
  // A bad range first: no limit that is raised would cure it.
  if (std::optional<Finding> bad = FindBadMapping(memory, range)) return bad;
  const os::Errno limit = memory.CheckLockLimit(needed);
  if (limit.ok()) return std::nullopt;
  return Finding{limit == os::Errno(EPERM) ? Cause::kLimitZero : Cause::kLimit, {}};
}

Finding FindCause(os::Memory& memory, os::PageRange range, os::PageCount needed, os::Errno kernel,
                  Failure& failure) {
  if (std::optional<Finding> obstacle = FindObstacle(memory, range, needed)) return *obstacle;
  if (kernel == os::Errno(EPERM)) return {Cause::kLimitZero, {}};
  if (kernel == os::Errno(EAGAIN)) return {Cause::kNoMemory, {}};
  if (std::optional<Finding> bad = FindBadPage(memory, range)) return *bad;
  return {AtMappingLimit(failure) ? Cause::kTooManyMappings : Cause::kNoMemory, {}};
}

void Report(const Finding& finding, const os::Memory& memory, const os::Limits& limits,
            os::PageCount needed, Failure& failure) {
  failure.cause = finding.cause;
  failure.error = ErrnoOf(finding.cause);
  failure.where = finding.where.address(memory.page_size());
  failure.bytes_needed = needed.bytes(memory.page_size());
  if (finding.cause == Cause::kLimit || finding.cause == Cause::kLimitZero) {
    ReadLimits(limits, failure);
  }
}

}  // namespace

void Diagnose(os::Memory& memory, const os::Limits& limits, os::PageRange range,
              os::PageCount needed, os::Errno kernel, Failure& failure) {
  try {
    Report(FindCause(memory, range, needed, kernel, failure), memory, limits, needed, failure);
  } catch (const std::bad_alloc&) {
    Report({Cause::kNoMemory, {}}, memory, limits, needed, failure);  // no memory to find out
  }
}

bool DiagnoseBeforehand(os::Memory& memory, const os::Limits& limits, os::PageRange range,
                        os::PageCount needed, Failure& failure) {
  const std::optional<Finding> obstacle = FindObstacle(memory, range, needed);
  if (obstacle) Report(*obstacle, memory, limits, needed, failure);
  return obstacle.has_value();
}

os::PageNumber FirstUnmapped(const os::Memory& memory, os::PageRange range) {
  const auto none = [](const os::Mapping&, os::PageRange) { return std::optional<Finding>(); };
  const std::optional<Finding> hole = ForEachMapping(memory, range, none);
  return hole ? hole->where : range.end();
}

}  // namespace pinlock::internal
