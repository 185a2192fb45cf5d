#include "os/machine_settings.h"

#include <sys/statvfs.h>

#include <string_view>

#include "os/errno.h"
#include "os/line_reader.h"

namespace os {
namespace {

// Of "always [madvise] never" the word in brackets; of other lines the whole.
std::string ChosenWord(const std::string& path) {
  LineReader file(path.c_str());
  const std::optional<std::string_view> line = file.Next();
  if (!line) return {};
  const size_t begin = line->find('[');
  const size_t end = line->find(']');
  if (begin == line->npos || end == line->npos || end < begin) return std::string(*line);
  return std::string(line->substr(begin + 1, end - begin - 1));
}

void ReadMeminfo(const std::string& path, MachineSettings& settings) {
  LineReader lines(path.c_str());
  while (const std::optional<std::string_view> line = lines.Next()) {
    const auto read = [&](std::string_view key, std::optional<uint64_t>& bytes) {
      const std::optional<std::string_view> value = ValueOf(*line, key);
      const std::optional<uint64_t> kib = value ? ParseNumber(*value) : std::nullopt;
      if (kib && *kib <= ~uint64_t{0} / 1024) bytes = *kib * 1024;
    };
    read("SwapTotal", settings.swap_bytes);
    read("SwapFree", settings.swap_free_bytes);
    read("CommitLimit", settings.commit_limit_bytes);
    read("Committed_AS", settings.committed_bytes);
  }
}

}  // namespace

MachineSettings ReadMachineSettings(const std::string& root) {
  const auto number = [&root](const char* path) { return ReadNumber((root + path).c_str()); };
  MachineSettings settings;
  settings.max_map_count = number("/proc/sys/vm/max_map_count");
  settings.compact_unevictable_allowed = number("/proc/sys/vm/compact_unevictable_allowed");
  settings.overcommit_memory = number("/proc/sys/vm/overcommit_memory");
  settings.nr_hugepages = number("/proc/sys/vm/nr_hugepages");
  settings.panic_on_oom = number("/proc/sys/vm/panic_on_oom");
  settings.swappiness = number("/proc/sys/vm/swappiness");
  settings.numa_balancing = number("/proc/sys/kernel/numa_balancing");
  settings.io_uring_disabled = number("/proc/sys/kernel/io_uring_disabled");
  settings.ksm_run = number("/sys/kernel/mm/ksm/run");
  const std::string huge = root + "/sys/kernel/mm/transparent_hugepage";
  settings.huge_pages_enabled = ChosenWord(huge + "/enabled");
  settings.huge_pages_defrag = ChosenWord(huge + "/defrag");
  settings.khugepaged_defrag = ReadNumber((huge + "/khugepaged/defrag").c_str());
  ReadMeminfo(root + "/proc/meminfo", settings);
  return settings;
}

Result<FileSystemRoom> ReadFileSystemRoom(const std::string& path) {
  struct statvfs room {};
  if (statvfs(path.c_str(), &room) != 0) return Errno::Last();
  return FileSystemRoom{room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize};
}

}  // namespace os
