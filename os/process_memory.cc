#include "os/process_memory.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>
#include <span>
#include <string_view>

#include "os/descriptor.h"
#include "os/line_reader.h"
#include "os/positioned_io.h"

namespace os {
namespace {

std::string PathOf(const std::string& proc_root, int32_t pid, const char* file) {
  return proc_root + "/" + std::to_string(pid) + "/" + file;
}

// The contents of a file of /proc; ENOENT where the process ends meanwhile.
Result<std::string> ReadText(const std::string& path) {
  errno = 0;
  std::ifstream file(path);
  if (!file) return Errno(errno != 0 ? errno : EIO);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.empty()) return Errno(ENOENT);
  return text;
}

void TakeStatusLine(std::string_view line, ProcessMemory& memory) {
  const struct {
    const char* key;
    uint64_t& bytes;
  } sizes[] = {{"VmLck", memory.locked_bytes},
               {"VmRSS", memory.resident_bytes},
               {"VmSwap", memory.swapped_bytes}};
  for (const auto& [key, bytes] : sizes) {
    if (const auto value = ValueOf(line, key)) bytes = ParseNumber(*value).value_or(0) * 1024;
  }
  if (const auto value = ValueOf(line, "Threads")) {
    memory.threads = ParseNumber(*value).value_or(0);
  }
}

}  // namespace

Result<ProcessMemory> ProcessMemory::Of(int32_t pid, const std::string& proc_root) {
  const Result<std::string> status = ReadText(PathOf(proc_root, pid, "status"));
  if (!status.ok()) return status.error();
  const Result<std::string> stat = ReadText(PathOf(proc_root, pid, "stat"));
  if (!stat.ok()) return stat.error();
  ProcessMemory memory;
  for (size_t at = 0; at < status->size();) {
    const size_t end = std::min(status->find('\n', at), status->size());
    TakeStatusLine(std::string_view(*status).substr(at, end - at), memory);
    at = end + 1;
  }
  // "PID (NAME) STATE PPID ...": a name may hold anything, so its last bracket counts. Fields 10 and
  // 12 of proc(5) are the faults; the third comes after the bracket.
  const size_t open = stat->find('('), close = stat->rfind(')');
  if (open == stat->npos || close == stat->npos) return Errno(EPROTO);
  memory.name = stat->substr(open + 1, close - open - 1);
  std::string_view rest = std::string_view(*stat).substr(close + 1);
  for (int field = 3; field <= 12 && !rest.empty(); ++field) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const std::string_view word = rest.substr(0, rest.find(' '));
    if (field == 10) memory.minor_faults = ParseNumber(word).value_or(0);
    if (field == 12) memory.major_faults = ParseNumber(word).value_or(0);
    rest.remove_prefix(word.size());
  }
  return memory;
}

// "START-END PERMS OFFSET DEV INODE      PATH", numbers in hexadecimal.
Result<std::optional<uint64_t>> FindFileMapping(int32_t pid, const std::string& path,
                                                const std::string& proc_root) {
  errno = 0;
  std::ifstream maps(PathOf(proc_root, pid, "maps"));
  if (!maps) return Errno(errno != 0 ? errno : EIO);
  const auto number_at = [](const std::string& line, size_t at) {
    uint64_t number = 0;
    std::from_chars(line.data() + at, line.data() + line.size(), number, 16);
    return number;
  };
  for (std::string line; std::getline(maps, line);) {
    if (!line.ends_with(" " + path)) continue;
    const size_t perms = line.find(' ');
    const size_t offset = perms == line.npos ? perms : line.find(' ', perms + 1);
    if (offset == line.npos) continue;
    return std::optional<uint64_t>(number_at(line, 0) - number_at(line, offset + 1));
  }
  return std::optional<uint64_t>();
}

Result<std::vector<bool>> PresentPages(int32_t pid, uint64_t address, uint64_t pages) {
  constexpr uint64_t kPresent = uint64_t{1} << 63;
  const Result<OwnedDescriptor> pagemap = OpenForReading(PathOf("/proc", pid, "pagemap"));
  if (!pagemap.ok()) return pagemap.error();
  const uint64_t page_bytes = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  std::vector<bool> present;
  present.reserve(pages);
  std::array<uint64_t, 1024> entries;
  while (present.size() < pages) {
    const uint64_t wanted = std::min<uint64_t>(entries.size(), pages - present.size());
    const std::span<uint64_t> part = std::span(entries).first(wanted);
    const uint64_t first = address / page_bytes + present.size();
    const Result<size_t> read =
        ReadFully(pagemap->get(), std::as_writable_bytes(part), first * sizeof(uint64_t));
    if (!read.ok()) return read.error();
    const size_t got = *read / sizeof(uint64_t);
    for (const uint64_t entry : part.first(got)) present.push_back((entry & kPresent) != 0);
    if (got < wanted) break;
  }
  return present;
}

}  // namespace os
