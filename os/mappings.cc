#include "os/mappings.h"

#include <linux/types.h>
#include <sys/ioctl.h>

#include <cctype>
#include <charconv>
#include <climits>
#include <fstream>
#include <string>

#include "os/descriptor.h"

namespace os {
namespace {

// The ioctl's argument as the kernel's ABI lays it out; Debian 12's headers are older than it.
struct ProcmapQuery {
  __u64 size;
  __u64 query_flags;
  __u64 query_address;
  __u64 begin;
  __u64 end;
  __u64 flags;
  __u64 page_size;
  __u64 file_offset;
  __u64 inode;
  __u32 device_major;
  __u32 device_minor;
  __u32 name_size;
  __u32 build_id_size;
  __u64 name_address;
  __u64 build_id_address;
};
static_assert(sizeof(ProcmapQuery) == 104);

constexpr unsigned long kProcmapQuery = _IOWR('f', 17, ProcmapQuery);
constexpr __u64 kReadable = 1, kWritable = 2, kExecutable = 4, kShared = 8;
constexpr __u64 kCoveringOrNext = 0x10;

// Consumes a number in `base` and the separator after it.
bool Consume(std::string_view& text, uint64_t& value, int base, char separator) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end == text.data() + text.size() || *end != separator) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()) + 1);
  return true;
}

bool StartsWith(const std::string& text, std::string_view prefix) {
  return std::string_view(text).starts_with(prefix);
}

// The inode of a segment of shmget(2) is its number, which may be 0.
bool IsOfAFile(uint64_t inode, std::string_view name) {
  return inode != 0 || name.starts_with("/SYSV");
}

}  // namespace

bool Mapping::needs_blocks() const {
  return shared && writable && file_backed && !huge_pages && !StartsWith(file_path, "/memfd:") &&
         !StartsWith(file_path, "/SYSV") && !StartsWith(file_path, "/dev/zero");
}

std::optional<Mapping> ParseMapsLine(std::string_view line, size_t page_size) {
  uint64_t begin = 0, end = 0, offset = 0, device_major = 0, device_minor = 0, inode = 0;
  if (!Consume(line, begin, 16, '-') || !Consume(line, end, 16, ' ')) return std::nullopt;
  if (line.size() < 5 || line[4] != ' ') return std::nullopt;
  Mapping mapping;
  mapping.pages = PageRange(PageNumber(begin / page_size), PageNumber(end / page_size));
  mapping.readable = line[0] == 'r';
  mapping.writable = line[1] == 'w';
  mapping.executable = line[2] == 'x';
  mapping.shared = line[3] == 's';
  line.remove_prefix(5);
  if (!Consume(line, offset, 16, ' ') || !Consume(line, device_major, 16, ':') ||
      !Consume(line, device_minor, 16, ' ')) {
    return std::nullopt;
  }
  const auto [rest, error] = std::from_chars(line.data(), line.data() + line.size(), inode);
  if (error != std::errc()) return std::nullopt;
  line.remove_prefix(static_cast<size_t>(rest - line.data()));
  while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
  mapping.file_backed = IsOfAFile(inode, line);
  mapping.file_offset = offset;
  if (mapping.file_backed) {
    mapping.file_path = std::string(line);
    mapping.file = {device_major, device_minor, inode};
  }
  return mapping;
}

Result<std::optional<Mapping>> FindMappingInText(PageNumber page, size_t page_size) {
  std::ifstream maps("/proc/thread-self/maps");
  if (!maps) return Errno(ENOENT);
  std::string line;
  while (std::getline(maps, line)) {
    std::optional<Mapping> mapping = ParseMapsLine(line, page_size);
    if (!mapping) return Errno(EIO);
    if (line.ends_with("[vsyscall]")) break;  // the last line on x86: the kernel's own page
    if (mapping->pages.end() > page) return mapping;
  }
  return std::optional<Mapping>();
}

Result<std::optional<Mapping>> FindMappingByQuery(PageNumber page, size_t page_size) {
  // Opened at each call: a descriptor from before a fork would go on describing the parent.
  Result<OwnedDescriptor> maps = OpenForReading("/proc/thread-self/maps");
  if (!maps.ok()) return maps.error();
  char name[PATH_MAX] = {};
  ProcmapQuery query{};
  query.size = sizeof(query);
  query.query_flags = kCoveringOrNext;
  query.query_address = page.address(page_size);
  query.name_size = sizeof(name);
  query.name_address = reinterpret_cast<uintptr_t>(name);
  if (ioctl(maps->get(), kProcmapQuery, &query) != 0) {
    if (errno == ENOENT) return std::optional<Mapping>();
    return Errno(ENOTSUP);
  }
  Mapping mapping;
  mapping.pages = PageRange(PageNumber(query.begin / page_size), PageNumber(query.end / page_size));
  mapping.readable = (query.flags & kReadable) != 0;
  mapping.writable = (query.flags & kWritable) != 0;
  mapping.executable = (query.flags & kExecutable) != 0;
  mapping.shared = (query.flags & kShared) != 0;
  mapping.file_backed = IsOfAFile(query.inode, name);
  mapping.file_offset = query.file_offset;
  mapping.huge_pages = query.page_size != page_size;
  if (mapping.file_backed) {
    mapping.file_path = name;
    mapping.file = {query.device_major, query.device_minor, query.inode};
  }
  return std::optional<Mapping>(std::move(mapping));
}

Result<std::optional<Mapping>> FindMapping(PageNumber page, size_t page_size) {
  Result<std::optional<Mapping>> found = FindMappingByQuery(page, page_size);
  return found.error() == Errno(ENOTSUP) ? FindMappingInText(page, page_size) : found;
}

}  // namespace os
