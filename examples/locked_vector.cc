// A vector whose elements are locked in memory: adding one takes no page fault, and none of them
// gets into swap. First it is asked how much may be locked at all.
//
//   c++ -std=c++20 locked_vector.cc $(pkg-config --cflags --libs pinlock absl_status absl_strings)

#include <cstddef>
#include <iostream>
#include <memory_resource>
#include <new>
#include <vector>

#include "pinlock/limits.h"
#include "pinlock/locked_memory_resource.h"

int main() {
  constexpr size_t kInitialBytes = 256 * 1024;
  constexpr size_t kMaximumBytes = 1024 * 1024;

  const pinlock::Limits limits = pinlock::Limits::Read();
  std::cout << limits;
  if (limits.bytes_lockable() < kMaximumBytes) std::cout << "that may not be enough\n";

  pinlock::LockedMemoryResource memory(
      {.initial_bytes = kInitialBytes, .maximum_bytes = kMaximumBytes});
  std::pmr::vector<double> samples(&memory);
  try {
    samples.reserve(10000);  // 80,000 bytes: the initial ones have room for them
    for (int i = 0; i < 10000; ++i) samples.push_back(i / 8.0);  // takes no page fault
    std::cout << samples.size() << " samples in " << memory.locked_bytes() << " locked bytes\n";
  } catch (const std::bad_alloc&) {
    std::cerr << memory.last_error() << "\n";
    return 1;
  }

  // More than the resource may lock: the vector stays as it was.
  try {
    samples.resize(kMaximumBytes);
    return 1;
  } catch (const std::bad_alloc&) {
    std::cout << "refused: " << memory.last_error().message() << "\n";
  }
  return samples.size() == 10000 && samples[9999] == 9999 / 8.0 ? 0 : 1;
}
