// What this process has locked, by the kernel's word.

#ifndef BENCHMARKS_LOCKED_BYTES_H_
#define BENCHMARKS_LOCKED_BYTES_H_

#include <cstdint>

namespace benchmarks {

// VmLck of /proc/self/status. Ends the program where that cannot be read.
uint64_t LockedBytes();

}  // namespace benchmarks

#endif  // BENCHMARKS_LOCKED_BYTES_H_
