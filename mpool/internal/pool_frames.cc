// Where frames come from: the free list, growth, eviction, and overflow while all pages are pinned.

#include "mpool/internal/error_text.h"
#include "mpool/internal/pool_core.h"

namespace mpool::internal {
namespace {

// Where the lock limit stopped the pool's growth, it asks again after it has taken so many frames.
constexpr uint64_t kFramesBetweenGrowth = 1024;

}  // namespace

void PoolCore::SetDirty(FrameHeader& h, bool dirty) {
  if (h.dirty == dirty) return;
  h.dirty = dirty;
  stats_.dirty += dirty ? 1 : uint64_t(-1);
}

void PoolCore::Queue(FrameIndex frame) {
  replacer_->Insert(frame);
  if (frames_.IsGrowthFrame(frame)) ++growth_queued_;
}

void PoolCore::Unqueue(FrameIndex frame) {
  replacer_->Remove(frame);
  if (frames_.IsGrowthFrame(frame)) --growth_queued_;
}

FrameIndex PoolCore::PopFree() {
  const FrameIndex frame = free_;
  if (frame != kNoFrame) {
    free_ = header(frame).next;
    header(frame).next = kNoFrame;
  }
  return frame;
}

// A frame that holds no page goes to the free list or, if it was more than maxcache, to the system.
void PoolCore::GiveBack(FrameIndex frame) {
  if (frames_.IsGrowthFrame(frame)) {
    frames_.RemoveGrowthFrame(frame);
    return;
  }
  header(frame).next = free_;
  free_ = frame;
}

// Makes the frame hold no page. Precondition: no pins, not queued, nobody is doing I/O on it.
void PoolCore::DropPage(FrameIndex frame) {
  FrameHeader& h = header(frame);
  SetDirty(h, false);
  frames_.table().Erase(h.page_number);
  last_puts_.Forget(frame);
  --cached_;
  const bool unlocked = h.unlocked;
  h = FrameHeader();
  h.state = FrameState::kFree;
  h.unlocked = unlocked;
}

os::Errno PoolCore::Grow() {
  const uint64_t before = frames_.frames() - frames_.growth_frames();
  const os::Result<uint64_t> added = frames_.Grow();
  if (!added.ok()) {
    grow_again_at_ = frames_taken_ + kFramesBetweenGrowth;
    return Failed(added.error(), "no locked memory for more pages: %s", frames_.FailureText());
  }
  for (uint64_t i = *added; i > 0; --i) GiveBack(static_cast<FrameIndex>(before + i - 1));
  return os::kSuccess;
}

// The frame to take, which is not `spared`.
FrameIndex PoolCore::ChooseVictim(bool clean_only, FrameIndex spared) {
  FrameIndex frame = replacer_->First();
  while (frame != kNoFrame && (frame == spared || (clean_only && header(frame).dirty))) {
    frame = replacer_->After(frame);
  }
  return frame;
}

// Makes a queued frame hold no page, writing the page first if it is dirty. False: the page came
// into use meanwhile. An error: it cannot be written, and is as before.
os::Result<bool> PoolCore::Evict(FrameIndex frame) {
  const FrameHeader& h = header(frame);
  if (h.dirty) {
    if (const os::Errno error = WriteBack({&frame, 1}).error; !error.ok()) return error;
    // It was kept in its frame while it was written, but others may have used it.
    if (!h.queued || h.dirty) return false;
  }
  Unqueue(frame);
  DropPage(frame);
  ++stats_.evictions;
  return true;
}

// Growth frames that are no longer pinned go back, all but one that the caller may still be
// reading. May let go of the latch.
void PoolCore::ReturnGrowthFrames() {
  const FrameIndex last_put = last_puts_.OfThisThread();
  FrameIndex next = growth_queued_ > 0 ? replacer_->First() : kNoFrame;
  for (uint64_t left = growth_queued_; left > 0 && next != kNoFrame;) {
    const FrameIndex frame = next;
    next = replacer_->After(frame);
    if (!frames_.IsGrowthFrame(frame) || frame == last_put) continue;
    --left;
    const bool was_dirty = header(frame).dirty;
    const os::Result<bool> evicted = Evict(frame);
    if (!evicted.ok()) return;  // it stays until it can be written
    if (*evicted) GiveBack(frame);
    if (was_dirty) next = replacer_->First();  // the latch was let go of: the queue may be another
  }
}

// A frame for the caller alone, holding no page. May let go of the latch. EAGAIN: it would have to
// be one more than maxcache, which is forbidden.
os::Result<FrameIndex> PoolCore::TakeFrame(Overflows overflows) {
  ++frames_taken_;
  ReturnGrowthFrames();
  WriteResult failed_write;
  for (;;) {
    if (const FrameIndex frame = PopFree(); frame != kNoFrame) return frame;
    const bool may_grow = frames_.frames() - frames_.growth_frames() < frames_.ordinary_max();
    if (may_grow && frames_taken_ >= grow_again_at_ && Grow().ok()) continue;
    // After a failed write only clean pages are taken, so this ends.
    const bool clean_only = !failed_write.error.ok();
    FrameIndex victim = ChooseVictim(clean_only, last_puts_.OfThisThread());
    if (victim == kNoFrame) {
      // The page that this thread put last goes only where there cannot be one frame more.
      victim = ChooseVictim(clean_only, kNoFrame);
      if (clean_only && victim == kNoFrame) return WriteFailed(failed_write);
      if (overflows == Overflows::kForbidden) return os::Errno(EAGAIN);
      const os::Result<FrameIndex> frame = Overflow();
      if (frame.ok()) return frame;
      if (victim == kNoFrame) {
        // A page that is being read or written can be taken when that is done; but in a filter this
        // thread might wait for itself.
        if (io_in_flight_ == 0 || PageIo::InFilter()) return frame;
        changed_.Wait(latch_);
        continue;
      }
    }
    const os::Result<bool> evicted = Evict(victim);
    if (!evicted.ok()) {
      failed_write = {evicted.error(), header(victim).page_number};
    } else if (*evicted) {
      if (!frames_.IsGrowthFrame(victim)) return victim;
      GiveBack(victim);
    }
  }
}

// Every page is in use: one more frame than maxcache.
os::Result<FrameIndex> PoolCore::Overflow() {
  const bool may_grow = frames_.frames() - frames_.growth_frames() < frames_.ordinary_max();
  if (may_grow && Grow().ok()) return PopFree();
  os::Result<FrameIndex> frame = frames_.AddGrowthFrame(/*locked=*/true);
  if (frame.ok()) return frame;
  const os::Errno error =
      Failed(frame.error(), "all %llu pages in the pool are in use and no more can be locked: %s",
             static_cast<unsigned long long>(cached_), frames_.FailureText());
  if (!config_.allow_unlocked) return error;
  frame = frames_.AddGrowthFrame(/*locked=*/false);
  return frame.ok() ? frame : error;
}

}  // namespace mpool::internal
