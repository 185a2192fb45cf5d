// Pins under the latch: counted ones, those of other threads, and accesses that exclude each other.
//
// An exclusive access counts its pin first, so that the page stays. Then it closes the page's
// entry, so that no thread gets it without the latch any more, and waits for those who have it.
// After it has ended, the page stays closed for some gets more: a page that is written again and
// again would else cost a process barrier each time.

#include <algorithm>

#include "mpool/internal/error_text.h"
#include "mpool/internal/kill_point.h"
#include "mpool/internal/pool_core.h"
#include "mpool/internal/pool_hits.h"
#include "os/process_barrier.h"
#include "os/thread_id.h"

namespace mpool::internal {
namespace {

constexpr uint8_t kReadsToOpen = 8;
constexpr std::chrono::milliseconds kWaitBeforeLook{10};

}  // namespace

// --- Without the latch --------------------------------------------------------------------------

// A writer waits on a condition. It has said so before it looked at the slots, with a barrier in
// between; so either it has seen this thread's slot free, or this thread has seen it waiting.
void PoolCore::WakeWriters() {
  const Holder holder(*this);
  changed_.NotifyAll();
}

os::Errno PoolCore::Put(const void* address, bool dirty) {
  (void)ThreadLine::Of(id_);  // it may only not have been this thread's last one
  const PutResult result = TryPut(address, dirty);
  if (result == PutResult::kWake) WakeWriters();
  if (result != PutResult::kNotHere) return os::kSuccess;
  const Holder holder(*this);
  const os::Result<FrameIndex> frame = PinnedFrameAt(address);
  if (!frame.ok()) return frame.error();
  if (dirty) header(*frame).dirty.store(true, std::memory_order_release);
  if (header(*frame).pins > 0) {
    EndCountedPin(*frame, Access::kPinned);
    ++state_->stats.puts;
  } else {
    EndPinOfAnother(*frame);
  }
  if (PinLine* const line = ClaimLine()) {
    line->last_put.store(SlotWord(*frame), std::memory_order_relaxed);
  }
  return os::kSuccess;
}

void PoolCore::Release(const Pinned& pinned, Access access, bool dirty) {
  const FrameIndex frame = frames_.FrameNear(pinned.bytes);
  if (dirty) header(frame).dirty.store(true, std::memory_order_release);  // as TryPut does
  if (pinned.slot != nullptr) {
    if (EndPin(*pinned.slot)) WakeWriters();
    return;
  }
  const Holder holder(*this);
  EndCountedPin(frame, access);
  ++state_->stats.puts;
}

// --- Lines --------------------------------------------------------------------------------------

// The calling thread's line; null where there are no more.
PinLine* PoolCore::ClaimLine() {
  if (PinLine* const line = ThreadLine::Of(id_)) return line;
  const os::ThreadId thread = os::CurrentThread();
  PinLine* line = frames_.lines().Claim(thread, state_->waiting_writers);
  if (line == nullptr && frames_.AddPinLines())
    line = frames_.lines().Claim(thread, state_->waiting_writers);
  if (line != nullptr) ThreadLine::Remember(id_, line);
  return line;
}

// Pins a page in the calling thread's line, where a hit could have done it. Null: not possible. The
// page is being loaded by this thread, or its entry is open.
PinSlot* PoolCore::PinInLine(FrameIndex frame) {
  if (!hits_without_latch_ || frames_.IsGrowthFrame(frame)) return nullptr;
  PinLine* const line = ClaimLine();
  if (line == nullptr) return nullptr;
  PinSlot* slot = line->FindFree();
  if (slot == nullptr) {
    Settle(*line);
    slot = line->FindFree();
    if (slot == nullptr) return nullptr;
  }
  slot->store(SlotWord(frame), kSlotStore);
  KILL_POINT("pin.in_line");
  ++state_->line_pins;
  return slot;
}

// Frees the slots of the calling thread's pins that others have ended.
void PoolCore::Settle(PinLine& line) {
  for (PinSlot& slot : line.slots) {
    const uint32_t held = slot.load(std::memory_order_acquire);
    if (held == 0 || OwedBy(Self(), FrameInSlot(held)) == 0) continue;
    AddOwed(Self(), FrameInSlot(held), -1);
    slot.store(0, kSlotStore);
  }
}

// Owed pins are this process' own: it has put them, in one thread for another.
uint32_t PoolCore::OwedBy(uint32_t participant, FrameIndex frame) const {
  if (ledger_ == nullptr) return header(frame).owed;
  return OwedIn(region_->ledger(participant)[frame].load(std::memory_order_relaxed));
}

void PoolCore::AddOwed(uint32_t participant, FrameIndex frame, int more) {
  header(frame).owed = static_cast<uint16_t>(header(frame).owed + more);
  state_->owed_pins += static_cast<uint64_t>(int64_t{more});
  KILL_POINT("owed.counted");
  if (more > 0) NoteFor(participant, frame, kLedgerOwed, 0);
  if (more < 0) NoteFor(participant, frame, 0, kLedgerOwed);
}

// Those that a put was owed for may have been counted ones: see SettleOwed.
uint32_t PoolCore::PinsOf(FrameIndex frame) {
  const FrameHeader& h = header(frame);
  const uint64_t pins = uint64_t{h.pins} + frames_.lines().CountPins(frame);
  return static_cast<uint32_t>(pins - std::min<uint64_t>(pins, h.owed));
}

// A slot whose pin was owed may have been freed by a put of another pin of the page, one that is
// counted, or by a put too many. Precondition: the entry is closed, after a barrier.
void PoolCore::SettleOwed(FrameIndex frame) {
  const uint32_t participants = region_ == nullptr ? 1 : region_->superblock().participants_used;
  for (uint32_t i = 0; i < participants && header(frame).owed > 0; ++i) {
    uint32_t owed = OwedBy(i, frame);
    if (owed == 0) continue;
    for (const uint32_t held = frames_.lines().CountPinsIn(i, frame); owed > held; --owed) {
      AddOwed(i, frame, -1);
      const uint32_t counted =
          ledger_ == nullptr ? header(frame).pins
                             : PinsIn(region_->ledger(i)[frame].load(std::memory_order_relaxed));
      if (counted == 0) continue;
      UncountPinOf(i, frame);
      ++state_->stats.puts;
    }
  }
}

// The pin is in the line of a thread that may be using it at this moment, so the slot stays.
void PoolCore::EndPinOfAnother(FrameIndex frame) {
  AddOwed(Self(), frame, 1);
  changed_.NotifyAll();  // as the end of any pin does, to those who wait for the page
}

void PoolCore::Barrier() {
  const PinLines& lines = frames_.lines();
  if (!hits_without_latch_ || lines.used() == 0) return;
  // Without lines of other threads there are no hits but this thread's.
  if (lines.IsOnly(ThreadLine::Of(id_))) return;
  BarrierForAll();
}

void PoolCore::BarrierForAll() {
  if (region_ == nullptr) {
    os::ProcessBarrier();
  } else {
    os::SharedBarrier();
  }
}

// From now on whoever wants the page needs the latch, and what was pinned without it is seen.
void PoolCore::Close(FrameIndex frame) {
  if (frames_.table().Close(header(frame).page_number)) Barrier();
}

// Opens the entry, if nothing is in the way of hits.
void PoolCore::Reopen(FrameIndex frame) {
  const FrameHeader& h = header(frame);
  const bool open = hits_without_latch_ && h.holds_page() && !frames_.IsGrowthFrame(frame) &&
                    !h.is_victim() && !h.write_latched && !h.suspect && h.reads_to_open == 0;
  if (open) frames_.table().Open(h.page_number);
}

// --- Counted pins -------------------------------------------------------------------------------

void PoolCore::CountPin(FrameIndex frame) {
  FrameHeader& h = header(frame);
  if (h.queue == FrameQueue::kIdle) state_->idle_growth.Remove(frames_.headers(), frame);
  Note(frame, kLedgerPin, 0);
  KILL_POINT("pin.noted");
  if (h.pins++ == 0 && !frames_.IsGrowthFrame(frame)) ++state_->frames_with_counted_pins;
  h.pinner = os::ThisThread();
  ++state_->counted_pins;
}

void PoolCore::UncountPin(FrameIndex frame) { UncountPinOf(Self(), frame); }

void PoolCore::UncountPinOf(uint32_t participant, FrameIndex frame) {
  FrameHeader& h = header(frame);
  NoteFor(participant, frame, 0, kLedgerPin);
  KILL_POINT("unpin.noted");
  --state_->counted_pins;
  if (--h.pins > 0) return;
  if (!frames_.IsGrowthFrame(frame)) {
    --state_->frames_with_counted_pins;
  } else if (h.holds_page()) {
    state_->idle_growth.PushBack(frames_.headers(), frame);
  }
}

void PoolCore::AddReader(FrameIndex frame) {
  ++header(frame).readers;
  Note(frame, kLedgerReader, 0);
}

void PoolCore::RemoveReader(FrameIndex frame) {
  --header(frame).readers;
  Note(frame, 0, kLedgerReader);
}

void PoolCore::SetWriter(FrameIndex frame) {
  header(frame).write_latched = true;
  KILL_POINT("writer.latched");
  Note(frame, kLedgerWriter, 0);
}

void PoolCore::ClearWriter(FrameIndex frame) {
  KILL_POINT("writer.ending");
  header(frame).write_latched = false;
  Note(frame, 0, kLedgerWriter);
}

void PoolCore::EndCountedPin(FrameIndex frame, Access access) {
  FrameHeader& h = header(frame);
  if (access == Access::kShared) RemoveReader(frame);
  if (access == Access::kExclusive) {
    ClearWriter(frame);
    h.reads_to_open = frames_.lines().used() > 1 ? kReadsToOpen : 0;
    Reopen(frame);
  }
  UncountPin(frame);
  if (access != Access::kPinned && h.pins > 0) changed_.NotifyAll();
}

// The frame whose page a caller has pinned, by the address that it was given.
os::Result<FrameIndex> PoolCore::PinnedFrameAt(const void* address) {
  const FrameIndex frame = frames_.FrameAt(address);
  if (frame == kNoFrame) {
    return Failed(os::Errno(EINVAL), "%p is not the address of a page in this pool", address);
  }
  if (!header(frame).holds_page() || PinsOf(frame) == 0) {
    return Failed(os::Errno(EINVAL), "the page at %p is not pinned; each put needs a get or new",
                  address);
  }
  return frame;
}

// Ends the one pin of a page.
void PoolCore::EndOnlyPin(FrameIndex frame, const Pinned& pinned, Access access) {
  PinLine* const line = ThreadLine::Of(id_);
  PinSlot* slot = pinned.slot;
  if (slot == nullptr && line != nullptr) slot = line->Find(frame);
  if (slot != nullptr && header(frame).pins == 0) {
    slot->store(0, kSlotStore);
    --state_->line_pins;
  } else if (header(frame).pins > 0) {
    if (access == Access::kShared) RemoveReader(frame);
    if (access == Access::kExclusive) ClearWriter(frame);
    UncountPin(frame);
  } else {
    EndPinOfAnother(frame);
    --state_->line_pins;
  }
}

// --- Accesses -----------------------------------------------------------------------------------

// False: the deadline has passed. Whoever is waited for may have died, with its process, so in a
// shared pool that is looked after now and then.
bool PoolCore::Await(Deadline deadline) {
  ++state_->stats.waits;
  if (region_ == nullptr) return changed_.WaitUntil(latch_, deadline);
  const Deadline look = std::chrono::steady_clock::now() + kWaitBeforeLook;
  const bool in_time = changed_.WaitUntil(latch_, std::min(deadline, look));
  Resume();
  if (in_time) return true;
  return SweepDead() || look < deadline;
}

os::Result<Pinned> PoolCore::Pin(FrameIndex frame, Access access, Deadline deadline) {
  FrameHeader& h = header(frame);
  if (h.is_victim()) Rescue(frame);
  replacer_->Use(frame);
  Pinned pinned{.bytes = frames_.frame(frame)};
  if (access == Access::kNone) return pinned;
  if (access != Access::kExclusive && frames_.table().Look(h.page_number).open()) {
    pinned.slot = PinInLine(frame);
    if (pinned.slot != nullptr) return pinned;
  }
  if (h.pins >= kPinsMax / 2 && PinsOf(frame) >= kPinsMax) {
    return Failed(os::Errno(EAGAIN),
                  "page %u is pinned %u times, the most there can be; put it back", h.page_number,
                  kPinsMax);
  }
  CountPin(frame);
  os::Errno error;
  if (access == Access::kShared) error = AwaitSharing(frame, deadline);
  if (access == Access::kExclusive) error = AwaitExclusion(frame, deadline);
  if (error.ok()) return pinned;
  UncountPin(frame);
  if (h.pins > 0) changed_.NotifyAll();
  return Failed(error, "page %u is still in use by another thread", h.page_number);
}

os::Errno PoolCore::AwaitSharing(FrameIndex frame, Deadline deadline) {
  FrameHeader& h = header(frame);
  while (h.write_latched) {
    if (!Await(deadline) && h.write_latched) return os::Errno(ETIMEDOUT);
  }
  AddReader(frame);
  if (h.reads_to_open > 0 && --h.reads_to_open == 0) Reopen(frame);
  return os::kSuccess;
}

// Whether an exclusive access has to wait. Precondition: the entry is closed.
bool PoolCore::IsInUse(FrameIndex frame) {
  const FrameHeader& h = header(frame);
  return h.write_latched || h.readers > 0 || h.state == FrameState::kWriteback ||
         frames_.lines().CountPins(frame) > h.owed;
}

void PoolCore::AddWaitingWriters(int more) {
  const uint32_t added = static_cast<uint32_t>(more);
  if (region_ != nullptr) region_->superblock().participants[Self()].waiting_writers += added;
  KILL_POINT("writer.waiting");
  state_->waiting_writers += added;
  frames_.lines().SetWaitingWriters(state_->waiting_writers);
}

os::Errno PoolCore::AwaitExclusion(FrameIndex frame, Deadline deadline) {
  FrameHeader& h = header(frame);
  const auto close = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    h.reads_to_open = kReadsToOpen;
    Close(frame);
  };
  close();
  bool in_use = IsInUse(frame);
  if (in_use) {
    AddWaitingWriters(1);
    // Always: a pin in a line may be ended by a thread that has no line (EndPin).
    if (hits_without_latch_) BarrierForAll();
    bool in_time = true;
    while ((in_use = IsInUse(frame)) && in_time) {
      in_time = Await(deadline);
      close();  // gets have gone on meanwhile, and may have opened it
    }
    AddWaitingWriters(-1);
    // Not looked at again: a hit that will retreat may be in a slot for a moment.
    if (in_use) return os::Errno(ETIMEDOUT);
  }
  SetWriter(frame);
  return os::kSuccess;
}

}  // namespace mpool::internal
