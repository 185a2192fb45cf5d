// In which order pages are asked for.

#ifndef BENCHMARKS_KEYS_H_
#define BENCHMARKS_KEYS_H_

#include <cstdint>
#include <vector>

#include "benchmark/benchmark.h"
#include "benchmarks/in_turn.h"

namespace benchmarks {

enum class Keys {
  kIndependent,  // random; the processor may begin with the next page before it has this one
  kDependent,    // each is what the page before it says (PageFile)
  kSame,         // page 0 again and again
};

// Random page numbers below a power of two, by Marsaglia's xorshift: some cycles each.
class RandomKeys {
 public:
  explicit RandomKeys(uint64_t pages, uint64_t seed = 1)
      : state_(seed * 0x9E3779B97F4A7C15u), mask_(static_cast<uint32_t>(pages - 1)) {}

  uint32_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<uint32_t>(state_) & mask_;
  }

 private:
  uint64_t state_;
  uint32_t mask_;
};

// The operation that reads pages in this order. `read` takes a page number and returns the page's
// first word; it is copied. `pages`: a power of two.
template <typename Read>
Operation ReadInOrder(Keys keys, uint64_t pages, uint64_t seed, Read read) {
  if (keys == Keys::kDependent) {
    return [read, page = uint32_t{0}](uint64_t times) mutable {
      for (uint64_t i = 0; i < times; ++i) page = static_cast<uint32_t>(read(page));
      benchmark::DoNotOptimize(page);
    };
  }
  RandomKeys random(keys == Keys::kSame ? 1 : pages, seed);
  return [read, random](uint64_t times) mutable {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < times; ++i) sum += read(random.Next());
    benchmark::DoNotOptimize(sum);
  };
}

// The same for several threads at once, each with keys of its own.
template <typename Read>
std::vector<Operation> ReadByThreads(Keys keys, uint64_t pages, size_t threads, const Read& read) {
  std::vector<Operation> operations;
  for (size_t i = 0; i < threads; ++i) {
    operations.push_back(ReadInOrder(keys, pages, uint64_t{i + 1}, read));
  }
  return operations;
}

}  // namespace benchmarks

#endif  // BENCHMARKS_KEYS_H_
