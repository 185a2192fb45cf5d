#include "benchmarks/floor.h"

#include <unistd.h>

#include <bit>

#include "benchmarks/must.h"

namespace benchmarks {
namespace {

uint64_t EntriesFor(uint64_t pages) { return std::bit_ceil(2 * pages); }

}  // namespace

uint64_t Floor::LockedBytes(uint64_t pages) {
  return EntriesFor(pages) * sizeof(uint64_t) + pages * kPageBytes;
}

Floor::Floor(const PageFile& file, uint64_t pages)
    : table_area_(EntriesFor(pages) * sizeof(uint64_t)),
      frame_area_(pages * kPageBytes),
      table_(reinterpret_cast<uint64_t*>(table_area_.begin())),
      mask_(EntriesFor(pages) - 1),
      shift_(64 - std::countr_zero(EntriesFor(pages))),
      frames_(frame_area_.begin()) {
  for (uint32_t page = 0; page < pages; ++page) {
    const off_t offset = off_t{page} * kPageBytes;
    Must(pread(file.fd(), frames_ + offset, kPageBytes, offset) == kPageBytes, "pread");
    uint64_t slot = SlotOf(page);
    while (table_[slot & mask_] != 0) ++slot;
    table_[slot & mask_] = (page + uint64_t{1}) << 32 | page;
  }
}

}  // namespace benchmarks
