// The background writer: a thread that writes dirty pages before a miss has to.
//
// It writes what is likely to go soon, pages that were not used lately, and no more than a part of
// the pool at a time, so that misses find others to take. It never calls fdatasync: what it has
// written is synchronised by the next sync, as what an eviction has written.

#include <algorithm>
#include <array>
#include <chrono>

#include "mpool/internal/pool_core.h"
#include "os/thread.h"

namespace mpool::internal {
namespace {

constexpr std::chrono::milliseconds kPause{20};
constexpr std::chrono::milliseconds kPauseAfterFailure{1000};
// Frames looked at in one go, under the latch: some 0.2 ms.
constexpr uint64_t kFramesPerLook = 16'384;
// At most so large a part of the pool is being written at a time.
constexpr uint64_t kShareBeingWritten = 8;
// A page that was used more often stays anyway.
constexpr unsigned kUsageMax = 1;

}  // namespace

// Once, at the first use of a page: filters are set by then. Where there can be no thread, the next
// miss tries again.
void PoolCore::StartWriter() {
  if (!config_.background_writer || writer_.joinable()) return;
  (void)os::StartThread(writer_, "mpool-writer", [this] { RunWriter(); });
}

void PoolCore::StopWriter() {
  {
    const Holder holder(*this);
    writer_stops_ = true;
    writer_wakes_.NotifyAll();
  }
  if (writer_.joinable()) writer_.join();
}

void PoolCore::RunWriter() {
  const Holder holder(*this);
  while (!writer_stops_) {
    const bool written = WriteSome();
    const auto pause = written ? kPause : kPauseAfterFailure;
    const auto deadline = std::chrono::steady_clock::now() + pause;
    while (!writer_stops_ && writer_wakes_.WaitUntil(latch_, deadline)) {
    }
    Resume();  // others have had the latch
  }
}

// Writes some of the pages that are dirty and cold. False: one of them could not be written.
bool PoolCore::WriteSome() {
  (void)SweepDead();  // what they have left half changed is not to be written
  std::array<DirtyPage, PageIo::kPagesPerWrite> pages;
  const uint64_t ordinary = frames_.frames() - frames_.growth_frames();
  const uint64_t most =
      std::min<uint64_t>(pages.size(), std::max<uint64_t>(ordinary / kShareBeingWritten, 1));
  size_t count = 0;
  const uint64_t looks = std::min(ordinary, kFramesPerLook);
  for (uint64_t i = 0; i < looks && count < most; ++i) {
    writer_hand_ = writer_hand_ + 1 < ordinary ? writer_hand_ + 1 : 0;
    const FrameHeader& h = header(writer_hand_);
    if (h.state != FrameState::kValid || h.write_latched ||
        !h.dirty.load(std::memory_order_acquire)) {
      continue;
    }
    if (usage_.UsageOf(writer_hand_) <= kUsageMax) pages[count++] = {h.page_number, writer_hand_};
  }
  std::sort(pages.begin(), pages.begin() + static_cast<ptrdiff_t>(count),
            [](const DirtyPage& a, const DirtyPage& b) { return a.page < b.page; });
  const uint64_t before = state_->stats.page_outs;
  const bool written = WriteInBatches({pages.data(), count}, Latched::kNot).error.ok();
  // Others may have written meanwhile: at most what was asked for.
  state_->stats.writer_outs += std::min<uint64_t>(state_->stats.page_outs - before, count);
  return written;
}

}  // namespace mpool::internal
