// What a figure means depends on where it was taken.

#ifndef BENCHMARKS_MACHINE_H_
#define BENCHMARKS_MACHINE_H_

#include <string>

namespace benchmarks {

// One line: the processor and how many of it, memory, kernel, transparent huge pages, the version
// of the memory cgroup, the lock limit, and whether this program is optimised. What cannot be read
// is
// "unknown".
std::string DescribeMachine();

}  // namespace benchmarks

#endif  // BENCHMARKS_MACHINE_H_
