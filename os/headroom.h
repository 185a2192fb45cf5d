// ReadHeadroom: how much memory may still become resident, by what the kernel publishes.
//
// mlock(2) in a full memory cgroup does not fail: the kernel kills the process, or a sibling of it.
// So the room has to be known before. Read are /proc/meminfo, and limit, usage and statistics of
// the process' memory cgroup and of each one above it (version 1 or 2) up to the mount point.
//
// Counted as free is what the kernel can take back from a cgroup without harm: its page cache. Not
// anonymous pages, though there be swap space: the kernel kills before it has swapped out enough.
// Files that are absent or make no sense: their bound does not apply.
//
// No allocation, no exception. Safe from every thread; enters the kernel some twenty times. Needs
// 12 KiB of stack.

#ifndef OS_HEADROOM_H_
#define OS_HEADROOM_H_

#include "os/limits.h"

namespace os {

// `proc_root` stands for /proc; `file_root` is put before the mount points that its
// self/mountinfo names. A test gives others. `process` is the number of another one than this.
Headroom ReadHeadroom(const char* proc_root = "/proc", const char* file_root = "",
                      const char* process = "self");

}  // namespace os

#endif  // OS_HEADROOM_H_
