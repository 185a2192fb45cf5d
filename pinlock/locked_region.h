// LockedRegion: fresh memory that is locked for as long as it exists.
//
// For buffers that must not take a page fault, and for secrets that must not get into swap. The
// region has its pages for itself, so locking it locks nothing of its neighbours, and its end
// unlocks nothing of theirs. It is pinned by mpin(3): it may be locked again within (LockPages),
// and counts in mpin_get_stat().
//
// Ownership: the region owns its memory. Whoever locks bytes of it again unlocks them before it
// ends.
// Thread-safety: Allocate is safe from every thread; a LockedRegion is as thread-safe as a vector.

#ifndef PINLOCK_LOCKED_REGION_H_
#define PINLOCK_LOCKED_REGION_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace pinlock {

struct LockedRegionOptions {
  // What a child made by fork(2) finds at the region's addresses. The child's memory is not locked.
  enum class Fork {
    kOmit,  // nothing: an access is SIGSEGV. The parent goes on without page faults.
    kCopy,  // a copy, as usual. The parent takes a page fault at its next write to each page.
    kWipe,  // zeros. The parent goes on without page faults.
  };
  Fork fork = Fork::kOmit;
  // Keeps the region out of core dumps.
  bool omit_from_dumps = false;
  // Least alignment of the first byte, in bytes: a power of two. It is a multiple of the page size
  // in any case, and from 2 MiB of length on a multiple of 2 MiB, so that a huge page of the kernel
  // is in the region as a whole or not at all.
  size_t alignment = 1;
};

// Move-only. A child made by fork(2) that destroys or releases a region it has inherited wipes and
// unmaps its own copy with Fork::kCopy, and unmaps it with Fork::kWipe; with Fork::kOmit nothing
// happens, and bytes() leads nowhere.
class LockedRegion {
 public:
  // Maps private anonymous memory, zeroed, resident and locked. Whole pages are locked, and count
  // towards RLIMIT_MEMLOCK. Errors, with nothing mapped or locked then:
  //   InvalidArgument    `bytes` is 0; `alignment` is not a power of two
  //   ResourceExhausted  beyond RLIMIT_MEMLOCK, in mpin_error()'s words; or no room in the address
  //                      space: `bytes` is too large, RLIMIT_AS, vm.max_map_count
  //   Unavailable        no memory for the pages, in mpin_error()'s words
  // Blocks while the kernel finds memory and zeroes it: about 0.3 ms for each MiB.
  static absl::StatusOr<LockedRegion> Allocate(size_t bytes,
                                               const LockedRegionOptions& options = {});

  // Holds nothing.
  LockedRegion() = default;
  LockedRegion(LockedRegion&& other) noexcept;
  LockedRegion& operator=(LockedRegion&& other) noexcept;
  ~LockedRegion();

  // As many bytes as were asked for; empty where nothing is held. What lies between their end and
  // the end of the page is nobody's, and is zeroed with them.
  absl::Span<std::byte> bytes() const { return bytes_; }

  // Ends the region now: zeroes it, by stores that the compiler may not remove, then unlocks and
  // unmaps it. Afterwards nothing is held. Enters the kernel. Where somebody else has unpinned or
  // unmapped a part of it, it stays mapped, with zeros.
  void Release();

 private:
  using Fork = LockedRegionOptions::Fork;
  LockedRegion(absl::Span<std::byte> bytes, uint64_t generation, Fork fork)
      : bytes_(bytes), generation_(generation), fork_(fork) {}

  absl::Span<std::byte> bytes_;
  uint64_t generation_ = 0;  // of the process that allocated it
  Fork fork_ = Fork::kOmit;
};

}  // namespace pinlock

#endif  // PINLOCK_LOCKED_REGION_H_
