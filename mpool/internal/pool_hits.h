// The hit path of PoolCore, inline for the sake of its callers: pool_pins.cc and the two
// interfaces.
//
// Every instruction counts, and every store twice: the fewer there are, the more hits are under way
// in the CPU at once, whose cache misses it waits for together. So nothing is called here that is
// not called at the very end. Why a hit is right: ARCHITECTURE.md; what it costs:
// docs/design/hits.md.

#ifndef MPOOL_INTERNAL_POOL_HITS_H_
#define MPOOL_INTERNAL_POOL_HITS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "mpool/internal/kill_point.h"
#include "mpool/internal/page_table.h"
#include "mpool/internal/pin_lines.h"
#include "mpool/internal/pool_core.h"
#include "mpool/internal/thread_line.h"

namespace mpool::internal {

// The handle, the pool and the first threads' lines, side by side in memory that fork wipes: less
// than a page, as a small limit has to do for the frames as well.
struct PoolHome {
  MPOOL handle;
  alignas(PoolCore) std::byte pool[sizeof(PoolCore)];
  std::array<PinLine, 8> lines;
};
static_assert(sizeof(PoolHome) <= 4096);

inline PoolCore* PoolCore::Beside(MPOOL* handle) {
  return reinterpret_cast<PoolCore*>(reinterpret_cast<std::byte*>(handle) +
                                     offsetof(PoolHome, pool));
}

[[gnu::always_inline]] inline bool PoolCore::TryHit(PageNumber page, Pinned& pinned) {
  if (!ThreadLine::IsLast(id_)) [[unlikely]]
    return false;
  PinLine* const line = ThreadLine::Last();
  const uint64_t table = frames_.shared_table();
  const PageTable::Entry* entry = PageTable::Unpack(table).Home(page);
  uint64_t word = entry->load(std::memory_order_acquire);
  while (static_cast<PageNumber>(word) != page) [[unlikely]] {
      if (word == 0) return false;
      uint64_t same = table;
      asm("" : "+r"(same));  // or the compiler works out the table's mask for every hit
      entry = PageTable::Unpack(same).After(entry);
      word = entry->load(std::memory_order_acquire);
    }
  uint32_t slot_word = static_cast<uint32_t>(word >> 32);
  // Not open, not used most, or not locked in this process.
  if (slot_word - kSlotTag > frames_.slot_limit()) [[unlikely]] {
    if (!PageTable::IsOpen(word)) return false;
    PageTable::Found{const_cast<PageTable::Entry*>(entry), word}.Use();
    word |= PageTable::kUsageBits;
    slot_word |= kSlotTag;
    if (slot_word - kSlotTag > frames_.slot_limit()) return false;
  }
  PinSlot* slot = &line->slots[0];
  if (slot->load(std::memory_order_acquire) != 0) [[unlikely]] {
    slot = line->FindFree();
    if (slot == nullptr) return false;
  }
  pinned.slot = slot;
  slot->store(slot_word, kSlotStore);
  KILL_POINT("hit.stored");
  std::atomic_signal_fence(std::memory_order_seq_cst);
  const uint64_t again = entry->load(kLoadAfterSlotStore);
  if (again != word && !PageTable::IsSame(again, word)) [[unlikely]]
    return false;
  KILL_POINT("hit.pinned");
  PinLine::Count(line->hits);
  pinned.bytes = frames_.FrameOfSlot(slot_word);
  return true;
}

[[gnu::always_inline]] inline bool PoolCore::EndPin(PinSlot& slot) {
  if (!InOwningProcess()) [[unlikely]]
    return false;  // a forked child's copy of a pin, whose line need not be there
  return PinLine::Of(slot).Free(slot);
}

// The page was changed before the mark is set, and the mark is set before the pin ends. It is
// stored even where it is set already: whoever takes it away to write the page would otherwise miss
// a change that this CPU has not let out yet.
[[gnu::always_inline]] inline PoolCore::PutResult PoolCore::TryPut(const void* address,
                                                                   bool dirty) {
  if (!ThreadLine::IsLast(id_)) [[unlikely]]
    return PutResult::kNotHere;
  PinLine* const line = ThreadLine::Last();
  // To compare addresses is less work than to find out which frame this one is of.
  PinSlot* slot = &line->slots[0];
  uint32_t word = slot->load(std::memory_order_relaxed);
  if (word == 0 || frames_.FrameOfSlot(word) != address) [[unlikely]] {
    const FrameIndex frame = frames_.FrameNear(address);
    slot = frame == kNoFrame ? nullptr : line->Find(frame);
    if (slot == nullptr) return PutResult::kNotHere;
    word = SlotWord(frame);
  }
  if (dirty) header(FrameInSlot(word)).dirty.store(true, std::memory_order_release);
  KILL_POINT("put.marked");
  line->last_put.store(word, std::memory_order_relaxed);
  return line->Free(*slot) ? PutResult::kWake : PutResult::kDone;
}

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_POOL_HITS_H_
