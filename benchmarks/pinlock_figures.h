// The figures of pinlock, each against the bare system calls.
//
// Every function gives some lines of the table; PinlockFigures() gives all. A pin that fails ends
// the program with status 1.

#ifndef BENCHMARKS_PINLOCK_FIGURES_H_
#define BENCHMARKS_PINLOCK_FIGURES_H_

#include <chrono>
#include <cstdint>
#include <vector>

#include "benchmarks/figure.h"

namespace benchmarks {

// How much is measured. The bounds hold for these values; smaller ones are for tests.
struct Scale {
  std::chrono::nanoseconds slice = std::chrono::milliseconds(5);
  uint64_t large_pages = 262'144;     // 1 GiB in pages of 4 KiB; a multiple of 512
  uint64_t nested_pairs = 1'000'000;  // over which system calls are counted
};

// Pins of pages that are pinned already, by one thread: what mpin and munpin cost on average,
// against one mlock(2) of the same locked range; and the system calls that they make.
std::vector<Figure> NestedPinFigures(const Scale& scale);

// The same by two threads, each with a page of its own.
std::vector<Figure> TwoThreadFigures(const Scale& scale);

// mpin and munpin of resident pages that nobody else has pinned, against mlock(2) and munlock(2).
std::vector<Figure> FirstPinFigures(const Scale& scale);

// The longest time that another thread's mmap(2) or munmap(2) of one page takes while much memory
// is pinned, against the same beside one mlock(2).
std::vector<Figure> WaitFigures(const Scale& scale);

// The memory of the counters, in per cent of what is pinned.
std::vector<Figure> MetadataFigures(const Scale& scale);

std::vector<Figure> PinlockFigures(const Scale& scale);

}  // namespace benchmarks

#endif  // BENCHMARKS_PINLOCK_FIGURES_H_
