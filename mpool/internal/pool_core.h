// PoolCore: the page pool itself, behind both interfaces.
//
// A hit takes no latch: it looks the page up, pins it in its thread's line and looks again
// (pin_lines.h). Everything else is under the pool's latch. Invariants, whenever the latch is free:
//  1. A page is in at most one frame, and the page table says which.
//  2. A frame with pins holds its page until the last pin is gone, at the same address.
//  3. The entry of a page is open only if it is kValid or kWriteback in an ordinary frame that is no
//     victim, and nobody has it, or had it a moment ago, for writing.
//  4. The replacer holds the ordinary frames that hold a page; victims have been taken from it.
//  5. A page that differs from the file is dirty, or being written by the thread that took the mark,
//     or pinned by who has changed it.
//  6. Whatever a hit touches is locked in memory: this object, headers, page table, lines, frames.
// No latch is held across I/O, a filter, or zeroing a page. Latch order: only this one; pinlock's
// own is taken under it when memory grows.
//
// Pins of a frame: those counted in its header, plus the slots in all lines that have it, less
// those that it owes (a put by a thread that did not get the page).
//
// Thread-safe, but for Open and Close. Lives in memory that fork wipes, so that a child finds a
// null `mp_private` in the handle instead of pins and latches of a process that it is not.

#ifndef MPOOL_INTERNAL_POOL_CORE_H_
#define MPOOL_INTERNAL_POOL_CORE_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "mpool/internal/frame.h"
#include "mpool/internal/locker.h"
#include "mpool/internal/lru_replacer.h"
#include "mpool/internal/page_io.h"
#include "mpool/internal/pin_lines.h"
#include "mpool/internal/pool_config.h"
#include "mpool/internal/pool_memory.h"
#include "mpool/internal/pool_report.h"
#include "mpool/internal/pool_state.h"
#include "mpool/internal/s3_fifo_replacer.h"
#include "mpool/internal/shared_region.h"
#include "mpool/internal/thread_line.h"
#include "mpool/mpool.h"
#include "os/file.h"
#include "os/latch.h"
#include "os/memory.h"
#include "os/result.h"

namespace mpool::internal {

// What hits have counted in the entries of the page table. Under the pool's latch. Not the pool
// itself: that has no virtual functions, as a forked child looks into one that was wiped.
class TableUsage final : public UsageCounters {
 public:
  explicit TableUsage(PoolMemory& frames) : frames_(frames) {}
  unsigned UsageOf(FrameIndex frame) const override {
    return frames_.table().UsageOf(frames_.headers()[frame].page_number);
  }
  void SetUsage(FrameIndex frame, unsigned usage) override {
    frames_.table().SetUsage(frames_.headers()[frame].page_number, usage);
  }

 private:
  PoolMemory& frames_;
};

class PoolCore {
 public:
  // The most pins on one page that are counted in its header.
  static constexpr uint32_t kPinsMax = 65'535;

  // The references must outlive the pool. The text of every error is in ErrorText().
  static os::Result<PoolCore*> Open(os::Memory& memory, Locker& locker,
                                    std::unique_ptr<os::File> file, const PoolConfig& config) {
    return OpenIn(memory, locker, std::move(file), config, nullptr);
  }
  // The pool that the processes of this user share which use the same key. `descriptor`: of the
  // file; not needed where another process has the pool open. It is not kept. Errors are also those
  // of SharedRegion::Attach and OpenSharedFile.
  static os::Result<PoolCore*> OpenShared(os::Memory& memory, Locker& locker,
                                          std::span<const std::byte> key, int descriptor,
                                          const PoolConfig& config);
  static void Close(PoolCore* pool);
  // Ends the background writer, whose filters may have pins. No other call may begin any more.
  void StopWriter();

  // The C handle, in the same memory; its mp_private is null in a process that did not open the
  // pool.
  MPOOL* handle() { return handle_; }
  static PoolCore* FromHandle(MPOOL* handle) {
    return handle == nullptr ? nullptr : reinterpret_cast<PoolCore*>(handle->mp_private);
  }
  // Where the pool of a handle lies, whatever process this is: TryHit and TryPut find nothing in
  // one that did not open it. Precondition: not null.
  static PoolCore* Beside(MPOOL* handle);
  // False in a forked child, where this object is wiped.
  bool InOwningProcess() const { return handle_ != nullptr; }

  // A hit for kPinned or kShared, without the latch. False: it is none, or not without the latch;
  // then GetLatched tells, which gets pinned.slot as `retreat`.
  bool TryHit(PageNumber page, Pinned& pinned);
  // Where TryHit has failed: true if the thread has a line here but used another pool last. Then
  // another TryHit may succeed.
  bool FindLine() const { return !ThreadLine::IsLast(id_) && ThreadLine::Of(id_) != nullptr; }
  // ETIMEDOUT: another thread was still reading the page, or using it in a way that excludes
  // `access`, when the deadline came. `retreat`: a slot that TryHit has used in vain.
  os::Result<Pinned> GetLatched(PageNumber page, Access access, Deadline deadline,
                                PinSlot* retreat = nullptr);
  // Both.
  os::Result<Pinned> Get(PageNumber page, Access access, Deadline deadline = kNoDeadline);
  // `requested` null: the next number. The number is stored in *made.
  os::Result<Pinned> New(const PageNumber* requested, Access access, PageNumber* made);
  // Ends a pin with Access::kPinned, of which only the address is known.
  os::Errno Put(const void* address, bool dirty);
  // The same without the latch. kNotHere: this thread has no such pin in its line; Put tells.
  // kWake: the pin has ended, and WakeWriters() is to be called.
  enum class PutResult { kDone, kWake, kNotHere };
  PutResult TryPut(const void* address, bool dirty);
  // Ends a pin, marking the page as changed first. Cannot fail.
  void Release(const Pinned& pinned, Access access, bool dirty);
  // Ends a pin in a line, without the latch. True: WakeWriters() is to be called.
  [[nodiscard]] bool EndPin(PinSlot& slot);
  void WakeWriters();
  // Null `slot`: as for Put, of which only the address need be known. The pin is gone where this
  // succeeds.
  os::Errno Delete(const Pinned& pinned, Access access);
  os::Errno Sync();
  // Reads pages in without a pin, as many as the pool can hold; returns how many it has read.
  size_t Prefetch(std::span<const PageNumber> pages);

  void SetFilters(const Filters& filters);
  void SetZeroPastEnd(bool zero);
  // ENOTSUP: not with a shared pool.
  os::Errno SetAllowUnlocked(bool allow);
  void SetSuspects(SuspectMode mode);
  // Looks at every frame.
  struct mpool_stat Stats();
  // Pins that this process holds.
  uint64_t Pins();
  uint32_t page_size() const { return io_.page_size(); }
  PageNumber page_count();
  // What others may see of it. Has the latch for some frames at a time. Of a shared pool
  // SharedRegion::Observe tells. Throws std::bad_alloc.
  PoolReport Report();
  // Copies what is cached, as much as fits; returns how many pages that are.
  size_t ListPages(std::span<CachedPage> pages);

 private:
  static os::Result<PoolCore*> OpenIn(os::Memory& memory, Locker& locker,
                                      std::unique_ptr<os::File> file, const PoolConfig& config,
                                      std::unique_ptr<SharedRegion> region);

  // The first error of a write-back, and the page that had it.
  struct WriteResult {
    os::Errno error;
    PageNumber page = 0;
  };

  PoolCore(MPOOL* handle, os::PageRange home, os::Memory& memory, Locker& locker,
           std::unique_ptr<os::File> file, const PoolConfig& config,
           std::unique_ptr<SharedRegion> region);
  os::Errno Prepare();
  void MakeReplacer() ABSL_NO_THREAD_SAFETY_ANALYSIS;
  os::Errno PrepareState() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);

  // Holds the latch for a scope, and after the end of another process makes good what it has left.
  class ABSL_SCOPED_LOCKABLE Holder {
   public:
    explicit Holder(PoolCore& pool) ABSL_EXCLUSIVE_LOCK_FUNCTION(pool.latch_) : pool_(pool) {
      pool.latch_.Lock();
      pool.Resume();
    }
    ~Holder() ABSL_UNLOCK_FUNCTION() { pool_.latch_.Unlock(); }
    Holder(const Holder&) = delete;
    Holder& operator=(const Holder&) = delete;

   private:
    PoolCore& pool_;
  };
  // The opposite, for I/O.
  class ABSL_SCOPED_LOCKABLE Unlatched {
   public:
    explicit Unlatched(PoolCore& pool) OS_RELEASES_EXCLUSIVELY(pool.latch_) : pool_(pool) {
      pool.latch_.Unlock();
    }
    ~Unlatched() ABSL_UNLOCK_FUNCTION() {
      pool_.latch_.Lock();
      pool_.Resume();
    }
    Unlatched(const Unlatched&) = delete;
    Unlatched& operator=(const Unlatched&) = delete;

   private:
    PoolCore& pool_;
  };

  // pool_recovery.cc: what other processes have done, and left undone
  void Resume() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  bool SweepDead() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void Recover() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void SettleDead(uint32_t participant) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void Suspect(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void RecoverHeader(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void RecoverPins(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void RecoverPlace(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Errno PrepareToShare();
  os::Errno JoinOthers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Errno LockOwnPart();
  void Leave();
  // Locks here what others have added: some of it, or the frame that is needed.
  os::Errno CatchUp() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Errno EnsureLocked(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Errno CannotLock(os::Errno error);
  void ShareLines(uint32_t own);
  uint64_t OwnPins() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void EndOwnPins() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Result<bool> MeetSuspect(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  uint16_t Owner() const { return region_ == nullptr ? uint16_t{1} : region_->owner(); }
  uint32_t Self() const { return region_ == nullptr ? 0 : region_->self(); }
  // Writes into a ledger what is done to the pins of a frame. Of a pool without one: nothing.
  void Note(FrameIndex frame, uint64_t added, uint64_t taken) {
    NoteFor(Self(), frame, added, taken);
  }
  void NoteFor(uint32_t participant, FrameIndex frame, uint64_t added, uint64_t taken) {
    if (ledger_ == nullptr) return;
    LedgerWord& word = region_->ledger(participant)[frame];
    word.store(word.load(std::memory_order_relaxed) + added - taken, std::memory_order_relaxed);
  }

  // pool_core.cc
  os::Result<Pinned> Fetch(PageNumber page, Access access, Deadline deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Result<Pinned> Load(PageNumber page, FrameIndex frame, Access access)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Errno NoFrameFor(PageNumber page, os::Errno error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Errno CheckExists(PageNumber page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Result<PageNumber> ChooseNumber(const PageNumber* requested)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  Pinned BeginLoading(PageNumber page, FrameIndex frame, Access access)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void AbandonLoading(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void FinishLoading(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void RefreshMirrors() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);

  // pool_observe.cc
  void ReportFrames(uint64_t first, uint64_t end, PoolReport& report)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);

  // pool_prefetch.cc
  struct Fetching {
    PageNumber page = 0;
    FrameIndex frame = kNoFrame;
  };
  size_t TakeFrames(std::span<const PageNumber>& pages, std::span<Fetching> batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  size_t LoadMany(std::span<const Fetching> batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);

  // pool_pins.cc: pins under the latch, and what they exclude
  PinLine* ClaimLine() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Result<Pinned> Pin(FrameIndex frame, Access access, Deadline deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Errno AwaitSharing(FrameIndex frame, Deadline deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Errno AwaitExclusion(FrameIndex frame, Deadline deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  bool IsInUse(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  bool Await(Deadline deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  PinSlot* PinInLine(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void Settle(PinLine& line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void AddReader(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void RemoveReader(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void SetWriter(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void ClearWriter(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void CountPin(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void UncountPin(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void UncountPinOf(uint32_t participant, FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void EndCountedPin(FrameIndex frame, Access access) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void EndPinOfAnother(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void EndOnlyPin(FrameIndex frame, const Pinned& pinned, Access access)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  // The pins of a frame whose entry is closed, after a barrier where it was open.
  uint32_t PinsOf(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void SettleOwed(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void Reopen(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void Close(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  uint32_t OwedBy(uint32_t participant, FrameIndex frame) const;
  void AddOwed(uint32_t participant, FrameIndex frame, int more)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void AddWaitingWriters(int more) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void BarrierForAll();
  void Barrier() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Result<FrameIndex> PinnedFrameAt(const void* address) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);

  // pool_frames.cc: where frames come from and go to
  enum class Overflows { kAllowed, kForbidden };
  os::Result<FrameIndex> TakeFrame(Overflows overflows, Deadline deadline = kNoDeadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  FrameIndex PopFree() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Errno Grow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  bool MayGrow() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Result<FrameIndex> Overflow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  bool AreAllPinned() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  FrameIndex NextVictim(bool clean_only, FrameIndex spared) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  uint64_t PrepareVictims(bool clean_only, FrameIndex spared) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  FrameIndex PopVictim(bool clean_only, FrameIndex spared) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void Rescue(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Result<bool> Evict(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  FrameIndex FirstIdleGrowthFrame() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void ReturnGrowthFrames() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void DropPage(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void GiveBack(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  FrameIndex LastPutOfThisThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);

  // pool_write.cc: write-back
  static constexpr size_t kPagesPerBatch = PageIo::kPagesPerWriteMany;
  struct Run {
    std::span<const FrameIndex> frames;
    os::Errno error;
  };
  WriteResult WriteBack(std::span<Run> runs) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  WriteResult WriteBack(std::span<const FrameIndex> run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void NoteWrittenPinned(std::span<const Run> runs) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  static os::Errno WriteFailed(const WriteResult& result);
  void WriteRuns(std::span<Run> runs) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  struct DirtyPage {
    PageNumber page;
    FrameIndex frame;
  };
  os::Errno SyncFile() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  os::Errno CollectDirty(std::unique_ptr<DirtyPage[]>& pages, size_t& count)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  enum class Latched { kToo, kNot };  // whether pages that are pinned for writing are written
  size_t NextRun(std::span<const DirtyPage> pages, Latched latched, bool may_wait,
                 std::span<FrameIndex> run, size_t& length) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  WriteResult WriteInBatches(std::span<const DirtyPage> pages, Latched latched)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);

  // pool_writer.cc
  void StartWriter() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void RunWriter();
  bool WriteSome() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);

  FrameHeader& header(FrameIndex frame) { return frames_.headers()[frame]; }
  const FrameHeader& header(FrameIndex frame) const { return frames_.headers()[frame]; }

  PoolState own_state_;  // of a pool of this process alone

  // What hits read.
  alignas(64) MPOOL* const handle_;
  uint64_t id_ = 0;  // never that of another pool of this process
  bool hits_without_latch_ = false;
  // Of a shared pool: what it shares. Null: a pool of this process alone.
  const std::unique_ptr<SharedRegion> region_;

  PoolMemory frames_;  // the same goes for its first line
  TableUsage usage_{frames_};

  LedgerWord* ledger_ = nullptr;  // this process' in the region; null: there is none
  bool own_part_locked_ = false;
  PoolState* const state_ ABSL_PT_GUARDED_BY(latch_);
  os::Latch& latch_;
  os::LatchCondition& changed_;
  const os::PageRange home_;  // the memory that this object lies in
  os::Memory& memory_;
  Locker& locker_;
  PageIo io_;
  const PageNumber page_limit_;  // no page has this number or a higher one
  PoolConfig config_ ABSL_GUARDED_BY(latch_);
  Filters filters_ ABSL_GUARDED_BY(latch_);
  // One of the two; made once the headers have their place.
  std::optional<S3FifoReplacer> s3_fifo_;
  std::optional<LruReplacer> lru_;
  Replacer* replacer_ ABSL_GUARDED_BY(latch_) = nullptr;
  uint64_t frames_taken_ ABSL_GUARDED_BY(latch_) = 0;   // calls of TakeFrame
  uint64_t grow_again_at_ ABSL_GUARDED_BY(latch_) = 0;  // count of these, after growth was refused
  std::thread writer_;
  os::LatchCondition writer_wakes_;
  bool writer_stops_ ABSL_GUARDED_BY(latch_) = false;
  FrameIndex writer_hand_ ABSL_GUARDED_BY(latch_) = 0;  // the frame that it has looked at last
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_POOL_CORE_H_
