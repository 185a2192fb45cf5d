#include "mpool/internal/held_pins.h"

#include <algorithm>

namespace mpool::internal {

void HeldPins::AddCounted(FrameIndex frame, int32_t pid, os::ThreadId thread, uint32_t pins,
                          uint32_t owed, bool for_writing) {
  // Which of the process' threads has a pin that is over is not known; some slot of it has.
  for (auto at = pins_.lower_bound({frame, pid, 0}); owed > 0 && at != pins_.end(); ++at) {
    if (std::get<0>(at->first) != frame || std::get<1>(at->first) != pid) break;
    const uint32_t over = std::min(owed, at->second.in_lines);
    at->second.in_lines -= over;
    owed -= over;
  }
  if (pins == 0) return;
  Pins& held = pins_[{frame, pid, thread}];
  held.counted += pins;
  held.for_writing = held.for_writing || for_writing;
}

}  // namespace mpool::internal
