// ProcessGeneration: this process, as long as it is the same.

#ifndef RSM_INTERNAL_GENERATION_H_
#define RSM_INTERNAL_GENERATION_H_

#include <atomic>
#include <cstdint>

namespace rsm::internal {

// Another number in a forked child than in its parent. What belongs to the process notes it down.
inline constinit std::atomic<uint32_t> process_generation = 1;
inline uint32_t ProcessGeneration() { return process_generation.load(std::memory_order_relaxed); }

// Threads of this library in this process. They never write to the program's memory.
inline constinit std::atomic<uint32_t> service_threads = 0;

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_GENERATION_H_
