// HeldPins: whose the pins of a pool are, for a PoolReport.

#ifndef MPOOL_INTERNAL_HELD_PINS_H_
#define MPOOL_INTERNAL_HELD_PINS_H_

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "mpool/internal/frame.h"
#include "mpool/internal/pool_report.h"
#include "os/thread_id.h"

namespace mpool::internal {

// Puts pins together by frame, process and thread. Not thread-safe; throws std::bad_alloc.
class HeldPins {
 public:
  // A pin in a line of that thread; 0: one that is no more.
  void AddHeld(FrameIndex frame, int32_t pid, os::ThreadId thread) {
    ++pins_[{frame, pid, thread}].in_lines;
  }
  // Pins that are counted for the process, the last of them by that thread, and how many of those
  // in its lines are over.
  void AddCounted(FrameIndex frame, int32_t pid, os::ThreadId thread, uint32_t pins, uint32_t owed,
                  bool for_writing);

  // `page_of` and `place_of` tell the page in a frame, and its place in the report. Frames that
  // `place_of` does not know (kNoFrame) are left out.
  template <typename PageOf, typename PlaceOf>
  std::vector<PinReport> Report(PageOf page_of, PlaceOf place_of) const {
    std::vector<PinReport> all;
    for (const auto& [holder, pins] : pins_) {
      const auto& [frame, pid, thread] = holder;
      const uint32_t place = place_of(frame);
      if (place == kNoFrame || pins.in_lines + pins.counted == 0) continue;
      all.push_back({.frame = place,
                     .page = page_of(frame),
                     .pid = pid,
                     .thread = thread,
                     .pins = pins.in_lines + pins.counted,
                     .for_writing = pins.for_writing ? uint32_t{1} : uint32_t{0}});
    }
    return all;
  }

 private:
  using Holder = std::tuple<FrameIndex, int32_t, os::ThreadId>;
  struct Pins {
    uint32_t in_lines = 0;
    uint32_t counted = 0;
    bool for_writing = false;
  };
  std::map<Holder, Pins> pins_;
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_HELD_PINS_H_
