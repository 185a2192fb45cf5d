// PoolCore: the page pool itself, behind both interfaces.
//
// Owns the latch. Invariants, whenever the latch is free:
//  1. A page is in at most one frame, and the page table says which.
//  2. A frame with pins holds its page until the last pin is gone, at the same address.
//  3. The replacer holds exactly the frames that are kValid and have no pins.
//  4. A page that differs from the file is dirty, or being written by the thread that took the mark.
//  5. Whatever a hit touches is locked in memory: this object, headers, page table, frames.
// No latch is held across I/O, a filter, or zeroing a page. Latch order: only this one; pinlock's
// own is taken under it when memory grows.
//
// Thread-safe, but for Open and Close. Lives in memory that fork wipes, so that a child finds a
// null `mp_private` in the handle instead of pins and latches of a process that it is not.

#ifndef MPOOL_INTERNAL_POOL_CORE_H_
#define MPOOL_INTERNAL_POOL_CORE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "absl/base/thread_annotations.h"
#include "mpool/internal/frame.h"
#include "mpool/internal/last_puts.h"
#include "mpool/internal/locker.h"
#include "mpool/internal/page_io.h"
#include "mpool/internal/pool_memory.h"
#include "mpool/internal/replacer.h"
#include "mpool/mpool.h"
#include "os/file.h"
#include "os/latch.h"
#include "os/memory.h"
#include "os/result.h"

namespace mpool::internal {

// A page in the pool, for the list that mpool_stat() prints.
struct CachedPage {
  PageNumber number = 0;
  bool dirty = false;
  bool pinned = false;
};

struct PoolConfig {
  uint32_t page_size = 0;       // bytes; above 0
  uint64_t pages_max = 1;       // pages to cache
  bool prelock = false;         // lock memory for all of them at open
  bool zero_past_end = false;   // MPOOL_EOF_ZERO
  bool allow_unlocked = false;  // MPOOL_OVERFLOW_UNLOCKED
};

// How a caller uses a page.
enum class Access {
  kNone,       // without a pin
  kPinned,     // pinned; what is done with the bytes is the caller's business (C)
  kShared,     // pinned for reading, while nobody has it exclusively
  kExclusive,  // pinned for writing, alone, once the pool is not writing it
};

class PoolCore {
 public:
  // The most pins on one page.
  static constexpr uint32_t kPinsMax = 65'535;

  // The references must outlive the pool. The text of every error is in ErrorText().
  static os::Result<PoolCore*> Open(os::Memory& memory, Locker& locker,
                                    std::unique_ptr<os::File> file, const PoolConfig& config);
  static void Close(PoolCore* pool);

  // The C handle, in the same memory; its mp_private is null in a process that did not open the
  // pool.
  MPOOL* handle() { return handle_; }
  static PoolCore* FromHandle(MPOOL* handle);
  // False in a forked child, where this object is wiped.
  bool InOwningProcess() const { return handle_ != nullptr; }

  os::Result<std::byte*> Get(PageNumber page, Access access);
  // `requested` null: the next number. The number is stored in *made.
  os::Result<std::byte*> New(const PageNumber* requested, Access access, PageNumber* made);
  os::Errno Put(const void* address, Access access, bool dirty);
  os::Errno Delete(const void* address, Access access);
  os::Errno Sync();
  // Reads pages in without a pin, as many as the pool can hold; returns how many it has read.
  size_t Prefetch(std::span<const PageNumber> pages);

  void SetFilters(const Filters& filters);
  void SetZeroPastEnd(bool zero);
  void SetAllowUnlocked(bool allow);
  struct mpool_stat Stats();
  // Pins by Access::kShared and kExclusive.
  uint64_t OwnedPins();
  uint32_t page_size() const { return io_.page_size(); }
  PageNumber page_count();
  // Copies what is cached, as much as fits; returns how many pages that are.
  size_t ListPages(std::span<CachedPage> pages);

 private:
  // The first error of a write-back, and the page that had it.
  struct WriteResult {
    os::Errno error;
    PageNumber page = 0;
  };

  PoolCore(MPOOL* handle, os::PageRange home, os::Memory& memory, Locker& locker,
           std::unique_ptr<os::File> file, const PoolConfig& config);
  os::Errno Prepare();

  // pool_core.cc
  os::Result<FrameIndex> Fetch(PageNumber page, Access access)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Result<FrameIndex> Load(PageNumber page, FrameIndex frame, Access access)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Errno CheckExists(PageNumber page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Result<PageNumber> ChooseNumber(const PageNumber* requested)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void BeginLoading(PageNumber page, FrameIndex frame, Access access)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void FinishLoading(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Errno Pin(FrameIndex frame, Access access) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void Unpin(FrameIndex frame, Access access) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Result<FrameIndex> PinnedFrameAt(const void* address) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void RefreshMirrors() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);

  // pool_frames.cc: where frames come from and go to
  enum class Overflows { kAllowed, kForbidden };
  os::Result<FrameIndex> TakeFrame(Overflows overflows) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  FrameIndex PopFree() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Errno Grow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Result<FrameIndex> Overflow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  FrameIndex ChooseVictim(bool clean_only, FrameIndex spared) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Result<bool> Evict(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void ReturnGrowthFrames() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void DropPage(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void GiveBack(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void Queue(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void Unqueue(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void SetDirty(FrameHeader& header, bool dirty) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);

  // pool_write.cc: write-back
  WriteResult WriteBack(std::span<const FrameIndex> frames) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  static os::Errno WriteFailed(const WriteResult& result);
  os::Errno WriteRun(std::span<const FrameIndex> frames) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  struct DirtyPage {
    PageNumber page;
    FrameIndex frame;
  };
  os::Errno SyncFile() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Errno CollectDirty(std::unique_ptr<DirtyPage[]>& pages, size_t& count)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  size_t NextRun(std::span<const DirtyPage> pages, std::span<FrameIndex> run, size_t& length)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);

  FrameHeader& header(FrameIndex frame) { return frames_.headers()[frame]; }

  MPOOL* const handle_;
  const os::PageRange home_;  // the memory that this object lies in
  os::Memory& memory_;
  Locker& locker_;
  PageIo io_;
  PoolMemory frames_;
  const PageNumber page_limit_;  // no page has this number or a higher one

  os::Latch latch_;
  os::LatchCondition changed_;  // a page was loaded or written, or an access ended
  PoolConfig config_ ABSL_GUARDED_BY(latch_);
  Filters filters_ ABSL_GUARDED_BY(latch_);
  std::optional<LruReplacer> replacer_;  // made once the headers have their place
  LastPuts last_puts_ ABSL_GUARDED_BY(latch_);
  FrameIndex free_ ABSL_GUARDED_BY(latch_) = kNoFrame;    // the first free frame
  PageNumber page_count_ ABSL_GUARDED_BY(latch_) = 0;     // npages
  PageNumber pages_in_file_ ABSL_GUARDED_BY(latch_) = 0;  // the file is known to have had these
  uint64_t cached_ ABSL_GUARDED_BY(latch_) = 0;
  uint64_t owned_pins_ ABSL_GUARDED_BY(latch_) = 0;
  uint64_t growth_queued_ ABSL_GUARDED_BY(latch_) = 0;   // growth frames in the replacer
  uint64_t io_in_flight_ ABSL_GUARDED_BY(latch_) = 0;    // frames in kLoading or kWriteback
  uint64_t frames_taken_ ABSL_GUARDED_BY(latch_) = 0;    // calls of TakeFrame
  uint64_t grow_again_at_ ABSL_GUARDED_BY(latch_) = 0;   // count of these, after growth was refused
  bool sync_under_way_ ABSL_GUARDED_BY(latch_) = false;  // an fdatasync: one at a time
  uint64_t sync_failures_ ABSL_GUARDED_BY(latch_) = 0;   // of fdatasync
  os::Errno sync_error_ ABSL_GUARDED_BY(latch_);         // of the last that failed
  struct mpool_stat stats_ ABSL_GUARDED_BY(latch_) = {};
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_POOL_CORE_H_
