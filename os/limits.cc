#include "os/limits.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "os/headroom.h"
#include "os/line_reader.h"
#include "os/privilege.h"

namespace os {
namespace {

std::optional<uint64_t> FromRlimit(rlim_t value) {
  if (value == RLIM_INFINITY) return std::nullopt;
  return value;
}

// The number after "KEY:" in /proc/self/status. ENOENT: no such file or key.
Result<uint64_t> StatusField(std::string_view key, int base) {
  LineReader lines("/proc/thread-self/status");
  while (const std::optional<std::string_view> line = lines.Next()) {
    const std::optional<std::string_view> text = ValueOf(*line, key);
    if (!text) continue;
    const std::optional<uint64_t> value = ParseNumber(*text, base);
    if (!value) return Errno(EINVAL);
    return *value;
  }
  return Errno(ENOENT);
}

class KernelLimits final : public Limits {
 public:
  ByteLimit Memlock() const override { return MemlockLimit(); }

  std::optional<uint64_t> Rss() const override {
    // Read at every first pin. The C library's getrlimit calls prlimit(2), which looks for a process
    // and asks for permission, and costs twice as much.
    rlimit limit{};
    (void)syscall(SYS_getrlimit, RLIMIT_RSS, &limit);  // fails only for an unknown resource
    return FromRlimit(limit.rlim_cur);
  }

  uint64_t LockedBytes() const override {
    const Result<uint64_t> bytes = os::LockedBytes();
    return bytes.ok() ? *bytes : 0;
  }

  Headroom ReadHeadroom() const override { return os::ReadHeadroom(); }
  bool Privileged() const override { return HasLockPrivilege(); }
};

}  // namespace

Limits& RealLimits() {
  static KernelLimits limits;
  return limits;
}

ByteLimit MemlockLimit() {
  rlimit limit{};
  (void)getrlimit(RLIMIT_MEMLOCK, &limit);  // fails only for an unknown resource
  return {FromRlimit(limit.rlim_cur), FromRlimit(limit.rlim_max)};
}

Result<uint64_t> LockedBytes() {
  const Result<uint64_t> kib = StatusField("VmLck", 10);
  if (!kib.ok()) return kib.error();
  return *kib * 1024;
}

Result<bool> ClaimsLockCapability() {
  constexpr int kCapIpcLock = 14;
  const Result<uint64_t> set = StatusField("CapEff", 16);
  if (!set.ok()) return set.error();
  return (*set >> kCapIpcLock & 1) != 0;
}

Result<bool> InInitialUserNamespace() { return IsInitialUidMap("/proc/thread-self/uid_map"); }

Result<bool> IsInitialUidMap(const char* path) {
  LineReader map(path);
  if (!map.ok()) return true;  // a kernel without user namespaces
  const std::optional<std::string_view> line = map.Next();
  if (!line) return false;   // a new namespace without a map
  uint64_t numbers[3] = {};  // inside, outside, count
  std::string_view rest = *line;
  for (uint64_t& number : numbers) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const std::optional<uint64_t> value = ParseNumber(rest);
    if (!value) return false;
    number = *value;
    rest.remove_prefix(std::min(rest.find(' '), rest.size()));
  }
  return numbers[0] == 0 && numbers[1] == 0 && numbers[2] == 0xffffffff;
}

Result<uint64_t> MaxMappings() {
  const std::optional<uint64_t> value = ReadNumber("/proc/sys/vm/max_map_count");
  if (!value) return Errno(ENOENT);
  return *value;
}

Result<uint64_t> CountMappings() { return CountMappingsIn("/proc/thread-self/maps"); }

Result<uint64_t> CountMappingsIn(const char* path) {
  LineReader maps(path);
  if (!maps.ok()) return Errno(ENOENT);
  uint64_t count = 0;
  while (const std::optional<std::string_view> line = maps.Next()) {
    if (!line->ends_with("[vsyscall]")) ++count;  // on x86 the kernel's own page, in nobody's count
  }
  return count;
}

uint64_t PhysicalMemoryBytes() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page_size = sysconf(_SC_PAGESIZE);
  return static_cast<uint64_t>(pages) * static_cast<uint64_t>(page_size);
}

}  // namespace os
