// PoolMemory: the frames, their headers, the page table and what else a pool has to remember, in
// locked memory that grows.
//
// Address space for all that the machine's memory could hold is reserved at open, which costs
// nothing, so that a frame never moves and its address is arithmetic. Memory is committed and
// locked as the pool grows, at most 2 MiB at a time (or one frame, if that is larger):
//
//   [ page tables | ghosts | pin lines | headers |
//     frames: ordinary ones 0 … ordinary_max-1, growth frames from there ]
//
// The memory of a shared pool is a SharedRegion. One of its processes adds to it, with the pool's
// latch; each locks it for itself, by and by, and hits find only what is locked here (slot_limit).
// Growth frames keep their memory there: it cannot be taken from the others.
//
// Ordinary frames come in steps that double up to 2 MiB, and stay. Growth frames come one by one,
// while every ordinary one is pinned, and go back one by one. Whatever is handed out was locked
// through the Locker first, headers included; a growth frame may be unlocked if the caller says so.
// The memory is not inherited by a forked child (MADV_DONTFORK; lines are wiped), so the parent
// takes no copy-on-write faults on it.
//
// Not thread-safe: the pool's latch guards it, but for shared_table(), frame(), FrameOfSlot(),
// FrameNear() and headers(), which hits use without it. Growth and giving back enter the kernel;
// nothing else does.

#ifndef MPOOL_INTERNAL_POOL_MEMORY_H_
#define MPOOL_INTERNAL_POOL_MEMORY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "mpool/internal/frame.h"
#include "mpool/internal/ghost.h"
#include "mpool/internal/locker.h"
#include "mpool/internal/page_table.h"
#include "mpool/internal/pin_lines.h"
#include "mpool/internal/pool_state.h"
#include "mpool/internal/shared_region.h"
#include "os/memory.h"
#include "os/result.h"

namespace mpool::internal {

class PoolMemory {
 public:
  // The most that is made usable and locked at a time, unless a frame is larger.
  static constexpr size_t kStepBytesMax = os::Memory::kHugePageBytes;

  // For at most `ordinary_max` ordinary frames of `page_size` bytes. Both references must outlive
  // it. `hugetlb`: what can be huge pages is taken from those that the machine has set aside
  // (vm.nr_hugepages), as long as there are any. `region`: of a pool that processes share; the
  // other two are of no consequence then.
  PoolMemory(os::Memory& memory, Locker& locker, uint32_t page_size, uint64_t ordinary_max,
             bool hugetlb = false, SharedRegion* region = nullptr);
  // Reserves the address space: for at least one ordinary frame (fewer than ordinary_max if the
  // machine is smaller), and as many growth frames as the machine could hold; less where address
  // space is limited (RLIMIT_AS), so that half of what is left stays free. Once, before all other
  // calls. ENOMEM: no address space.
  os::Errno Reserve();
  // Unlocks and unmaps everything.
  ~PoolMemory();
  PoolMemory(const PoolMemory&) = delete;
  PoolMemory& operator=(const PoolMemory&) = delete;

  // Adds up to one step of ordinary frames: a whole step, or what can be locked of it, halving.
  // Returns how many; their headers are zeroed but for kFree. 0 frames: ordinary_max is reached.
  // Errors are the Locker's for a single frame, or EAGAIN (no memory, or too many mappings); no
  // frame is added then.
  os::Result<uint64_t> Grow();

  // Adds one growth frame; returns its index. `locked` false: without a lock. Errors as for Grow,
  // and ENOMEM where the reserved address space is full.
  os::Result<FrameIndex> AddGrowthFrame(bool locked);
  // Gives one back. Precondition: it was added, and holds no page.
  void RemoveGrowthFrame(FrameIndex frame);
  bool IsGrowthFrame(FrameIndex frame) const { return frame >= growth_base_; }
  // Why the last Grow or AddGrowthFrame failed, in words. Valid until the next call, in its thread.
  const char* FailureText() const { return failure_text_; }

  // For a shared pool, after each time that others may have had the latch: knows what they have
  // added.
  void Refresh();
  // And locks some of it here: the page table, and up to 2 MiB of frames, so that hits find more of
  // them. Errors are the Locker's, of the table.
  os::Errno CatchUp();
  // Locks up to 2 MiB of frames more; false: all are locked.
  os::Result<bool> LockMore();
  // Before the frame's page is handed out.
  os::Errno EnsureLocked(FrameIndex frame);
  // Recovery: the page table is emptied, and all that came before it.
  void ClearTables();
  // Frames have been found absent that were counted, or the other way round.
  void CountGrowthFrames();
  void set_ordinary_max(uint64_t frames) { state_.ordinary_max = frames; }

  // Adds a page of memory to the pin lines. False: there is no more, or it cannot be locked.
  bool AddPinLines();

  FrameHeader* headers() const { return headers_; }
  std::byte* frame(FrameIndex index) const { return frames_ + index * stride_; }
  // Words in slots up to here are of frames that are locked in this process.
  uint32_t slot_limit() const { return slot_limit_.load(std::memory_order_relaxed); }
  // By a word in a slot that is not free.
  std::byte* FrameOfSlot(uint32_t slot_word) const {
    return reinterpret_cast<std::byte*>(frames_for_slots_ + slot_word * stride_);
  }
  // The frame that would be at this address, used or not; kNoFrame: there never is one.
  FrameIndex FrameNear(const void* address) const;
  // The frame at exactly this address; kNoFrame: not the address of a frame in use.
  FrameIndex FrameAt(const void* address) const;
  // Calls visit(index) for every frame that has memory.
  template <typename Visit>
  void ForEachFrame(Visit visit) const;

  // Holds every frame that there is. Changes with growth; nothing may be kept of it.
  PageTable& table() { return table_; }
  // The same for those who have no latch: PageTable::Unpack. A table that was replaced stays
  // mapped, and is empty.
  uint64_t shared_table() const { return shared_table_.load(std::memory_order_acquire); }
  PinLines& lines() { return lines_; }
  Ghost& ghost() { return ghost_; }

  // The ordinary frames are those below this one.
  uint64_t ordinary_end() const { return state_.ordinary; }
  // The growth frames are those from this one on.
  uint64_t growth_base() const { return growth_base_; }
  uint64_t frames() const { return state_.ordinary + state_.growth; }
  uint64_t growth_frames() const { return state_.growth; }
  uint64_t unlocked_frames() const { return state_.unlocked; }
  // Bytes in reserved huge pages.
  uint64_t hugetlb_bytes() const { return state_.hugetlb_bytes; }
  uint64_t ordinary_max() const { return state_.ordinary_max; }
  const MemoryState& state() const { return state_; }

 private:
  // What a shared pool has beside the same of all.
  os::Errno UseRegion();
  os::Errno LockUnit(uint64_t unit, uint64_t needed);
  void NoteLocked(uint64_t first, uint64_t count);
  std::span<std::byte> LedgerBytes(FrameIndex first, uint64_t count) const;
  os::Errno AllocateLedgers(FrameIndex first, uint64_t count);
  os::Errno LockStep(FrameIndex first, uint64_t count);
  os::Errno LockTable();
  void LockGhost();
  PageTable TableOf(size_t entries) const;
  // Reserves for the ordinary frames that are wanted, but at most `machine_max`, and as many
  // others.
  os::Errno TryReserve(uint64_t wanted, uint64_t machine_max);
  os::Errno MapAll();
  void UnmapAll();
  os::Errno Commit(std::span<std::byte> bytes);
  os::PageRange HugePagesIn(std::span<std::byte> bytes) const;
  os::Errno Lock(std::span<std::byte> bytes);
  // Puts reserved huge pages there. False: none are left, or they were not asked for.
  bool TakeReserved(os::PageRange huge);
  // Commits and locks the bytes; the other undoes it, unless they were to stay for ever, for which
  // reserved huge pages are good enough.
  os::Errno Acquire(std::span<std::byte> bytes, bool locked, bool to_stay = false);
  void Unacquire(std::span<std::byte> bytes, bool locked);
  // The same for frames and their headers; the headers are left zeroed but for kFree.
  os::Errno AcquireFrames(FrameIndex first, uint64_t count, bool locked);
  // Makes the table large enough for `frames`. `locked` false: without a lock where it is refused.
  os::Errno GrowTable(uint64_t frames, bool locked);
  // Makes the ghost remember as many pages as are fit for `frames`. Where that memory cannot be had
  // it stays as it is.
  void GrowGhost(uint64_t frames);
  // Ordinary frames that were locked together.
  struct Step {
    FrameIndex first;
    uint64_t count;
  };
  uint64_t NextStep() const;
  bool AddStep(const Step& step);
  bool Unlock(std::span<std::byte> bytes);
  std::span<std::byte> FrameBytes(FrameIndex first, uint64_t count) const;
  std::span<std::byte> HeaderBytes(FrameIndex first, uint64_t count) const;
  std::span<std::byte> LineBytes(size_t first, size_t count) const;
  size_t LinesPerPage() const;
  os::PageRange PagesOf(std::span<std::byte> bytes) const;

  // What hits read, in a cache line that seldom changes.
  alignas(64) std::atomic<uint64_t> shared_table_ = 0;
  std::byte* frames_ = nullptr;
  uintptr_t frames_for_slots_ = 0;  // where the frame of a slot's word 0 would be
  std::atomic<uint32_t> slot_limit_ = kSlotFrameMask;
  const size_t stride_;      // bytes from one frame to the next
  const int stride_shift_;   // its logarithm; -1: it is no power of two
  uint64_t frames_max_ = 0;  // address space is reserved for these
  FrameHeader* headers_ = nullptr;

  alignas(64) os::Memory& memory_;
  Locker& locker_;
  const bool hugetlb_;
  SharedRegion* const region_ = nullptr;
  MemoryState own_state_;
  MemoryState& state_;
  uint64_t growth_base_ = 0;  // the first growth frame
  // The reservations.
  os::PageRange table_pages_, ghost_pages_, line_pages_, header_pages_, frame_pages_;
  PageTable table_;
  PinLines lines_;
  Ghost ghost_;
  bool table_locked_ = false;
  bool unlock_refused_ = false;  // somewhere, some time: those addresses stay reserved for ever
  const char* failure_text_ = "";

  std::vector<Step> steps_;  // of frames, as they were locked; growth frames only of a shared pool
  // Of a shared pool: what of it is locked here. Of each 2 MiB of frames so many, from the first
  // one on.
  uint64_t frames_per_unit_ = 1;
  std::unique_ptr<uint32_t[]> locked_in_unit_;
  uint64_t locked_growth_ = 0;  // growth frames, from the first one on
  std::span<std::byte> locked_table_, locked_ghost_;
};

// Inline, as mpool_put() begins with it. Most page sizes are powers of two, and a division would be
// a third of its cost.
inline FrameIndex PoolMemory::FrameNear(const void* address) const {
  const uintptr_t base = reinterpret_cast<uintptr_t>(frames_);
  const uintptr_t at = reinterpret_cast<uintptr_t>(address);
  if (at < base) return kNoFrame;
  const uint64_t index = stride_shift_ >= 0 ? (at - base) >> stride_shift_ : (at - base) / stride_;
  if (index >= frames_max_ || base + index * stride_ != at) return kNoFrame;
  return static_cast<FrameIndex>(index);
}

template <typename Visit>
void PoolMemory::ForEachFrame(Visit visit) const {
  for (uint64_t i = 0; i < state_.ordinary; ++i) visit(static_cast<FrameIndex>(i));
  for (uint64_t i = growth_base_; i < growth_base_ + state_.growth_extent; ++i) {
    if (headers_[i].state != FrameState::kAbsent) visit(static_cast<FrameIndex>(i));
  }
}

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_POOL_MEMORY_H_
