// PoolMemory: the frames, their headers and the page table, in locked memory that grows.
//
// Address space for all that the machine's memory could hold is reserved at open, which costs
// nothing, so that a frame never moves and its address is arithmetic. Memory is committed and
// locked as the pool grows, at most 2 MiB at a time (or one frame, if that is larger):
//
//   [ page tables | headers | frames: ordinary ones 0 … ordinary_max-1, growth frames from there ]
//
// Ordinary frames come in steps that double up to 2 MiB, and stay. Growth frames come one by one,
// while every ordinary one is pinned, and go back one by one. Whatever is handed out was locked
// through the Locker first, headers included; a growth frame may be unlocked if the caller says so.
// The memory is not inherited by a forked child (MADV_DONTFORK), so the parent takes no
// copy-on-write faults on it.
//
// Not thread-safe: the pool's latch guards it. Growth and giving back enter the kernel; nothing
// else does.

#ifndef MPOOL_INTERNAL_POOL_MEMORY_H_
#define MPOOL_INTERNAL_POOL_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mpool/internal/frame.h"
#include "mpool/internal/locker.h"
#include "mpool/internal/page_table.h"
#include "os/memory.h"
#include "os/result.h"

namespace mpool::internal {

class PoolMemory {
 public:
  // For at most `ordinary_max` ordinary frames of `page_size` bytes. Both references must outlive
  // it.
  PoolMemory(os::Memory& memory, Locker& locker, uint32_t page_size, uint64_t ordinary_max);
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
  bool IsGrowthFrame(FrameIndex frame) const { return frame >= ordinary_max_; }
  // Why the last Grow or AddGrowthFrame failed, in words. Valid until the next call, in its thread.
  const char* FailureText() const { return failure_text_; }

  FrameHeader* headers() const { return headers_; }
  std::byte* frame(FrameIndex index) const { return frames_ + index * stride_; }
  // The frame at exactly this address; kNoFrame: not the address of a frame in use.
  FrameIndex FrameAt(const void* address) const;
  // Calls visit(index) for every frame that has memory.
  template <typename Visit>
  void ForEachFrame(Visit visit) const;

  // Holds every frame that there is. Changes with growth; nothing may be kept of it.
  PageTable& table() { return table_; }

  uint64_t frames() const { return ordinary_ + growth_; }
  uint64_t growth_frames() const { return growth_; }
  uint64_t unlocked_frames() const { return unlocked_; }
  uint64_t ordinary_max() const { return ordinary_max_; }

 private:
  // Reserves for the ordinary frames that are wanted, but at most `machine_max`, and as many
  // others.
  os::Errno TryReserve(uint64_t wanted, uint64_t machine_max);
  os::Errno MapAll();
  void UnmapAll();
  os::Errno Commit(std::span<std::byte> bytes);
  os::Errno Lock(std::span<std::byte> bytes);
  // Commits and locks the bytes; the other undoes it.
  os::Errno Acquire(std::span<std::byte> bytes, bool locked);
  void Unacquire(std::span<std::byte> bytes, bool locked);
  // The same for frames and their headers; the headers are left zeroed but for kFree.
  os::Errno AcquireFrames(FrameIndex first, uint64_t count, bool locked);
  // Makes the table large enough for `frames`. `locked` false: without a lock where it is refused.
  os::Errno GrowTable(uint64_t frames, bool locked);
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
  os::PageRange PagesOf(std::span<std::byte> bytes) const;

  os::Memory& memory_;
  Locker& locker_;
  const size_t stride_;  // bytes from one frame to the next
  uint64_t ordinary_max_;
  uint64_t frames_max_ = 0;  // address space is reserved for these

  os::PageRange table_pages_, header_pages_, frame_pages_;  // the reservations
  FrameHeader* headers_ = nullptr;
  std::byte* frames_ = nullptr;
  PageTable table_;
  bool table_locked_ = false;
  bool unlock_refused_ = false;  // somewhere, some time: those addresses stay reserved for ever
  const char* failure_text_ = "";

  uint64_t ordinary_ = 0;
  uint64_t growth_ = 0;
  uint64_t unlocked_ = 0;
  std::vector<Step> steps_;  // of ordinary frames, as they were locked
  // Growth frames: those from ordinary_max_ up to here have, or have had, a header.
  uint64_t growth_extent_ = 0;
  uint64_t growth_first_absent_ = 0;  // counted from ordinary_max_; none below it is absent
};

template <typename Visit>
void PoolMemory::ForEachFrame(Visit visit) const {
  for (uint64_t i = 0; i < ordinary_; ++i) visit(static_cast<FrameIndex>(i));
  for (uint64_t i = ordinary_max_; i < ordinary_max_ + growth_extent_; ++i) {
    if (headers_[i].state != FrameState::kAbsent) visit(static_cast<FrameIndex>(i));
  }
}

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_POOL_MEMORY_H_
