// PoolState: what a pool knows, all but what is this process' own.
//
// Plain data: a pool of one process has it in itself, a shared one in the memory that its processes
// share. The pool's latch guards it. What can be told from frame headers,
// pin lines and ledgers is here for speed alone: PoolCore::Recover makes it anew.

#ifndef MPOOL_INTERNAL_POOL_STATE_H_
#define MPOOL_INTERNAL_POOL_STATE_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "mpool/internal/frame.h"
#include "mpool/internal/ghost.h"
#include "mpool/internal/replacer.h"
#include "mpool/internal/s3_fifo_replacer.h"
#include "mpool/mpool.h"
#include "os/latch.h"

namespace mpool::internal {

// How far the memory of a pool has grown.
struct MemoryState {
  uint64_t ordinary_max = 0;
  uint64_t ordinary = 0;  // frames
  uint64_t growth = 0;
  // Growth frames: those up to here have, or have had, a header.
  uint64_t growth_extent = 0;
  uint64_t growth_first_absent = 0;  // none below it is absent
  uint64_t unlocked = 0;
  uint64_t hugetlb_bytes = 0;
  uint64_t table_entries = 0;
  uint64_t ghost_entries = 0;
  GhostState ghost;
};

struct PoolState {
  alignas(64) os::Latch latch;
  os::LatchCondition changed;  // a page was loaded or written, or an access ended
  MemoryState memory;
  S3FifoQueues queues;
  FrameList idle_growth{FrameQueue::kIdle};
  // Victims that nobody has pinned, closed, the first to go first.
  static constexpr size_t kVictimsMax = 64;
  std::array<FrameIndex, kVictimsMax> victims = {};
  size_t victim_count = 0;
  FrameIndex free = kNoFrame;    // the first free frame
  PageNumber page_count = 0;     // npages
  PageNumber pages_in_file = 0;  // the file is known to have had these
  uint64_t pages_max = 1;        // pages to cache
  uint64_t cached = 0;
  uint64_t counted_pins = 0;  // in headers
  uint64_t owed_pins = 0;     // in headers
  // Pins that were taken in lines under the latch, less those that have ended otherwise than by a
  // put. With the hits, what is held and what is owed they tell how many puts there were.
  uint64_t line_pins = 0;
  uint64_t frames_with_counted_pins = 0;  // ordinary ones
  uint32_t waiting_writers = 0;           // as in the lines
  uint64_t io_in_flight = 0;              // frames in kLoading or kWriteback
  uint64_t loading = 0;                   // of these, frames in kLoading
  uint16_t sync_owner = 0;       // who has an fdatasync under way, one at a time; 0: nobody
  uint64_t sync_failures = 0;    // of fdatasync
  int32_t sync_error = 0;        // errno of the last that failed
  struct mpool_stat stats = {};  // what lines and headers do not count
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_POOL_STATE_H_
