// MachineSettings: what the machine is set to do with memory, as far as it concerns locked pages.
//
// Read-only: files of proc(5) and of /sys/kernel/mm. A setting that cannot be read is nullopt, or
// an empty text: the kernel has no such feature, or a container hides it.

#ifndef OS_MACHINE_SETTINGS_H_
#define OS_MACHINE_SETTINGS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "os/result.h"

namespace os {

struct MachineSettings {
  // /proc/sys/vm, the files' own names and units.
  std::optional<uint64_t> max_map_count;
  std::optional<uint64_t> compact_unevictable_allowed;
  std::optional<uint64_t> overcommit_memory;
  std::optional<uint64_t> nr_hugepages;
  std::optional<uint64_t> panic_on_oom;
  std::optional<uint64_t> swappiness;
  // /proc/sys/kernel.
  std::optional<uint64_t> numa_balancing;
  std::optional<uint64_t> io_uring_disabled;
  // /sys/kernel/mm: ksm/run, and the chosen words of transparent_hugepage/enabled and defrag.
  std::optional<uint64_t> ksm_run;
  std::string huge_pages_enabled;
  std::string huge_pages_defrag;
  std::optional<uint64_t> khugepaged_defrag;
  // /proc/meminfo, in bytes.
  std::optional<uint64_t> swap_bytes;
  std::optional<uint64_t> swap_free_bytes;
  std::optional<uint64_t> commit_limit_bytes;
  std::optional<uint64_t> committed_bytes;
};

// `root` is put before the paths; a test gives another. Safe from every thread; enters the kernel.
MachineSettings ReadMachineSettings(const std::string& root = "");

// Room of a file system, in bytes.
struct FileSystemRoom {
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;  // to ordinary users
};
// Of the one that holds `path`. Errors are those of statvfs(3).
Result<FileSystemRoom> ReadFileSystemRoom(const std::string& path);

}  // namespace os

#endif  // OS_MACHINE_SETTINGS_H_
