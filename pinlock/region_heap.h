// RegionHeap: blocks cut out of LockedRegions.
//
// Private to this folder: what LockedMemoryResource takes chunks for small blocks and its large
// blocks from. A free block holds its own length and the next one's address, and a region ends with
// its header, so the heap's bookkeeping is locked as well as what it hands out.
//
// First fit by address within a region; neighbours are joined when they are freed. Takes time in
// proportion to the number of regions and of free blocks, which is why small blocks are pooled
// above it. Of the regions whose blocks are all free one is kept, of growth_bytes at most, so that a
// block that comes and goes does not cost a region each time; the others are given back at once.
//
// Not thread-safe. Ends with its regions, whatever blocks are still in use.

#ifndef PINLOCK_REGION_HEAP_H_
#define PINLOCK_REGION_HEAP_H_

#include <cstddef>
#include <memory_resource>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pinlock/locked_region.h"

namespace pinlock::internal {

class RegionHeap final : public std::pmr::memory_resource {
 public:
  struct Options {
    size_t bytes_max;     // of all regions together, locked at once
    size_t growth_bytes;  // least length of a new region, where that much can be had
    LockedRegionOptions region;
  };

  explicit RegionHeap(const Options& options) : options_(options) {}
  RegionHeap(const RegionHeap&) = delete;
  RegionHeap& operator=(const RegionHeap&) = delete;
  ~RegionHeap() override;

  // Uses memory that the caller keeps until the heap has ended. It counts towards bytes_max as
  // `locked_bytes`, and is never given back. Too little to be of use is left alone.
  void Lend(absl::Span<std::byte> bytes, size_t locked_bytes);

  // Bytes locked for this heap now: whole pages.
  size_t locked_bytes() const { return locked_bytes_; }
  // Why the last allocation that failed did so; OK: none has.
  const absl::Status& last_error() const { return last_error_; }

 private:
  struct FreeBlock;
  struct Region;

  // Throws std::bad_alloc.
  void* do_allocate(size_t bytes, size_t alignment) override;
  void do_deallocate(void* address, size_t bytes, size_t alignment) override;
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }

  Region& AddRegion(absl::Span<std::byte> bytes, LockedRegion memory);
  Region* Grow(size_t bytes, size_t alignment);
  absl::StatusOr<LockedRegion> AllocateRegion(size_t bytes, size_t alignment);
  // Gives back a region that was kept; false: there is none.
  bool RemoveSpare();
  void Remove(Region& region);

  const Options options_;
  Region* regions_ = nullptr;  // the newest first
  size_t locked_bytes_ = 0;
  absl::Status last_error_;
};

}  // namespace pinlock::internal

#endif  // PINLOCK_REGION_HEAP_H_
