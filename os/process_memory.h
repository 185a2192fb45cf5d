// ProcessMemory, PresentPages: what the kernel says of another process' memory.
//
// From /proc/PID, which shows other users' processes in part or not at all. Thread-safe; all calls
// enter the kernel.

#ifndef OS_PROCESS_MEMORY_H_
#define OS_PROCESS_MEMORY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "os/result.h"

namespace os {

struct ProcessMemory {
  std::string name;  // at most 15 bytes, as the process likes: they may be any
  uint64_t locked_bytes = 0;
  uint64_t resident_bytes = 0;
  uint64_t swapped_bytes = 0;
  uint64_t minor_faults = 0;  // since it began, its children not counted
  uint64_t major_faults = 0;
  uint64_t threads = 0;

  // ENOENT: there is no such process. EACCES, EPERM: it may not be looked at.
  static Result<ProcessMemory> Of(int32_t pid, const std::string& proc_root = "/proc");
};

// Where the process has the beginning of a file mapped, or would have: the address of its offset 0,
// by the first mapping of a file whose path is `path`. nullopt: it has none.
Result<std::optional<uint64_t>> FindFileMapping(int32_t pid, const std::string& path,
                                                const std::string& proc_root = "/proc");

// Of each page of the MMU from the address on, whether it is present in the process' page tables: a
// touch of it takes no fault. EACCES, EPERM: it may not be looked at. Fewer than asked for: the end
// of its address space. Throws std::bad_alloc.
Result<std::vector<bool>> PresentPages(int32_t pid, uint64_t address, uint64_t pages);

}  // namespace os

#endif  // OS_PROCESS_MEMORY_H_
