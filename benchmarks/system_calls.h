// CountSystemCalls: how often a piece of code enters the kernel, by the kernel's own word.
//
// The code runs in a child that this process traces (ptrace(2)), so it counts whatever the C
// library or anybody else does as well, and knows nothing of what the code believes about itself.

#ifndef BENCHMARKS_SYSTEM_CALLS_H_
#define BENCHMARKS_SYSTEM_CALLS_H_

#include <cstdint>
#include <functional>
#include <optional>

namespace benchmarks {

// Runs `prepare` in a child made by fork(2), then the function that it returned, and tells how many
// system calls the latter made. Page faults and interrupts are none. nullopt: tracing is not
// allowed here. Where the child dies, this program ends with status 1. Precondition: no other
// thread runs.
std::optional<uint64_t> CountSystemCalls(const std::function<std::function<void()>()>& prepare);

}  // namespace benchmarks

#endif  // BENCHMARKS_SYSTEM_CALLS_H_
