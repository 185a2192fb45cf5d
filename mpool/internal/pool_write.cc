// Write-back: from eviction, one page, and from sync, all dirty ones in runs.
//
// A page's dirty mark is taken away before its write begins and comes back if the write fails, so a
// page that is changed again meanwhile stays dirty. While a page is in kWriteback its frame stays,
// and whoever wants to write it too, or to change it (Access::kExclusive), waits. Nobody waits for
// one while it holds others, so there is no deadlock.

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

#include "mpool/internal/error_text.h"
#include "mpool/internal/kill_point.h"
#include "mpool/internal/pool_core.h"
#include "mpool/internal/probes.h"

namespace mpool::internal {
namespace {

// A batch of more than one run is no larger a part of the pool.
constexpr uint64_t kBatchShare = 4;

}  // namespace

// Writes the pages of the runs at once; those of a run follow one another in the file.
// Preconditions: all are kValid; a run has at most pages_per_write(), all have at most
// kPagesPerBatch. Lets go of the latch. On error those that could not be written are dirty again.
PoolCore::WriteResult PoolCore::WriteBack(std::span<Run> runs) {
  for (const Run& run : runs) {
    for (const FrameIndex frame : run.frames) {
      header(frame).owner = Owner();
      InOrder();
      header(frame).state = FrameState::kWriteback;
      InOrder();
    }
    state_->io_in_flight += run.frames.size();
  }
  KILL_POINT("write.stated");
  WriteRuns(runs);
  WriteResult first_failure;
  const auto note = [&](os::Errno error, FrameIndex frame) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (first_failure.error.ok()) first_failure = {error, header(frame).page_number};
  };
  for (const Run& run : runs) {
    if (run.error.ok() || run.frames.size() == 1) {
      note(run.error, run.frames.front());
      continue;
    }
    // One bad page must not keep the others from the file.
    for (const FrameIndex& frame : run.frames) {
      Run one{.frames = {&frame, 1}, .error = {}};
      WriteRuns({&one, 1});
      note(one.error, frame);
    }
  }
  NoteWrittenPinned(runs);
  for (const Run& run : runs) {
    for (const FrameIndex frame : run.frames) {
      header(frame).state = FrameState::kValid;
      InOrder();
      KILL_POINT("write.valid");
      header(frame).owner = 0;
    }
    state_->io_in_flight -= run.frames.size();
  }
  changed_.NotifyAll();
  return first_failure;
}

// Whoever has a page pinned may have been changing it while it was written. If it is put dirty, it
// is written again; but its process may die first. Then the file is no better than the page, which
// must not go before somebody has been told.
void PoolCore::NoteWrittenPinned(std::span<const Run> runs) {
  if (region_ == nullptr) return;
  BarrierForAll();
  for (const Run& run : runs) {
    for (const FrameIndex frame : run.frames) {
      FrameHeader& h = header(frame);
      h.written_pinned = PinsOf(frame) > 0;
      if (h.suspect) h.dirty.store(true, std::memory_order_release);  // it has died already
    }
  }
}

PoolCore::WriteResult PoolCore::WriteBack(std::span<const FrameIndex> run) {
  Run one{.frames = run, .error = {}};
  return WriteBack({&one, 1});
}

os::Errno PoolCore::WriteFailed(const WriteResult& result) {
  return Failed(result.error, "page %u cannot be written and stays dirty in the pool: %s",
                result.page, std::strerror(result.error.code()));
}

// Writes runs of frames in kWriteback, once, and notes what that means for their pages.
void PoolCore::WriteRuns(std::span<Run> runs) {
  const Filters filters = filters_;
  std::array<std::byte*, kPagesPerBatch> pages;
  std::array<PageIo::PageWrite, kPagesPerBatch> writes;
  size_t page_count = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    const size_t first = page_count;
    for (const FrameIndex frame : runs[i].frames) {
      pages[page_count++] = frames_.frame(frame);
      // A full fence: what was done to the page before it was marked is read below, and what is
      // done later marks it again.
      header(frame).dirty.exchange(false, std::memory_order_seq_cst);
    }
    writes[i] = {.first_page = header(runs[i].frames.front()).page_number,
                 .frames = std::span(pages).subspan(first, page_count - first),
                 .error = {}};
  }
  {
    const Unlatched unlatched(*this);
    KILL_POINT("write.unmarked");
    io_.WriteMany(std::span(writes).first(runs.size()), filters);
    KILL_POINT("write.written");
  }
  for (size_t i = 0; i < runs.size(); ++i) {
    runs[i].error = writes[i].error;
    probe::WriteBack(writes[i].first_page, runs[i].frames.size(), runs[i].error);
    for (const FrameIndex frame : runs[i].frames) {
      if (runs[i].error.ok()) {
        header(frame).unsynced = true;
      } else {
        header(frame).dirty.store(true, std::memory_order_release);
      }
    }
    if (!runs[i].error.ok()) {
      state_->stats.write_errors += runs[i].frames.size();
      continue;
    }
    state_->stats.page_outs += runs[i].frames.size();
    const PageNumber end = writes[i].first_page + static_cast<PageNumber>(runs[i].frames.size());
    state_->pages_in_file = std::max(state_->pages_in_file, end);
    state_->page_count = std::max(state_->page_count, end);
  }
}

// Lists the dirty pages, and those that are being written and may yet turn out to be dirty, by
// number.
os::Errno PoolCore::CollectDirty(std::unique_ptr<DirtyPage[]>& pages, size_t& count) {
  const auto concerned = [](const FrameHeader& h) {
    return h.state == FrameState::kWriteback ||
           (h.holds_page() && h.dirty.load(std::memory_order_acquire));
  };
  // Hits go on and mark pages meanwhile. None of those that were dirty when this began may be left
  // out for one of those, so a list that has become too short is made again.
  size_t room = 0;
  do {
    count = 0;
    frames_.ForEachFrame([&](FrameIndex frame) {
      if (concerned(header(frame))) ++count;
    });
    room = count + count / 8 + 64;
    pages.reset(new (std::nothrow) DirtyPage[room]);
    if (pages == nullptr) {
      return Failed(os::Errno(ENOMEM), "no memory for the list of %zu dirty pages", count);
    }
    count = 0;
    frames_.ForEachFrame([&](FrameIndex frame) {
      if (!concerned(header(frame))) return;
      if (count < room) pages[count] = {header(frame).page_number, frame};
      ++count;
    });
  } while (count > room);
  std::sort(pages.get(), pages.get() + count,
            [](const DirtyPage& a, const DirtyPage& b) { return a.page < b.page; });
  return os::kSuccess;
}

// From the front of the list: fills `run` with frames of dirty pages that follow one another, and
// returns how many pages of the list that settles. Waits for pages that are being written only
// while the run is empty, and only if it may; else it ends before them.
size_t PoolCore::NextRun(std::span<const DirtyPage> pages, Latched latched, bool may_wait,
                         std::span<FrameIndex> run, size_t& length) {
  length = 0;
  for (size_t i = 0; i < pages.size(); ++i) {
    const auto& [page, frame] = pages[i];
    const FrameHeader& h = header(frame);
    if (length > 0 && (length == run.size() || page != pages[i - 1].page + 1)) return i;
    const auto is_there = [&h, number = page] { return h.holds_page() && h.page_number == number; };
    while (is_there() && h.state == FrameState::kWriteback) {
      if (length > 0 || !may_wait) return i;
      (void)Await(kNoDeadline);
    }
    const bool may_be_written = (latched == Latched::kToo || !h.write_latched) && !h.suspect;
    if (is_there() && may_be_written && h.dirty.load(std::memory_order_acquire)) {
      run[length++] = frame;
    } else if (length > 0) {
      return i + 1;
    }
  }
  return pages.size();
}

// Writes the pages of the list that are dirty still, many runs at a time. Returns the first error.
PoolCore::WriteResult PoolCore::WriteInBatches(std::span<const DirtyPage> pages, Latched latched) {
  // More than a run only if that is a small part of the pool, so that misses find others to take.
  const size_t pages_max =
      std::clamp<uint64_t>(frames_.frames() / kBatchShare, io_.pages_per_write(), kPagesPerBatch);
  std::array<FrameIndex, kPagesPerBatch> frames;
  std::array<Run, kPagesPerBatch> runs;
  WriteResult first_failure;
  const bool for_writer = latched == Latched::kNot;
  while (!pages.empty() && !(for_writer && writer_stops_)) {
    size_t used = 0, count = 0;
    while (!pages.empty() && used < pages_max) {
      const std::span<FrameIndex> left =
          std::span(frames).subspan(used, std::min(pages_max - used, io_.pages_per_write()));
      size_t length = 0;
      const size_t settled = NextRun(pages, latched, /*may_wait=*/used == 0, left, length);
      if (settled == 0) break;  // what comes next is being written: this batch first
      pages = pages.subspan(settled);
      if (length > 0) runs[count++] = {.frames = left.first(length), .error = {}};
      used += length;
    }
    if (count == 0) continue;
    const WriteResult result = WriteBack(std::span(runs).first(count));
    if (first_failure.error.ok()) first_failure = result;
  }
  return first_failure;
}

// One fdatasync. The kernel reports a failed write once, to whichever fdatasync comes first, so
// where one fails every page that was written since the last success is to be written again,
// whoever wrote it.
os::Errno PoolCore::SyncFile() {
  while (state_->sync_owner != 0) (void)Await(kNoDeadline);
  state_->sync_owner = Owner();
  KILL_POINT("sync.begun");
  frames_.ForEachFrame([&](FrameIndex frame) {
    FrameHeader& h = header(frame);
    if (!h.unsynced) return;
    h.syncing = true;
    InOrder();
    KILL_POINT("sync.marking");
    h.unsynced = false;
  });
  os::Errno error;
  {
    const Unlatched unlatched(*this);
    KILL_POINT("sync.unlatched");
    error = io_.Sync();
    KILL_POINT("sync.done");
  }
  frames_.ForEachFrame([&](FrameIndex frame) {
    FrameHeader& h = header(frame);
    const bool lost = !error.ok() && (h.syncing || h.unsynced);
    if (lost) h.dirty.store(true, std::memory_order_release);
    h.syncing = false;
  });
  if (!error.ok()) {
    ++state_->sync_failures;
    state_->sync_error = error.code();
  }
  state_->sync_owner = 0;
  changed_.NotifyAll();
  return error;
}

os::Errno PoolCore::Sync() {
  const Holder holder(*this);
  ++state_->stats.syncs;
  (void)SweepDead();  // what they have left half changed is not to be written
  std::unique_ptr<DirtyPage[]> pages;
  size_t count = 0;
  if (const os::Errno error = CollectDirty(pages, count); !error.ok()) return error;
  const uint64_t failures_before = state_->sync_failures;
  PageNumber suspect = kMaxPageNumber;
  for (const DirtyPage& dirty : std::span(pages.get(), count)) {
    if (header(dirty.frame).suspect) suspect = std::min(suspect, dirty.page);
  }
  const WriteResult first_failure = WriteInBatches({pages.get(), count}, Latched::kToo);
  os::Errno sync_error = SyncFile();
  // Another thread's fdatasync may have been told of a page that was written here.
  if (sync_error.ok() && state_->sync_failures != failures_before) {
    sync_error = os::Errno(state_->sync_error);
  }
  RefreshMirrors();
  if (!first_failure.error.ok()) return WriteFailed(first_failure);
  if (sync_error.ok() && suspect != kMaxPageNumber) {
    return Failed(os::Errno(EOWNERDEAD),
                  "page %u is not written: a process died that may have been changing it; get it "
                  "to be told so, look at it, and sync again",
                  suspect);
  }
  if (sync_error.ok()) return os::kSuccess;
  return Failed(sync_error, "the file cannot be synchronised, its pages stay dirty: %s",
                std::strerror(sync_error.code()));
}

}  // namespace mpool::internal
