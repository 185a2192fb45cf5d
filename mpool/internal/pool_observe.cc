// PoolCore::Report: a pool of one process, as others may see it.

#include <algorithm>
#include <utility>
#include <vector>

#include "mpool/internal/held_pins.h"
#include "mpool/internal/pool_core.h"
#include "mpool/internal/pool_statistics.h"
#include "os/process_identity.h"

namespace mpool::internal {
namespace {

// Looked at in one go, under the latch: some 10 us.
constexpr uint64_t kFramesPerLook = 4096;

}  // namespace

void PoolCore::ReportFrames(uint64_t first, uint64_t end, PoolReport& report) {
  for (uint64_t i = first; i < end; ++i) {
    const FrameHeader& h = header(static_cast<FrameIndex>(i));
    FrameMarks marks = MarksOf(h);
    if (frames_.IsGrowthFrame(static_cast<FrameIndex>(i))) marks |= kFrameGrowth;
    if ((marks & kFrameDirty) != 0) ++report.stats.dirty;
    report.frames.push_back(marks);
  }
}

PoolReport PoolCore::Report() {
  PoolReport report;
  HeldPins pins;
  std::vector<std::pair<FrameIndex, PageNumber>> pages;  // of frames with pins
  const int32_t pid = os::ProcessIdentity::OfThisProcess().pid;
  uint64_t extent = 0;
  {
    const Holder holder(*this);
    report.stats = StatsOf(*state_, frames_.state(), frames_.lines().Sum());
    report.page_size = page_size();
    report.pages_max = state_->pages_max;
    report.page_count = state_->page_count;
    report.frames_at = reinterpret_cast<uintptr_t>(frames_.frame(0));
    report.frame_stride = static_cast<uint64_t>(frames_.frame(1) - frames_.frame(0));
    report.first_growth_frame = frames_.growth_base();
    report.ordinary = frames_.ordinary_end();
    extent = frames_.state().growth_extent;
    report.participants = {{.pid = pid, .alive = 1, .pins_may_write = config_.pins_may_write}};
    frames_.lines().ForEachHeldIn(0, [&](os::ThreadId thread, FrameIndex frame) {
      pins.AddHeld(frame, pid, thread);
      pages.emplace_back(frame, header(frame).page_number);
    });
  }
  // Not while the pool waits.
  report.frames.reserve(report.ordinary + extent);
  const auto look = [&](uint64_t begin, uint64_t end) {
    for (uint64_t first = begin; first < end; first += kFramesPerLook) {
      const uint64_t last = std::min(end, first + kFramesPerLook);
      const Holder holder(*this);
      ReportFrames(first, last, report);
      for (uint64_t i = first; i < last; ++i) {
        const FrameIndex frame = static_cast<FrameIndex>(i);
        const FrameHeader& h = header(frame);
        if (h.pins == 0 && h.owed == 0) continue;
        pins.AddCounted(frame, pid, h.pinner, h.pins, h.owed, h.write_latched);
        pages.emplace_back(frame, h.page_number);
      }
    }
  };
  look(0, report.ordinary);
  look(report.first_growth_frame, report.first_growth_frame + extent);
  std::ranges::sort(pages);
  report.pins = pins.Report(
      [&](FrameIndex frame) {
        return std::ranges::lower_bound(pages, std::pair(frame, PageNumber{0}))->second;
      },
      [&](FrameIndex frame) { return report.PlaceOf(frame); });
  for (const PinReport& pin : report.pins) report.frames[pin.frame] |= kFramePinned;
  return report;
}

}  // namespace mpool::internal
