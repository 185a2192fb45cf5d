// FrameHeader: what the pool knows about one frame, the memory slot that holds one page.
//
// Headers are an array of their own beside the frames, so that looking through them does not touch
// pages. They are the truth about what is cached; the page table is an index to them.
//
// A frame's state, and who moves it on, always under the pool's latch:
//
//   kAbsent ──growth──► kFree ──miss, new──► kLoading ──page is there──► kValid ◄──► kWriteback
//                         ▲                     │ read failed             │          (eviction, sync)
//                         └─────────────────────┴────────eviction, delete─┘
//
// In kLoading and kWriteback the thread that set the state does I/O without the latch, and only
// that thread moves it on; everyone else waits, or goes on with another frame.

#ifndef MPOOL_INTERNAL_FRAME_H_
#define MPOOL_INTERNAL_FRAME_H_

#include <cstdint>

namespace mpool::internal {

// A page of the file: its offset divided by the page size.
using PageNumber = uint32_t;
inline constexpr PageNumber kMaxPageNumber = 0xffffffff;  // a count, never a page's number

// A frame of the pool.
using FrameIndex = uint32_t;
inline constexpr FrameIndex kNoFrame = 0xffffffff;

enum class FrameState : uint8_t {
  kAbsent = 0,  // has no memory; the state of zero bytes
  kFree,        // has memory, holds no page
  kLoading,     // its page is being read or zeroed; not to be touched
  kValid,       // holds its page
  kWriteback,   // holds its page, which is being written; may be read and pinned, not evicted
};

struct FrameHeader {
  PageNumber page_number = 0;
  FrameState state = FrameState::kAbsent;
  bool dirty = false;          // differs from the file, as far as is known
  bool queued = false;         // in the replacer's queue
  bool write_latched = false;  // pinned by a GetForWrite
  bool unlocked = false;       // its memory is not locked (MPOOL_OVERFLOW_UNLOCKED)
  bool unsynced = false;       // written, and no fdatasync has begun since
  bool syncing = false;        // written, and an fdatasync that began afterwards is under way
  uint32_t pins = 0;           // all of them; above 0, the page stays
  uint32_t readers = 0;        // of these, pins by a C++ Get, which share the page
  // Neighbours in the replacer's queue; `next` alone in the list of free frames.
  FrameIndex previous = kNoFrame;
  FrameIndex next = kNoFrame;

  bool holds_page() const { return state == FrameState::kValid || state == FrameState::kWriteback; }
};
static_assert(sizeof(FrameHeader) <= 32);

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_FRAME_H_
