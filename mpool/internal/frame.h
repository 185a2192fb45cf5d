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
//
// The latch guards everything here but `dirty`. Pins that are taken on a hit are not here at all:
// see pin_lines.h.

#ifndef MPOOL_INTERNAL_FRAME_H_
#define MPOOL_INTERNAL_FRAME_H_

#include <atomic>
#include <cstdint>

#include "os/thread_id.h"

namespace mpool::internal {

// A page of the file: its offset divided by the page size.
using PageNumber = uint32_t;
inline constexpr PageNumber kMaxPageNumber = 0xffffffff;  // a count, never a page's number

// A frame of the pool.
using FrameIndex = uint32_t;
inline constexpr FrameIndex kNoFrame = 0xffffffff;
// There are no more: the page table has 29 bits for a frame.
inline constexpr uint64_t kFramesMax = (uint64_t{1} << 29) - 2;

enum class FrameState : uint8_t {
  kAbsent = 0,  // has no memory; the state of zero bytes
  kFree,        // has memory, holds no page
  kLoading,     // its page is being read or zeroed; not to be touched
  kValid,       // holds its page
  kWriteback,   // holds its page, which is being written; may be read and pinned, not evicted
};

// Where the replacement policy has a frame.
enum class FrameQueue : uint8_t {
  kNone = 0,
  kMain,      // the queue, or S3-FIFO's main one
  kSmall,     // S3-FIFO's queue of pages that are new
  kTaken,     // a victim, out of kMain
  kTakenNew,  // a victim, out of kSmall
  kIdle,      // a growth frame without pins: not the policy's, goes back at the next miss
};

// What is stored before this is stored before what follows, whenever the process is killed. That is
// all that other processes need which look at what it has left: no CPU undoes a store.
inline void InOrder() { std::atomic_signal_fence(std::memory_order_seq_cst); }

struct FrameHeader {
  PageNumber page_number = 0;
  FrameState state = FrameState::kAbsent;
  FrameQueue queue = FrameQueue::kNone;
  // Differs from the file, as far as is known. Set by whoever puts a changed page, without the
  // latch, and stored even where it is set already: see PoolCore::Put.
  std::atomic<bool> dirty = false;
  uint8_t reads_to_open = 0;       // after a GetForWrite: gets until hits need no latch again
  bool write_latched : 1 = false;  // pinned by a GetForWrite
  bool unlocked : 1 = false;       // its memory is not locked (MPOOL_OVERFLOW_UNLOCKED)
  bool unsynced : 1 = false;       // written, and no fdatasync has begun since
  bool syncing : 1 = false;        // written, and an fdatasync that began afterwards is under way
  bool suspect : 1 = false;        // a process has died that may have been changing it: tell first
  // Of a shared pool: it was pinned when it was last written, so the file may have half of a
  // change.
  bool written_pinned : 1 = false;
  uint16_t pins = 0;     // those that are counted here
  uint16_t readers = 0;  // of these, pins by a C++ Get, which share the page
  // Pins in other threads' lines that are over: put by a thread that did not get the page.
  uint16_t owed = 0;
  // Whose the frame is while it is in no list: it is being read or written, or about to be. A
  // participant of a shared pool, counted from 1; 0: nobody's.
  uint16_t owner = 0;
  // Neighbours in a queue; `next` alone in the list of free frames.
  FrameIndex previous = kNoFrame;
  FrameIndex next = kNoFrame;
  // The thread that has counted a pin here last. For those who look for a pin that was not put.
  os::ThreadId pinner = 0;

  bool holds_page() const { return state == FrameState::kValid || state == FrameState::kWriteback; }
  // To be written by nobody: it may be half changed, and nobody has been told.
  bool stays_unwritten() const { return suspect && dirty.load(std::memory_order_acquire); }
  bool is_victim() const { return queue == FrameQueue::kTaken || queue == FrameQueue::kTakenNew; }

  // It holds no page any more. What is said about its memory, its owner and other threads' lines
  // stays. First of all it is in its new state: this process may be killed at any moment, and who
  // comes after it believes the state alone.
  void Reset(FrameState to) {
    state = to;
    InOrder();
    page_number = 0;
    queue = FrameQueue::kNone;
    dirty.store(false, std::memory_order_relaxed);
    write_latched = unsynced = syncing = suspect = written_pinned = false;
    reads_to_open = 0;
    pins = readers = 0;
    previous = next = kNoFrame;
  }
};
static_assert(sizeof(FrameHeader) == 32);

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_FRAME_H_
