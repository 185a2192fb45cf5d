// Where frames come from: the free list, growth, eviction, and overflow while all pages are pinned.
//
// Victims are taken in batches. Their entries are closed, one barrier shows which of them are
// pinned after all, and the rest wait, still cached, until a frame is needed. Whoever asks for such
// a page meanwhile gets it, under the latch, and it is a victim no more.

#include <algorithm>
#include <array>

#include "mpool/internal/error_text.h"
#include "mpool/internal/kill_point.h"
#include "mpool/internal/pool_core.h"
#include "mpool/internal/probes.h"

namespace mpool::internal {
namespace {

// Where the lock limit stopped the pool's growth, it asks again after it has taken so many frames.
constexpr uint64_t kFramesBetweenGrowth = 1024;
// A batch of victims is no larger a part of the pool.
constexpr uint64_t kBatchShare = 32;

}  // namespace

FrameIndex PoolCore::PopFree() {
  const FrameIndex frame = state_->free;
  if (frame != kNoFrame) {
    state_->free = header(frame).next;
    KILL_POINT("free.popped");
    header(frame).next = kNoFrame;
    header(frame).owner = Owner();
  }
  return frame;
}

// A frame that holds no page goes to the free list or, if it was more than maxcache, to the system.
void PoolCore::GiveBack(FrameIndex frame) {
  if (frames_.IsGrowthFrame(frame)) {
    frames_.RemoveGrowthFrame(frame);
    return;
  }
  KILL_POINT("free.pushing");
  header(frame).next = state_->free;
  state_->free = frame;
  header(frame).owner = 0;
}

// Makes the frame hold no page. Precondition: no pins, and nobody is doing I/O on it.
void PoolCore::DropPage(FrameIndex frame) {
  FrameHeader& h = header(frame);
  if (h.queue == FrameQueue::kIdle) {
    state_->idle_growth.Remove(frames_.headers(), frame);
  } else if (h.queue != FrameQueue::kNone) {
    replacer_->Remove(frame);
  }
  KILL_POINT("drop.unqueued");
  frames_.table().Erase(h.page_number);
  KILL_POINT("drop.erased");
  frames_.lines().ForgetLastPut(frame);
  --state_->cached;
  h.owner = Owner();
  InOrder();
  h.Reset(FrameState::kFree);
  KILL_POINT("drop.free");
}

bool PoolCore::MayGrow() const {
  return frames_.frames() - frames_.growth_frames() < frames_.ordinary_max();
}

os::Errno PoolCore::Grow() {
  const uint64_t before = frames_.frames() - frames_.growth_frames();
  const os::Result<uint64_t> added = frames_.Grow();
  if (!added.ok()) {
    grow_again_at_ = frames_taken_ + kFramesBetweenGrowth;
    return Failed(added.error(), "no locked memory for more pages: %s", frames_.FailureText());
  }
  KILL_POINT("grow.added");
  for (uint64_t i = *added; i > 0; --i) GiveBack(static_cast<FrameIndex>(before + i - 1));
  return os::kSuccess;
}

// What the calling thread may still be reading: code written for mpool(3) does until it asks for
// another page.
FrameIndex PoolCore::LastPutOfThisThread() {
  const PinLine* const line = ClaimLine();
  const uint32_t word = line == nullptr ? 0 : line->last_put.load(std::memory_order_relaxed);
  return word == 0 ? kNoFrame : FrameInSlot(word);
}

// --- Victims ------------------------------------------------------------------------------------

// Takes pages from the replacer until a batch of them is closed and not pinned, or it has been
// asked for as many as it has. Returns how many that were.
uint64_t PoolCore::PrepareVictims(bool clean_only, FrameIndex spared) {
  const uint64_t size = replacer_->size();
  // Without other threads there is no barrier to be shared.
  const size_t wanted = frames_.lines().used() > 1
                            ? std::clamp<uint64_t>(size / kBatchShare, 1, PoolState::kVictimsMax)
                            : 1;
  std::array<FrameIndex, PoolState::kVictimsMax> batch;
  size_t count = 0;
  uint64_t asked = 0;
  bool were_open = false;
  for (; count < wanted && asked < size; ++asked) {
    const FrameIndex frame = replacer_->Take();
    if (frame == kNoFrame) break;
    const FrameHeader& h = header(frame);
    if ((h.pins > 0 && h.owed == 0) || h.state != FrameState::kValid || frame == spared ||
        (clean_only && h.dirty.load(std::memory_order_relaxed)) || h.stays_unwritten()) {
      replacer_->Return(frame);
      continue;
    }
    KILL_POINT("victims.taken");
    were_open |= frames_.table().Close(h.page_number);
    batch[count++] = frame;
  }
  KILL_POINT("victims.closed");
  if (were_open) Barrier();
  for (const FrameIndex frame : std::span(batch).first(count)) {
    if (header(frame).owed > 0) SettleOwed(frame);
    if (PinsOf(frame) == 0 && state_->victim_count < PoolState::kVictimsMax) {
      state_->victims[state_->victim_count++] = frame;
    } else {
      replacer_->Return(frame);
      Reopen(frame);
    }
  }
  return asked;
}

// The first victim that may go; the caller's then. kNoFrame: there is none.
FrameIndex PoolCore::PopVictim(bool clean_only, FrameIndex spared) {
  const auto end = state_->victims.begin() + static_cast<ptrdiff_t>(state_->victim_count);
  const auto found = std::find_if(state_->victims.begin(), end, [&](FrameIndex frame) {
    const FrameHeader& h = header(frame);  // a sync may be writing it
    return h.state == FrameState::kValid && frame != spared &&
           !(clean_only && h.dirty.load(std::memory_order_acquire));
  });
  if (found == end) return kNoFrame;
  const FrameIndex frame = *found;
  std::move(found + 1, end, found);
  --state_->victim_count;
  KILL_POINT("victims.popped");
  return frame;
}

// Whether it is certain without a look at each frame that all pages are pinned. A program that pins
// more than the pool holds would else have every one of its gets look at all of them.
bool PoolCore::AreAllPinned() {
  const uint64_t pages = state_->cached - frames_.growth_frames();
  const uint64_t left = pages - std::min(pages, state_->frames_with_counted_pins);
  std::array<FrameIndex, PoolState::kVictimsMax> in_lines;
  if (left > in_lines.size() || state_->owed_pins > 0) return false;
  size_t count = 0;
  frames_.lines().ForEachPin([&](FrameIndex frame) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const auto end = in_lines.begin() + static_cast<ptrdiff_t>(count);
    const bool counts = header(frame).pins == 0 && header(frame).owed == 0 &&
                        std::find(in_lines.begin(), end, frame) == end;
    if (counts && count < in_lines.size()) in_lines[count++] = frame;
  });
  return count == left;
}

// A frame that nobody has pinned, closed, or kNoFrame: two scans have found none.
FrameIndex PoolCore::NextVictim(bool clean_only, FrameIndex spared) {
  if (AreAllPinned()) return kNoFrame;
  const uint64_t asked_max = 2 * (replacer_->size() + state_->victim_count);
  for (uint64_t asked = 0;;) {
    const FrameIndex frame = PopVictim(clean_only, spared);
    if (frame != kNoFrame || asked >= asked_max) return frame;
    // Victims that will not do would otherwise fill the batch.
    while (state_->victim_count > 0) Rescue(state_->victims[0]);
    const uint64_t more = PrepareVictims(clean_only, spared);
    if (more == 0) return PopVictim(clean_only, spared);
    asked += more;
  }
}

// A victim stays.
void PoolCore::Rescue(FrameIndex frame) {
  const auto end = state_->victims.begin() + static_cast<ptrdiff_t>(state_->victim_count);
  const auto found = std::find(state_->victims.begin(), end, frame);
  if (found != end) {  // else somebody is writing it, to evict it then
    std::move(found + 1, end, found);
    --state_->victim_count;
  }
  replacer_->Return(frame);
  Reopen(frame);
}

// Makes a victim, or an idle growth frame, hold no page, writing the page first if it is dirty.
// False: the page came into use meanwhile. An error: it cannot be written, and stays.
os::Result<bool> PoolCore::Evict(FrameIndex frame) {
  const FrameHeader& h = header(frame);
  const FrameQueue queue = h.queue;
  if (h.dirty.load(std::memory_order_acquire)) {
    const os::Errno error = WriteBack(std::span(&frame, 1)).error;
    // It was kept in its frame while it was written, but others may have used it.
    const bool stays = !error.ok() || h.dirty.load(std::memory_order_acquire);
    if (stays && h.is_victim()) Rescue(frame);
    if (!error.ok()) return error;
    if (stays || h.queue != queue) return false;
  }
  KILL_POINT("evict.clean");
  if (h.is_victim()) replacer_->Evicted(frame);
  probe::Evict(h.page_number, frame);
  DropPage(frame);
  ++state_->stats.evictions;
  return true;
}

// --- Growth frames ------------------------------------------------------------------------------

// Growth frames that are no longer pinned go back, all but one that the caller may still be
// reading. May let go of the latch.
void PoolCore::ReturnGrowthFrames() {
  if (state_->idle_growth.size() == 0) return;
  const FrameIndex last_put = LastPutOfThisThread();
  // Clean ones first: one that cannot be written must not keep them.
  for (const bool dirty : {false, true}) {
    FrameIndex frame = state_->idle_growth.first();
    for (uint64_t left = state_->idle_growth.size(); left > 0 && frame != kNoFrame; --left) {
      const FrameHeader& h = header(frame);
      const FrameIndex next = h.next;
      const bool goes = frame != last_put && h.state == FrameState::kValid &&
                        !h.stays_unwritten() && h.dirty.load(std::memory_order_acquire) == dirty;
      if (goes) {
        const os::Result<bool> evicted = Evict(frame);
        if (!evicted.ok()) return;  // it stays until it can be written
        if (*evicted) GiveBack(frame);
      }
      frame = goes && dirty ? state_->idle_growth.first() : next;  // the list may be another
    }
  }
}

FrameIndex PoolCore::FirstIdleGrowthFrame() {
  FrameIndex frame = state_->idle_growth.first();
  while (frame != kNoFrame &&
         (header(frame).state != FrameState::kValid || header(frame).stays_unwritten())) {
    frame = header(frame).next;
  }
  return frame;
}

// A frame for the caller alone, holding no page. May let go of the latch. EAGAIN: it would have to
// be one more than maxcache, which is forbidden.
os::Result<FrameIndex> PoolCore::TakeFrame(Overflows overflows, Deadline deadline) {
  ++frames_taken_;
  ReturnGrowthFrames();
  WriteResult failed_write;
  for (;;) {
    if (const os::Errno error = CatchUp(); !error.ok()) return error;
    if (const FrameIndex frame = PopFree(); frame != kNoFrame) return frame;
    if (MayGrow() && frames_taken_ >= grow_again_at_ && Grow().ok()) continue;
    // After a failed write only clean pages are taken, so this ends.
    const bool clean_only = !failed_write.error.ok();
    FrameIndex victim = NextVictim(clean_only, LastPutOfThisThread());
    if (victim == kNoFrame && SweepDead()) continue;
    if (victim == kNoFrame) {
      // The page that this thread put last goes only where there cannot be one frame more.
      victim = NextVictim(clean_only, kNoFrame);
      if (clean_only && victim == kNoFrame) return WriteFailed(failed_write);
      const os::Result<FrameIndex> frame =
          overflows == Overflows::kAllowed ? Overflow() : os::Errno(EAGAIN);
      if (victim != kNoFrame && (frame.ok() || overflows == Overflows::kForbidden)) Rescue(victim);
      if (frame.ok() || overflows == Overflows::kForbidden) return frame;
      if (victim == kNoFrame) victim = FirstIdleGrowthFrame();
      if (victim == kNoFrame) {
        // A page that is being read can be taken when that is done, and one that is being written,
        // if it is not pinned; but in a filter this thread might wait for itself.
        const bool only_written = state_->loading == 0 && AreAllPinned();
        if (state_->io_in_flight == 0 || only_written || PageIo::InFilter()) return frame;
        if (Await(deadline)) continue;
        return Failed(os::Errno(ETIMEDOUT), "all pages are in use, being read or being written");
      }
    }
    const PageNumber page = header(victim).page_number;
    const os::Result<bool> evicted = Evict(victim);
    if (!evicted.ok()) {
      failed_write = {evicted.error(), page};
    } else if (*evicted) {
      return victim;
    }
  }
}

// Every page is in use: one more frame than maxcache.
os::Result<FrameIndex> PoolCore::Overflow() {
  if (MayGrow() && Grow().ok()) return PopFree();
  os::Result<FrameIndex> frame = frames_.AddGrowthFrame(/*locked=*/true);
  if (frame.ok()) {
    header(*frame).owner = Owner();
    KILL_POINT("overflow.added");
    return frame;
  }
  const os::Errno error =
      Failed(frame.error(), "all %llu pages in the pool are in use and no more can be locked: %s",
             static_cast<unsigned long long>(state_->cached), frames_.FailureText());
  if (!config_.allow_unlocked) return error;
  frame = frames_.AddGrowthFrame(/*locked=*/false);
  return frame.ok() ? frame : error;
}

}  // namespace mpool::internal
