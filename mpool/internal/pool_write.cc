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
#include "mpool/internal/pool_core.h"

namespace mpool::internal {

// Writes the pages of the frames, which follow one another in the file. Preconditions: kValid; at
// most pages_per_write(). Lets go of the latch. On error those that could not be written are dirty
// again.
PoolCore::WriteResult PoolCore::WriteBack(std::span<const FrameIndex> frames) {
  for (const FrameIndex frame : frames) {
    header(frame).state = FrameState::kWriteback;
    ++io_in_flight_;
  }
  WriteResult result{WriteRun(frames), header(frames.front()).page_number};
  if (!result.error.ok() && frames.size() > 1) {
    // One bad page must not keep the others from the file.
    result.error = os::kSuccess;
    for (const FrameIndex& frame : frames) {
      const os::Errno error = WriteRun({&frame, 1});
      if (result.error.ok()) result = {error, header(frame).page_number};
    }
  }
  for (const FrameIndex frame : frames) {
    header(frame).state = FrameState::kValid;
    --io_in_flight_;
  }
  changed_.NotifyAll();
  return result;
}

os::Errno PoolCore::WriteFailed(const WriteResult& result) {
  return Failed(result.error, "page %u cannot be written and stays dirty in the pool: %s",
                result.page, std::strerror(result.error.code()));
}

// One write of frames in kWriteback, and what it means for their pages.
os::Errno PoolCore::WriteRun(std::span<const FrameIndex> frames) {
  const PageNumber first = header(frames.front()).page_number;
  const Filters filters = filters_;
  std::array<std::byte*, PageIo::kPagesPerWrite> pages;
  for (size_t i = 0; i < frames.size(); ++i) {
    pages[i] = frames_.frame(frames[i]);
    // A full fence: what was done to the page before it was marked is read below, and what is done
    // later marks it again.
    header(frames[i]).dirty.exchange(false, std::memory_order_seq_cst);
  }
  os::Errno error;
  {
    const os::LatchRelease release(latch_);
    error = io_.Write(first, std::span(pages).first(frames.size()), filters);
  }
  if (!error.ok()) {
    for (const FrameIndex frame : frames) {
      header(frame).dirty.store(true, std::memory_order_release);
    }
    return error;
  }
  for (const FrameIndex frame : frames) header(frame).unsynced = true;
  stats_.page_outs += frames.size();
  const PageNumber end = first + static_cast<PageNumber>(frames.size());
  pages_in_file_ = std::max(pages_in_file_, end);
  page_count_ = std::max(page_count_, end);
  return error;
}

// Lists the dirty pages, and those that are being written and may yet turn out to be dirty, by
// number.
os::Errno PoolCore::CollectDirty(std::unique_ptr<DirtyPage[]>& pages, size_t& count) {
  const auto concerned = [](const FrameHeader& h) {
    return h.state == FrameState::kWriteback ||
           (h.holds_page() && h.dirty.load(std::memory_order_acquire));
  };
  count = 0;
  frames_.ForEachFrame([&](FrameIndex frame) {
    if (concerned(header(frame))) ++count;
  });
  const size_t counted = count;  // hits go on, and more may become dirty: those are a later sync's
  pages.reset(new (std::nothrow) DirtyPage[count]);
  if (pages == nullptr) {
    return Failed(os::Errno(ENOMEM), "no memory for the list of %zu dirty pages", count);
  }
  count = 0;
  frames_.ForEachFrame([&](FrameIndex frame) {
    if (count < counted && concerned(header(frame))) {
      pages[count++] = {header(frame).page_number, frame};
    }
  });
  std::sort(pages.get(), pages.get() + count,
            [](const DirtyPage& a, const DirtyPage& b) { return a.page < b.page; });
  return os::kSuccess;
}

// From the front of the list: fills `run` with frames of dirty pages that follow one another, and
// returns how many pages of the list that settles. Waits only while the run is empty.
size_t PoolCore::NextRun(std::span<const DirtyPage> pages, Latched latched,
                         std::span<FrameIndex> run, size_t& length) {
  length = 0;
  for (size_t i = 0; i < pages.size(); ++i) {
    const auto& [page, frame] = pages[i];
    const FrameHeader& h = header(frame);
    if (length > 0 && (length == run.size() || page != pages[i - 1].page + 1)) return i;
    const auto is_there = [&h, number = page] { return h.holds_page() && h.page_number == number; };
    while (is_there() && h.state == FrameState::kWriteback) {
      if (length > 0) return i;
      changed_.Wait(latch_);
    }
    const bool may_be_written = latched == Latched::kToo || !h.write_latched;
    if (is_there() && may_be_written && h.dirty.load(std::memory_order_acquire)) {
      run[length++] = frame;
    } else if (length > 0) {
      return i + 1;
    }
  }
  return pages.size();
}

// One fdatasync. The kernel reports a failed write once, to whichever fdatasync comes first, so
// where one fails every page that was written since the last success is to be written again,
// whoever wrote it.
os::Errno PoolCore::SyncFile() {
  while (sync_under_way_) changed_.Wait(latch_);
  sync_under_way_ = true;
  frames_.ForEachFrame([&](FrameIndex frame) {
    FrameHeader& h = header(frame);
    h.syncing = std::exchange(h.unsynced, false);
  });
  os::Errno error;
  {
    const os::LatchRelease release(latch_);
    error = io_.Sync();
  }
  frames_.ForEachFrame([&](FrameIndex frame) {
    FrameHeader& h = header(frame);
    const bool lost = !error.ok() && (h.syncing || h.unsynced);
    if (lost) h.dirty.store(true, std::memory_order_release);
    h.syncing = false;
  });
  if (!error.ok()) {
    ++sync_failures_;
    sync_error_ = error;
  }
  sync_under_way_ = false;
  changed_.NotifyAll();
  return error;
}

os::Errno PoolCore::Sync() {
  const os::LatchHolder holder(latch_);
  std::unique_ptr<DirtyPage[]> pages;
  size_t count = 0;
  if (const os::Errno error = CollectDirty(pages, count); !error.ok()) return error;
  const uint64_t failures_before = sync_failures_;
  std::array<FrameIndex, PageIo::kPagesPerWrite> run;
  WriteResult first_failure;
  for (std::span<DirtyPage> rest(pages.get(), count); !rest.empty();) {
    size_t length = 0;
    rest = rest.subspan(
        NextRun(rest, Latched::kToo, std::span(run).first(io_.pages_per_write()), length));
    if (length == 0) continue;
    const WriteResult result = WriteBack(std::span(run).first(length));
    if (first_failure.error.ok()) first_failure = result;
  }
  os::Errno sync_error = SyncFile();
  // Another thread's fdatasync may have been told of a page that was written here.
  if (sync_error.ok() && sync_failures_ != failures_before) sync_error = sync_error_;
  RefreshMirrors();
  if (!first_failure.error.ok()) return WriteFailed(first_failure);
  if (sync_error.ok()) return os::kSuccess;
  return Failed(sync_error, "the file cannot be synchronised, its pages stay dirty: %s",
                std::strerror(sync_error.code()));
}

}  // namespace mpool::internal
