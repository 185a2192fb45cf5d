#include "os/limits.h"

#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <fstream>
#include <string>
#include <string_view>

namespace os {
namespace {

std::optional<uint64_t> FromRlimit(rlim_t value) {
  if (value == RLIM_INFINITY) return std::nullopt;
  return value;
}

// The text after "KEY:" and white space in a file of such lines. ENOENT: no such file or key.
Result<std::string> FieldOf(const char* path, std::string_view key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') continue;
    const size_t begin = line.find_first_not_of(" \t", key.size() + 1);
    return begin == std::string::npos ? std::string() : line.substr(begin);
  }
  return Errno(ENOENT);
}

Result<uint64_t> ParseNumber(std::string_view text, int base) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end == text.data()) return Errno(EINVAL);
  return value;
}

}  // namespace

ByteLimit MemlockLimit() {
  rlimit limit{};
  (void)getrlimit(RLIMIT_MEMLOCK, &limit);  // fails only for an unknown resource
  return {FromRlimit(limit.rlim_cur), FromRlimit(limit.rlim_max)};
}

Result<uint64_t> LockedBytes() {
  const Result<std::string> field = FieldOf("/proc/self/status", "VmLck");
  if (!field.ok()) return field.error();
  const Result<uint64_t> kib = ParseNumber(*field, 10);
  if (!kib.ok()) return kib.error();
  return *kib * 1024;
}

Result<bool> ClaimsLockCapability() {
  constexpr int kCapIpcLock = 14;
  const Result<std::string> field = FieldOf("/proc/self/status", "CapEff");
  if (!field.ok()) return field.error();
  const Result<uint64_t> set = ParseNumber(*field, 16);
  if (!set.ok()) return set.error();
  return (*set >> kCapIpcLock & 1) != 0;
}

Result<bool> InInitialUserNamespace() {
  std::ifstream map("/proc/self/uid_map");
  if (!map) return true;  // a kernel without user namespaces
  uint64_t inside = 0, outside = 0, count = 0;
  if (!(map >> inside >> outside >> count)) return false;  // a new namespace without a map
  return inside == 0 && outside == 0 && count == 0xffffffff;
}

Result<uint64_t> MaxMappings() {
  std::ifstream file("/proc/sys/vm/max_map_count");
  uint64_t value = 0;
  if (!(file >> value)) return Errno(ENOENT);
  return value;
}

Result<uint64_t> CountMappings() {
  std::ifstream maps("/proc/self/maps");
  if (!maps) return Errno(ENOENT);
  uint64_t count = 0;
  std::string line;
  while (std::getline(maps, line)) {
    if (!line.ends_with("[vsyscall]")) ++count;  // on x86 the kernel's own page, in nobody's count
  }
  return count;
}

uint64_t PhysicalMemoryBytes() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page_size = sysconf(_SC_PAGESIZE);
  return static_cast<uint64_t>(pages) * static_cast<uint64_t>(page_size);
}

}  // namespace os
