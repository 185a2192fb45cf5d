#include "mpool/internal/thread_line.h"

#include <algorithm>
#include <utility>

namespace mpool::internal {

PinLine* ThreadLine::Of(uint64_t pool) {
  if (IsLast(pool)) return last_.line;
  for (ThreadLineSlot& other : others_) {
    if (other.pool != pool) continue;
    std::swap(last_, other);
    return last_.line;
  }
  return nullptr;
}

void ThreadLine::Remember(uint64_t pool, PinLine* line) {
  if (IsLast(pool)) {
    last_.line = line;
    return;
  }
  // The one that was last longest ago goes.
  std::move_backward(others_.begin(), others_.end() - 1, others_.end());
  others_[0] = last_;
  last_ = {pool, line};
}

}  // namespace mpool::internal
