// PinLines: the pins that are taken on hits, without a latch.
//
// Each thread that uses a pool has a line of slots there. A pin is the number of its frame in one
// of them, put there by a plain store, so a hit writes only what no other CPU reads. Who wants a
// frame for itself (to evict, to delete, to write) has to look through all lines. That is right
// because of the order on both sides (x86 and others let a load overtake the store before it):
//
//   hit                                   who wants the frame, with the pool's latch
//   1. look the page up: open             1. close the entry of the page
//   2. store the frame into a slot        2. os::ProcessBarrier()
//   3. look at the entry again:           3. look at the slots: none has the frame
//      unchanged, so it is pinned
//
// When the barrier returns, each thread has passed a full fence after step 1 on the right. A thread
// whose step 3 came before its fence has its store of step 2 visible, and is found; one whose step
// 3 came after it sees the entry closed. The seldom side pays; see os/process_barrier.h.
//
// A slot holds what the page's entry has above the page number when it is open and was used most,
// or 0: it is free. Only the thread that owns a line stores frames there. It frees
// a slot by storing 0; for a PagePin that was moved, another thread may do that.

#ifndef MPOOL_INTERNAL_PIN_LINES_H_
#define MPOOL_INTERNAL_PIN_LINES_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "mpool/internal/frame.h"
#include "os/process_barrier.h"
#include "os/thread_id.h"
#include "os/thread_sanitizer.h"

namespace mpool::internal {

inline constexpr std::memory_order kSlotStore = os::kStoreBeforeLoad;
inline constexpr std::memory_order kLoadAfterSlotStore = os::kLoadAfterStore;

using PinSlot = std::atomic<uint32_t>;
inline constexpr uint32_t kSlotFrameMask = (uint32_t{1} << 29) - 1;
inline constexpr uint32_t kSlotTag = ~kSlotFrameMask & 0x7fffffff;
inline constexpr uint32_t SlotWord(FrameIndex frame) { return kSlotTag | (frame + 1); }
inline constexpr FrameIndex FrameInSlot(uint32_t word) { return (word & kSlotFrameMask) - 1; }

// A line of zero bytes has no owner and no pins. Two cache lines, as CPUs fetch them in pairs.
struct alignas(128) PinLine {
  static constexpr size_t kSlots = 8;

  std::array<PinSlot, kSlots> slots = {};
  // Written by the owner alone.
  std::atomic<uint64_t> hits = 0;
  std::atomic<uint32_t> last_put = 0;  // as a slot; anybody may make it 0
  std::atomic<os::ThreadId> owner = 0;
  // Of the pool: how many wait for a page to be put that is pinned in a line. The same in all lines
  // that are in use; here, as whoever frees a slot has this memory at hand.
  std::atomic<uint32_t> waiting_writers = 0;

  // The line that the slot is of.
  static PinLine& Of(PinSlot& slot) {
    return *reinterpret_cast<PinLine*>(reinterpret_cast<uintptr_t>(&slot) &
                                       ~(alignof(PinLine) - 1));
  }
  // Ends a pin, and looks for waiting writers only then. True: there are some.
  [[gnu::always_inline]] bool Free(PinSlot& slot) {
    slot.store(0, kSlotStore);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    return waiting_writers.load(kLoadAfterSlotStore) != 0;
  }

  // A free slot; null: there is none. For the owner.
  PinSlot* FindFree() { return FindWord(0); }
  // A slot with the frame; null: there is none.
  PinSlot* Find(FrameIndex frame) { return FindWord(SlotWord(frame)); }
  // For the owner.
  static void Count(std::atomic<uint64_t>& counter) {
#if defined(__x86_64__) && !OS_THREAD_SANITIZER
    // The same in one instruction, which compilers do not make of it.
    asm("addq $1, %0" : "+m"(reinterpret_cast<uint64_t&>(counter)) : : "cc");
#else
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
#endif
  }

 private:
  [[gnu::always_inline]] PinSlot* FindWord(uint32_t word) {
    for (PinSlot& slot : slots) {
      if (slot.load(std::memory_order_acquire) == word) return &slot;
    }
    return nullptr;
  }
};
static_assert(sizeof(PinLine) == 128);

// What is kept of the lines of one process. Plain data, of zero bytes at first.
struct PinLinesState {
  uint64_t used = 0;  // lines that are, or were, in use: those below this number
  uint64_t claims_until_sweep = 0;
  uint64_t earlier_hits = 0;  // in lines that are not used any more
};

// The lines of a pool, in memory that its owner provides and makes more of. The pool's latch guards
// it; what the lines hold changes all the time.
//
// A pool that processes share has a block of lines for each of them. A thread has its line in the
// block of its own process; who looks for pins looks into all blocks.
class PinLines {
 public:
  PinLines() = default;
  PinLines(const PinLines&) = delete;
  PinLines& operator=(const PinLines&) = delete;

  // Zeroed lines that may be used: those that a pool has from the start, and those that lie in
  // memory of their own, which grows.
  void SetFirst(std::span<PinLine> lines) { first_ = lines; }
  void SetMore(std::span<PinLine> lines) { more_ = lines; }
  size_t more() const { return more_.size(); }
  // Instead of both: blocks of `per_block` lines each, of which *count may be in use. All must
  // outlive it.
  void Share(PinLine* lines, size_t per_block, PinLinesState* states, const uint32_t* count,
             uint32_t own) {
    shared_ = lines;
    per_block_ = per_block;
    states_ = states;
    count_ = count;
    own_ = own;
    first_ = {lines + own * per_block, per_block};
  }

  // The thread's line: one that it has, that a thread has left that is no more, or a new one. Null:
  // all lines are taken. Enters the kernel where it has to find out which threads are no more,
  // which is now and then, once there are more than a pool has from the start.
  PinLine* Claim(os::ThreadId thread, uint32_t waiting_writers = 0);
  // Whether no line is in use but this one. It may be null.
  bool IsOnly(const PinLine* line) const { return used() == 1 && line == &Own(0); }

  // How many lines are, or were, in use.
  size_t used() const;
  template <typename Visit>
  void ForEachPin(Visit visit) const {
    for (uint32_t block = 0; block < blocks(); ++block) ForEachPinIn(block, visit);
  }

  // Slots with the frame in all lines. What this tells is certain only for a frame whose entry is
  // closed, after a barrier.
  uint32_t CountPins(FrameIndex frame) const;
  uint32_t CountPinsIn(uint32_t block, FrameIndex frame) const;
  // The frame is not what any thread has put last, as far as that need be heeded.
  void ForgetLastPut(FrameIndex frame);
  // In all lines that are in use. One that comes into use is given it by Claim().
  void SetWaitingWriters(uint32_t count);
  // Ends all pins of a block, whose process is no more, or does not use the pool any more.
  void EndPinsIn(uint32_t block);
  template <typename Visit>
  void ForEachPinIn(uint32_t block, Visit visit) const {
    ForEachHeldIn(block, [&](os::ThreadId, FrameIndex frame) { visit(frame); });
  }
  // The same with the thread whose line it is; 0: one that is no more.
  template <typename Visit>
  void ForEachHeldIn(uint32_t block, Visit visit) const {
    for (size_t i = 0; i < states_[block].used; ++i) {
      const PinLine& line = Line(block, i);
      for (const PinSlot& slot : line.slots) {
        const uint32_t held = slot.load(kLoadAfterSlotStore);
        if (held != 0) visit(line.owner.load(std::memory_order_relaxed), FrameInSlot(held));
      }
    }
  }

  // Sums over the lines.
  struct Totals {
    uint64_t hits = 0, pins = 0;
  };
  Totals Sum() const;

 private:
  void Sweep();
  uint32_t blocks() const { return count_ == nullptr ? 1 : *count_; }
  PinLine& Own(size_t i) const { return i < first_.size() ? first_[i] : more_[i - first_.size()]; }
  PinLine& Line(uint32_t block, size_t i) const {
    return shared_ == nullptr ? Own(i) : shared_[block * per_block_ + i];
  }

  std::span<PinLine> first_, more_;
  PinLine* shared_ = nullptr;
  size_t per_block_ = 0;
  PinLinesState only_;
  PinLinesState* states_ = &only_;
  const uint32_t* count_ = nullptr;
  uint32_t own_ = 0;
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_PIN_LINES_H_
