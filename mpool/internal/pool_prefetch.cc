// Prefetch: many pages at once, so that a device works on all of them together.
//
// Frames come first, all of a batch: to get one may mean to write its page, and the filter of that
// may ask for any page of the pool. Only then are the pages of the batch in kLoading, where others
// wait for them. For the same reason pages are read one by one where there is a filter for reading.

#include <algorithm>
#include <array>

#include "mpool/internal/pool_core.h"
#include "mpool/internal/probes.h"

namespace mpool::internal {

// Takes frames for pages from the front of the list that are not in the pool, until the batch is
// full, the list has ended or there are no more. Returns how many.
size_t PoolCore::TakeFrames(std::span<const PageNumber>& pages, std::span<Fetching> batch) {
  size_t count = 0;
  while (count < batch.size() && !pages.empty()) {
    const PageNumber page = pages.front();
    const auto taken = std::find_if(batch.begin(), batch.begin() + static_cast<ptrdiff_t>(count),
                                    [page](const Fetching& other) { return other.page == page; });
    const bool wanted = page < state_->page_count && frames_.table().Find(page) == kNoFrame &&
                        taken == batch.begin() + static_cast<ptrdiff_t>(count);
    if (wanted) {
      const os::Result<FrameIndex> frame = TakeFrame(Overflows::kForbidden);
      if (!frame.ok()) {
        pages = {};
        break;
      }
      batch[count++] = {page, *frame};
    }
    pages = pages.subspan(1);
  }
  return count;
}

// Returns how many have been read.
size_t PoolCore::LoadMany(std::span<const Fetching> batch) {
  std::array<PageIo::PageRead, PageIo::kPagesPerRead> reads;
  std::array<FrameIndex, PageIo::kPagesPerRead> frames;
  size_t count = 0;
  for (const Fetching& fetching : batch) {
    // To take the frames may have let go of the latch, and another thread may have been first.
    if (frames_.table().Find(fetching.page) != kNoFrame) {
      GiveBack(fetching.frame);
      continue;
    }
    const Pinned pinned = BeginLoading(fetching.page, fetching.frame, Access::kNone);
    frames[count] = fetching.frame;
    reads[count++] = {fetching.page, pinned.bytes, fetching.page < state_->pages_in_file,
                      os::kSuccess};
  }
  {
    const Unlatched unlatched(*this);
    io_.ReadMany(std::span(reads).first(count));
  }
  size_t read = 0;
  for (size_t i = 0; i < count; ++i) {
    probe::PageIn(reads[i].page, reads[i].error);
    if (reads[i].error.ok()) {
      ++state_->stats.page_ins;
      ++state_->stats.prefetched;
      ++read;
      FinishLoading(frames[i]);
    } else {
      ++state_->stats.read_errors;
      AbandonLoading(frames[i]);
    }
  }
  return read;
}

size_t PoolCore::Prefetch(std::span<const PageNumber> pages) {
  const Holder holder(*this);
  size_t read = 0;
  while (!pages.empty()) {
    // More than the pool can hold would only drive out what was read before.
    const bool may_grow = frames_taken_ >= grow_again_at_;
    const uint64_t holds = may_grow ? frames_.ordinary_max() : frames_.frames();
    const uint64_t left = holds - std::min<uint64_t>(read, holds);
    const size_t batch_max = filters_.page_in != nullptr ? 1 : PageIo::kPagesPerRead;
    std::array<Fetching, PageIo::kPagesPerRead> batch;
    const size_t count =
        TakeFrames(pages, std::span(batch).first(std::min<uint64_t>(batch_max, left)));
    if (count == 0) break;
    if (batch_max > 1) {
      read += LoadMany(std::span(batch).first(count));
    } else if (frames_.table().Find(batch[0].page) != kNoFrame) {
      GiveBack(batch[0].frame);
    } else if (Load(batch[0].page, batch[0].frame, Access::kNone).ok()) {
      ++state_->stats.prefetched;
      ++read;
    }
  }
  return read;
}

}  // namespace mpool::internal
