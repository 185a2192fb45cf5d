// LockedMemoryResource: locked memory for containers.
//
// A std::pmr::memory_resource all of whose bytes are locked: a std::pmr::vector on it takes no page
// fault where its elements lie, and none of them gets into swap. Small blocks (up to 1 KiB) come
// from pools of std::pmr::unsynchronized_pool_resource, larger ones from LockedRegions. So do the
// bookkeeping and the resource's state: but for the object itself, which lies where the caller puts
// it (a few words, which are only read), an allocation that needs no new region touches locked
// memory only and does not enter the kernel.
//
// Thread-safety: every function is safe from every thread, but the constructor and the destructor.
// Growth blocks the other threads while the kernel finds memory.
// fork(2): with Fork::kOmit and kWipe (LockedRegionOptions) the memory is not there in a child: the
// child must not touch a block, and there allocation fails and the rest does nothing. With kCopy
// the child goes on with a copy that is not locked, if no thread was in the resource at the fork.
// Limits: a large block costs time in proportion to the number of regions.

#ifndef PINLOCK_LOCKED_MEMORY_RESOURCE_H_
#define PINLOCK_LOCKED_MEMORY_RESOURCE_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory_resource>

#include "absl/status/status.h"
#include "pinlock/locked_region.h"

namespace pinlock {

// Sizes are in bytes and are rounded up to pages.
struct LockedMemoryResourceOptions {
  // Locked by the constructor, and kept to the end; at least one page is.
  size_t initial_bytes = 0;
  // The most that is locked at any time, all told.
  size_t maximum_bytes = std::numeric_limits<size_t>::max();
  // Length of a new region. A block that needs more gets a region for itself; where the limits do
  // not allow as much, the region is as long as the block needs. Of the regions that have become
  // empty one of this length is kept.
  size_t growth_bytes = size_t{1} << 20;
  // Zeroes blocks when they are freed, and not only when their region ends.
  bool zero_freed = true;
  // What children and core dumps see; its alignment is that of the regions.
  LockedRegionOptions region = {};
};

class LockedMemoryResource final : public std::pmr::memory_resource {
 public:
  // Never throws for want of locked memory: where the first bytes cannot be locked, last_error()
  // says why, and every allocation throws std::bad_alloc.
  LockedMemoryResource() : LockedMemoryResource(LockedMemoryResourceOptions()) {}
  explicit LockedMemoryResource(const LockedMemoryResourceOptions& options);
  LockedMemoryResource(const LockedMemoryResource&) = delete;
  LockedMemoryResource& operator=(const LockedMemoryResource&) = delete;
  // Zeroes, unlocks and unmaps everything, also blocks that were not freed.
  ~LockedMemoryResource() override;

  // Why the last allocation that failed did so: as of LockedRegion::Allocate, or ResourceExhausted
  // for maximum_bytes. OK: none has failed. FailedPrecondition: this is a child without the memory.
  absl::Status last_error() const;

  // Bytes locked by this resource now. Empty regions are given back, but for the initial one and one
  // other of growth_bytes; pools keep what they have got, for more small blocks, until the end.
  size_t locked_bytes() const;

 private:
  class State;

  // allocate() throws std::bad_alloc where no more memory can be locked; nothing has changed then.
  void* do_allocate(size_t bytes, size_t alignment) override;
  void do_deallocate(void* block, size_t bytes, size_t alignment) override;
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override;
  // Whether state_ leads somewhere in this process.
  bool Here() const;

  LockedRegion home_;  // the initial bytes: State, then blocks
  State* state_ = nullptr;
  uint64_t generation_ = 0;  // of the process that made it; 0: its children have a copy
  absl::Status constructor_error_;
};

}  // namespace pinlock

#endif  // PINLOCK_LOCKED_MEMORY_RESOURCE_H_
