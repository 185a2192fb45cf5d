// ProcessIdentity: a process, told from a later one with the same number.
//
// For memory that processes share: who is written down there may be gone, and its number in use
// again.

#ifndef OS_PROCESS_IDENTITY_H_
#define OS_PROCESS_IDENTITY_H_

#include <cstdint>

namespace os {

// Plain data; of zero bytes it is nobody.
struct ProcessIdentity {
  int32_t pid = 0;              // in its pid namespace
  uint64_t started = 0;         // clock ticks since its time namespace's start; 0: cannot be told
  uint64_t pid_namespace = 0;   // its inode; 0: cannot be told
  uint64_t time_namespace = 0;  // the same; or the kernel has none

  // The calling process, as of now: a forked child is another. Reads /proc. Thread-safe.
  static ProcessIdentity OfThisProcess();

  // Whether it is certain that the process is no more, or is a zombie of which no thread runs any
  // more. In another pid namespace, or without /proc, nothing is; where /proc is that of another
  // pid namespace, or the time namespaces differ, less is. Reads /proc. Thread-safe.
  bool IsGone() const;

  friend bool operator==(const ProcessIdentity&, const ProcessIdentity&) = default;
};

}  // namespace os

#endif  // OS_PROCESS_IDENTITY_H_
