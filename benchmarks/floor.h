// Floor: the least that finding a cached page can cost.
//
// A table with an entry of 8 bytes for each page, at most half full, and the page itself, in
// HugeAreas. Nothing is pinned, counted or ever evicted. A pool is measured against this.

#ifndef BENCHMARKS_FLOOR_H_
#define BENCHMARKS_FLOOR_H_

#include <cstddef>
#include <cstdint>

#include "benchmarks/huge_area.h"
#include "benchmarks/page_file.h"

namespace benchmarks {

// Thread-safe: nothing changes.
class Floor {
 public:
  // Bytes that it locks for so many pages.
  static uint64_t LockedBytes(uint64_t pages);

  // Holds the first `pages` pages of the file.
  Floor(const PageFile& file, uint64_t pages);

  // The first word of the page; 0 if there is no such page.
  uint64_t Read(uint32_t page) const {
    const uint64_t tag = page + uint64_t{1};
    for (uint64_t slot = SlotOf(page);; ++slot) {
      const uint64_t entry = table_[slot & mask_];
      if (entry >> 32 == tag) return FirstWord(frames_ + (entry & 0xffffffff) * kPageBytes);
      if (entry == 0) return 0;
    }
  }

 private:
  // Fibonacci hashing.
  uint64_t SlotOf(uint32_t page) const { return (page * 0x9E3779B97F4A7C15u) >> shift_; }

  const HugeArea table_area_;
  const HugeArea frame_area_;
  uint64_t* const table_;  // [ page number + 1 : 32 | frame : 32 ], or 0
  const uint64_t mask_;
  const int shift_;
  std::byte* const frames_;
};

}  // namespace benchmarks

#endif  // BENCHMARKS_FLOOR_H_
