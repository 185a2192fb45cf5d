// Shared pools: to come and to go, to learn what others have added, and to make good what a process
// has left undone that was killed.
//
// Whoever gets the latch of a dead process, waits in vain, finds no frame, or joins, looks who is
// no more. Then everything that can be told from frame headers, pin lines and ledgers is made anew
// from them, whatever state it is in: page table, queues, lists and counts. So it makes no
// difference where in a call the process was killed, nor whether it was killed in here: the next
// one begins again.
//
// What is believed, because each step leaves it right (InOrder):
//  * the state and page number of a frame, and whose it is (`owner`);
//  * its dirty mark; that of a page whose writer is dead is set;
//  * one word for each frame and participant (ledger), and the slots of its lines.

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "mpool/internal/error_text.h"
#include "mpool/internal/kill_point.h"
#include "mpool/internal/open_file.h"
#include "mpool/internal/pool_core.h"
#include "mpool/internal/shared_file.h"
#include "os/process_barrier.h"

namespace mpool::internal {

// --- Coming and going ---------------------------------------------------------------------------

os::Result<PoolCore*> PoolCore::OpenShared(os::Memory& memory, Locker& locker,
                                           std::span<const std::byte> key, int descriptor,
                                           const PoolConfig& config) {
  if (config.page_size == 0) return NoPageSize();
  os::Result<std::unique_ptr<SharedRegion>> region =
      SharedRegion::Attach({.key = key, .page_size = config.page_size});
  if (!region.ok()) return region.error();
  os::Result<os::OwnedDescriptor> opened = OpenSharedFile(**region, descriptor);
  if (!opened.ok()) return opened.error();
  std::unique_ptr<os::File> file = os::BorrowFile(opened->get());
  if (file == nullptr) return Failed(os::Errno(EAGAIN), "no memory for a pool");
  (*region)->KeepFile(std::move(*opened));
  return OpenIn(memory, locker, std::move(file), config, std::move(*region));
}

void PoolCore::ShareLines(uint32_t own) {
  Superblock& superblock = region_->superblock();
  frames_.lines().Share(region_->lines(), Superblock::kLinesPerParticipant, superblock.lines,
                        &superblock.participants_used, own);
}

os::Errno PoolCore::LockOwnPart() {
  const std::span<PinLine> lines(
      region_->lines() + region_->self() * Superblock::kLinesPerParticipant,
      Superblock::kLinesPerParticipant);
  for (const std::span<std::byte> bytes :
       {region_->superblock_bytes(), std::as_writable_bytes(lines)}) {
    if (const os::Errno error = locker_.Lock(bytes); !error.ok()) {
      if (bytes.data() != region_->superblock_bytes().data()) {
        (void)locker_.Unlock(region_->superblock_bytes());
      }
      return Failed(error, "no locked memory for a pool: %s", locker_.ErrorText());
    }
  }
  own_part_locked_ = true;
  return os::kSuccess;
}

os::Errno PoolCore::PrepareToShare() {
  ShareLines(0);  // to look at: whose line is this process' is not known yet
  hits_without_latch_ = os::PrepareSharedBarrier();
  if (!hits_without_latch_) {
    return Failed(
        os::Errno(ENOTSUP),
        "shared pools need membarrier(2) with MEMBARRIER_CMD_GLOBAL_EXPEDITED (Linux 4.16), "
        "which the kernel or a seccomp filter denies");
  }
  return os::kSuccess;
}

// The door is this process'.
os::Errno PoolCore::JoinOthers() {
  if (region_->is_new()) {
    if (const os::Errno error = PrepareState(); !error.ok()) return error;
  } else {
    (void)SweepDead();
  }
  if (const os::Errno error = region_->TakePlace(config_.pins_may_write); !error.ok()) return error;
  KILL_POINT("attach.placed");
  ShareLines(region_->self());
  if (const os::Errno error = LockOwnPart(); !error.ok()) return error;
  ledger_ = region_->ledger(region_->self());
  KILL_POINT("attach.ledger");
  state_->pages_max = std::max<uint64_t>(state_->pages_max, config_.pages_max);
  frames_.set_ordinary_max(std::min(state_->pages_max, region_->ordinary_max()));
  return CatchUp();
}

// Ends what this process has in a shared pool.
void PoolCore::Leave() {
  region_->PrepareToLeave();
  if (region_->self() < Superblock::kParticipantsMax) {
    const Holder holder(*this);
    KILL_POINT("detach.latched");
    if (ledger_ != nullptr) EndOwnPins();
    KILL_POINT("detach.pins_ended");
    region_->GiveUpPlace();
  }
  if (!own_part_locked_) return;
  (void)locker_.Unlock(region_->superblock_bytes());
  (void)locker_.Unlock(std::as_writable_bytes(
      std::span(region_->lines() + region_->self() * Superblock::kLinesPerParticipant,
                Superblock::kLinesPerParticipant)));
}

uint64_t PoolCore::OwnPins() {
  uint64_t pins = 0, owed = 0;
  frames_.lines().ForEachPinIn(region_->self(), [&](FrameIndex) { ++pins; });
  frames_.ForEachFrame([&](FrameIndex frame) {
    const uint64_t word = ledger_[frame].load(std::memory_order_relaxed);
    pins += PinsIn(word);
    owed += OwedIn(word);
  });
  return pins - std::min(pins, owed);
}

void PoolCore::EndOwnPins() {
  frames_.lines().EndPinsIn(region_->self());
  frames_.ForEachFrame([&](FrameIndex frame) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const uint64_t word = ledger_[frame].load(std::memory_order_relaxed);
    if (word == 0) return;
    if (IsWriterIn(word)) ClearWriter(frame);
    for (uint32_t i = ReadersIn(word); i > 0; --i) RemoveReader(frame);
    for (uint32_t i = OwedIn(word); i > 0; --i) AddOwed(Self(), frame, -1);
    for (uint32_t i = PinsIn(word); i > 0; --i) UncountPin(frame);
    Reopen(frame);
  });
  changed_.NotifyAll();
}

// --- What others have added ---------------------------------------------------------------------

void PoolCore::Resume() {
  if (region_ == nullptr) return;
  frames_.Refresh();
  if (latch_.abandoned()) Recover();
}

os::Errno PoolCore::CannotLock(os::Errno error) {
  return Failed(error, "another process has made the pool larger than this process can lock: %s",
                frames_.FailureText());
}

os::Errno PoolCore::CatchUp() {
  const os::Errno error = frames_.CatchUp();
  return error.ok() ? error : CannotLock(error);
}

os::Errno PoolCore::EnsureLocked(FrameIndex frame) {
  const os::Errno error = frames_.EnsureLocked(frame);
  return error.ok() ? error : CannotLock(error);
}

// --- What others have left undone ---------------------------------------------------------------

// True: somebody was dead, and has been cleaned up after.
bool PoolCore::SweepDead() {
  if (region_ == nullptr || !region_->IsAnyoneDead()) return false;
  Recover();
  return true;
}

void PoolCore::Suspect(FrameIndex frame) {
  if (!header(frame).holds_page() || header(frame).suspect) return;
  // First: a suspect page that is clean may go without a word, as the file has it whole.
  if (header(frame).written_pinned) header(frame).dirty.store(true, std::memory_order_release);
  InOrder();
  header(frame).suspect = true;
  ++state_->stats.suspects;
}

// Ends what a dead participant had; its place is free then. Of a C caller's pin nobody knows
// whether it was for writing.
void PoolCore::SettleDead(uint32_t participant) {
  Participant& dead = region_->superblock().participants[participant];
  LedgerWord* const ledger = region_->ledger(participant);
  const auto suspect = [&](FrameIndex frame) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (frame >= frames_.ordinary_end() && !frames_.IsGrowthFrame(frame)) return;
    const uint64_t word = ledger[frame].load(std::memory_order_relaxed);
    // A slot that is owed is of a pin that is over.
    const uint32_t pins = PinsIn(word) + frames_.lines().CountPinsIn(participant, frame);
    const bool may_write = dead.pins_may_write != 0 && pins > OwedIn(word);
    if (IsWriterIn(word) || may_write) Suspect(frame);
  };
  frames_.ForEachFrame([&](FrameIndex frame) {
    if (ledger[frame].load(std::memory_order_relaxed) != 0) suspect(frame);
  });
  frames_.lines().ForEachPinIn(participant, suspect);
  KILL_POINT("recover.suspects");
  frames_.lines().EndPinsIn(participant);
  KILL_POINT("recover.lines");
  frames_.ForEachFrame([&](FrameIndex frame) {
    if (ledger[frame].load(std::memory_order_relaxed) != 0) {
      ledger[frame].store(0, std::memory_order_relaxed);
    }
  });
  KILL_POINT("recover.ledger");
  dead.waiting_writers = 0;
  InOrder();
  dead.in_use = 0;
}

// What is only told from other things, to begin with; and the state, where its owner is dead.
void PoolCore::RecoverHeader(FrameIndex frame) {
  FrameHeader& h = header(frame);
  const Superblock& superblock = region_->superblock();
  const bool owned = h.owner > 0 && h.owner <= Superblock::kParticipantsMax &&
                     superblock.participants[h.owner - 1].in_use != 0;
  if (!owned || h.state == FrameState::kValid) {
    if (h.state == FrameState::kLoading) h.Reset(FrameState::kFree);
    if (h.state == FrameState::kWriteback) {
      h.dirty.store(true, std::memory_order_relaxed);
      InOrder();
      h.state = FrameState::kValid;
    }
    const bool goes = h.state == FrameState::kFree && frames_.IsGrowthFrame(frame);
    if (goes) h.Reset(FrameState::kAbsent);
    InOrder();
    h.owner = 0;
  }
  if (h.syncing && state_->sync_owner == 0) {
    h.unsynced = true;
    InOrder();
    h.syncing = false;
  }
  h.pins = h.readers = h.owed = 0;
  h.write_latched = false;
  h.reads_to_open = 0;
  h.previous = h.next = kNoFrame;
}

// The pins that are counted, from all ledgers.
void PoolCore::RecoverPins(FrameIndex frame) {
  FrameHeader& h = header(frame);
  const Superblock& superblock = region_->superblock();
  for (uint32_t i = 0; i < superblock.participants_used; ++i) {
    if (superblock.participants[i].in_use == 0) continue;
    const uint64_t word = region_->ledger(i)[frame].load(std::memory_order_relaxed);
    if (word == 0) continue;
    h.pins = static_cast<uint16_t>(h.pins + PinsIn(word));
    h.readers = static_cast<uint16_t>(h.readers + ReadersIn(word));
    h.owed = static_cast<uint16_t>(h.owed + OwedIn(word));
    h.write_latched = h.write_latched || IsWriterIn(word);
  }
  state_->counted_pins += h.pins;
  state_->owed_pins += h.owed;
  if (h.pins > 0 && !frames_.IsGrowthFrame(frame)) ++state_->frames_with_counted_pins;
}

// Puts the frame where it belongs: into the table, and into a list.
void PoolCore::RecoverPlace(FrameIndex frame) {
  FrameHeader& h = header(frame);
  const FrameQueue queue = std::exchange(h.queue, FrameQueue::kNone);
  if (h.state == FrameState::kAbsent) return;
  if (h.state == FrameState::kFree) {
    if (h.owner == 0) GiveBack(frame);
    return;
  }
  frames_.table().Insert(h.page_number, frame);
  ++state_->cached;
  if (h.state == FrameState::kLoading) ++state_->loading;
  if (h.state != FrameState::kValid) ++state_->io_in_flight;
  if (h.state == FrameState::kLoading) return;
  if (frames_.IsGrowthFrame(frame)) {
    if (h.pins == 0) state_->idle_growth.PushBack(frames_.headers(), frame);
  } else if (queue == FrameQueue::kSmall || queue == FrameQueue::kTakenNew) {
    state_->queues.small.PushBack(frames_.headers(), frame);
  } else {
    state_->queues.main.PushBack(frames_.headers(), frame);
  }
}

void PoolCore::Recover() {
  Superblock& superblock = region_->superblock();
  KILL_POINT("recover.begin");
  for (uint32_t i = 0; i < superblock.participants_used; ++i) {
    if (superblock.participants[i].in_use != 0 && !region_->IsAlive(i)) SettleDead(i);
  }
  if (state_->sync_owner != 0 && superblock.participants[state_->sync_owner - 1].in_use == 0) {
    state_->sync_owner = 0;
  }
  frames_.ClearTables();
  KILL_POINT("recover.tables");
  state_->queues.small.Clear();
  state_->queues.main.Clear();
  state_->idle_growth.Clear();
  state_->free = kNoFrame;
  state_->victim_count = 0;
  state_->cached = state_->counted_pins = state_->owed_pins = 0;
  state_->frames_with_counted_pins = state_->io_in_flight = state_->loading = 0;
  frames_.ForEachFrame([&](FrameIndex frame) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    RecoverHeader(frame);
    RecoverPins(frame);
  });
  frames_.CountGrowthFrames();
  KILL_POINT("recover.headers");
  frames_.ForEachFrame([&](FrameIndex frame)
                           ABSL_NO_THREAD_SAFETY_ANALYSIS { RecoverPlace(frame); });
  KILL_POINT("recover.places");
  uint32_t waiting = 0;
  for (uint32_t i = 0; i < superblock.participants_used; ++i) {
    if (superblock.participants[i].in_use != 0)
      waiting += superblock.participants[i].waiting_writers;
  }
  state_->waiting_writers = waiting;
  frames_.lines().SetWaitingWriters(waiting);
  // Now whoever pinned a page by an old entry is seen.
  BarrierForAll();
  frames_.ForEachFrame([&](FrameIndex frame) ABSL_NO_THREAD_SAFETY_ANALYSIS { Reopen(frame); });
  ++state_->stats.recoveries;
  KILL_POINT("recover.end");
  latch_.SetRepaired();
  changed_.NotifyAll();
}

// A page that a process may have been changing when it died. False: it has gone, and is to be read
// again.
os::Result<bool> PoolCore::MeetSuspect(FrameIndex frame) {
  FrameHeader& h = header(frame);
  const PageNumber page = h.page_number;
  if (h.is_victim()) Rescue(frame);
  if (config_.suspects == SuspectMode::kDrop && h.state == FrameState::kValid &&
      PinsOf(frame) == 0) {
    DropPage(frame);
    GiveBack(frame);
    return false;
  }
  // It may differ from the file, though nobody has said so.
  h.dirty.store(true, std::memory_order_release);
  InOrder();
  h.suspect = false;
  Reopen(frame);
  if (config_.suspects == SuspectMode::kKeep) return true;
  return Failed(
      os::Errno(EOWNERDEAD),
      "page %u may be half changed: a process died that had it pinned. It stays as it is; "
      "the next get succeeds",
      page);
}

}  // namespace mpool::internal
