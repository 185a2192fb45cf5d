// What the pool and its two interfaces talk about.

#ifndef MPOOL_INTERNAL_POOL_CONFIG_H_
#define MPOOL_INTERNAL_POOL_CONFIG_H_

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "mpool/internal/frame.h"
#include "mpool/internal/pin_lines.h"

namespace mpool::internal {

// A page in the pool, for the list that mpool_stat() prints.
struct CachedPage {
  PageNumber number = 0;
  bool dirty = false;
  bool pinned = false;
};

// What is done about a page that a process may have been changing when it died.
enum class SuspectMode {
  kReport,  // the next get fails, once; the page stays as it is
  kKeep,    // it stays as it is
  kDrop,    // it goes, and is read from the file again
};

struct PoolConfig {
  uint32_t page_size = 0;            // bytes; above 0
  uint64_t pages_max = 1;            // pages to cache
  bool prelock = false;              // lock memory for all of them at open
  bool hugetlb = false;              // frames from the machine's reserved huge pages first
  bool zero_past_end = false;        // MPOOL_EOF_ZERO
  bool allow_unlocked = false;       // MPOOL_OVERFLOW_UNLOCKED
  bool least_recently_used = false;  // for comparison: LRU, which takes the latch for each hit
  bool background_writer = false;    // a thread that writes dirty pages before they have to go
  bool publish = false;              // to be seen by other processes
  bool pins_may_write = false;       // of kPinned and kShared too (C)
  SuspectMode suspects = SuspectMode::kReport;
  bool latched_hits = false;  // as if the kernel had no membarrier(2)
};

// How a caller uses a page.
enum class Access {
  kNone,       // without a pin
  kPinned,     // pinned; what is done with the bytes is the caller's business (C)
  kShared,     // pinned for reading, while nobody has it exclusively
  kExclusive,  // pinned for writing, alone, once the pool is not writing it
};

// A page as its caller has it.
struct Pinned {
  std::byte* bytes = nullptr;
  PinSlot* slot = nullptr;  // where it is pinned; null: the pin is counted in the frame's header
};

using Deadline = std::chrono::steady_clock::time_point;
inline constexpr Deadline kNoDeadline = Deadline::max();

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_POOL_CONFIG_H_
