#include "os/headroom.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "os/cgroup_mount.h"
#include "os/line_reader.h"

namespace os {
namespace {

constexpr uint64_t kMax = ~uint64_t{0};
// What version 1 shows for "no limit" is just below 2^63, rounded to the page size.
constexpr uint64_t kHuge = uint64_t{1} << 60;

// Sums that end at the greatest number, differences that end at 0.
uint64_t Add(uint64_t a, uint64_t b) { return a > kMax - b ? kMax : a + b; }
uint64_t Subtract(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

// The names of one version's files and statistics. Those of version 1 that end in _in_bytes count
// the cgroup alone where it has `use_hierarchy` 0; its `total_` statistics are those of the tree.
struct Names {
  const char* limit;
  const char* usage;
  const char* inactive_file;
  const char* active_file;
  const char* slab;  // caches of the kernel that shrink on demand; empty: not published
};

constexpr Names kVersion1 = {"memory.limit_in_bytes", "memory.usage_in_bytes",
                             "total_inactive_file", "total_active_file", ""};
constexpr Names kVersion2 = {"memory.max", "memory.current", "inactive_file", "active_file",
                             "slab_reclaimable"};
// Version 1 can bound memory and swap together.
constexpr const char* kSwapLimit1 = "memory.memsw.limit_in_bytes";
constexpr const char* kSwapUsage1 = "memory.memsw.usage_in_bytes";

// Of the machine, in bytes.
struct System {
  std::optional<uint64_t> total, available;
};

// Of a cgroup and those below it, in bytes.
struct Statistics {
  uint64_t cache = 0;
  // The lowest limits here and above, where version 1 shows them: memory, memory and swap.
  // 0: not shown.
  uint64_t limit = 0;
  uint64_t swap_limit = 0;
};

// Appends a name to a path for as long as it lives.
class Below {
 public:
  Below(PathBuffer& path, const char* name) : path_(path), size_(path.size()) {
    ok_ = path_.Append("/") && path_.Append(name);
  }
  Below(const Below&) = delete;
  Below& operator=(const Below&) = delete;
  ~Below() { path_.Truncate(size_); }
  // "" opens nothing.
  const char* c_str() const { return ok_ ? path_.c_str() : ""; }

 private:
  PathBuffer& path_;
  const size_t size_;
  bool ok_;
};

std::optional<uint64_t> NumberIn(PathBuffer& directory, const char* name) {
  return ReadNumber(Below(directory, name).c_str());
}

// kMax: no limit.
uint64_t LimitIn(PathBuffer& directory, const char* name) {
  const uint64_t limit = NumberIn(directory, name).value_or(kMax);
  return limit < kHuge ? limit : kMax;
}

System ReadSystem(PathBuffer& proc) {
  System system;
  LineReader lines(Below(proc, "meminfo").c_str());
  while (const std::optional<std::string_view> line = lines.Next()) {
    const auto bytes_of = [&](std::string_view key) -> std::optional<uint64_t> {
      const std::optional<std::string_view> value = ValueOf(*line, key);
      const std::optional<uint64_t> kib = value ? ParseNumber(*value) : std::nullopt;
      return kib && *kib < kHuge / 1024 ? std::optional(*kib * 1024) : std::nullopt;
    };
    if (const auto total = bytes_of("MemTotal")) system.total = total;
    if (const auto available = bytes_of("MemAvailable")) {
      system.available = available;
      break;  // the last one of those
    }
  }
  return system;
}

// nullopt: not one of the numbers could be read.
std::optional<Statistics> ReadStatistics(PathBuffer& directory, const Names& names) {
  Statistics statistics;
  bool any = false;
  LineReader lines(Below(directory, "memory.stat").c_str());
  while (const std::optional<std::string_view> line = lines.Next()) {
    const auto add = [&](const char* key, uint64_t& sum) {
      const std::optional<std::string_view> value = ValueOf(*line, key);
      const std::optional<uint64_t> bytes = value ? ParseNumber(*value) : std::nullopt;
      if (!bytes) return;
      sum = Add(sum, *bytes);
      any = true;
    };
    add(names.inactive_file, statistics.cache);
    add(names.active_file, statistics.cache);
    if (*names.slab != '\0') add(names.slab, statistics.cache);
    add("hierarchical_memory_limit", statistics.limit);
    add("hierarchical_memsw_limit", statistics.swap_limit);
  }
  return any ? std::optional(statistics) : std::nullopt;
}

// Collects bounds and keeps the tightest.
class Tightest {
 public:
  void Offer(Headroom::Bound bound, std::string_view group, uint64_t limit, uint64_t used,
             uint64_t reclaimable) {
    const uint64_t bytes = Subtract(Add(limit, std::min(reclaimable, used)), used);
    if (headroom_.bound != Headroom::Bound::kNone && bytes >= headroom_.bytes) return;
    headroom_ = {bound, bytes, limit, used, {}};
    group = group.substr(0, headroom_.group.size() - 1);
    std::copy(group.begin(), group.end(), headroom_.group.begin());
  }
  const Headroom& get() const { return headroom_; }

 private:
  Headroom headroom_;
};

// Offers the bounds of a cgroup of version 1. `own`: its statistics, where it is the process' own.
// `swap_limits`: whether some cgroup bounds memory and swap together.
void OfferGroup1(PathBuffer& directory, const std::optional<Statistics>* own, bool swap_limits,
                 Tightest& tightest) {
  const Names& names = kVersion1;
  const uint64_t limit = LimitIn(directory, names.limit);
  const uint64_t swap_limit = swap_limits ? LimitIn(directory, kSwapLimit1) : kMax;
  if (limit == kMax && swap_limit == kMax) return;
  // A kernel older than 5.11 may be told that a cgroup does not bound those below it.
  if (own == nullptr && NumberIn(directory, "memory.use_hierarchy") == 0u) return;
  const auto statistics = own != nullptr ? *own : ReadStatistics(directory, names);
  if (!statistics) return;
  const auto offer = [&](uint64_t bytes, const char* usage) {
    const std::optional<uint64_t> used = NumberIn(directory, usage);
    if (bytes == kMax || !used) return;
    tightest.Offer(Headroom::Bound::kCgroupV1, directory.view(), bytes, *used, statistics->cache);
  };
  offer(limit, names.usage);
  offer(swap_limit, kSwapUsage1);
}

// The same of version 2.
void OfferGroup2(PathBuffer& directory, Tightest& tightest) {
  const Names& names = kVersion2;
  const uint64_t limit = LimitIn(directory, names.limit);
  if (limit == kMax) return;
  const std::optional<uint64_t> used = NumberIn(directory, names.usage);
  const std::optional<Statistics> statistics = ReadStatistics(directory, names);
  if (!used || !statistics) return;
  tightest.Offer(Headroom::Bound::kCgroupV2, directory.view(), limit, *used, statistics->cache);
}

// Calls `visit(directory, whether it is the process' own)` from the mount point down.
template <typename Visit>
void ForEachGroup(const MemoryCgroup& cgroup, Visit visit) {
  const std::string_view whole = cgroup.directory.view();
  PathBuffer directory;
  for (size_t end = cgroup.mount_size;; end = std::min(whole.find('/', end + 1), whole.size())) {
    (void)directory.Append(whole.substr(directory.size(), end - directory.size()));
    visit(directory, end == whole.size());
    if (end == whole.size()) return;
  }
}

void OfferGroups1(MemoryCgroup& cgroup, Tightest& tightest) {
  const std::optional<Statistics> own = ReadStatistics(cgroup.directory, kVersion1);
  // Every file costs: mostly there is no limit, or none of the second kind, which can be seen here.
  const bool limits = !own || own->limit < kHuge;
  const bool swap_limits = !own || (own->swap_limit > 0 && own->swap_limit < kHuge);
  if (!limits && !swap_limits) return;
  ForEachGroup(cgroup, [&](PathBuffer& directory, bool is_own) {
    OfferGroup1(directory, is_own ? &own : nullptr, swap_limits, tightest);
  });
}

void OfferGroups2(const MemoryCgroup& cgroup, Tightest& tightest) {
  ForEachGroup(cgroup, [&](PathBuffer& directory, bool) { OfferGroup2(directory, tightest); });
}

}  // namespace

Headroom ReadHeadroom(const char* proc_root, const char* file_root, const char* process) {
  Tightest tightest;
  PathBuffer proc;
  if (!proc.Append(proc_root)) return tightest.get();
  const System system = ReadSystem(proc);
  if (system.available && system.total) {
    tightest.Offer(Headroom::Bound::kSystem, {}, *system.total,
                   Subtract(*system.total, *system.available), 0);
  }
  MemoryCgroup cgroup;
  FindMemoryCgroup(proc_root, file_root, cgroup, process);
  if (cgroup.version == 1) OfferGroups1(cgroup, tightest);
  if (cgroup.version == 2) OfferGroups2(cgroup, tightest);
  return tightest.get();
}

}  // namespace os
