#include "mpool/internal/last_puts.h"

namespace mpool::internal {
namespace {

// A number that no other living thread has: the address of a variable of its own.
uintptr_t ThisThread() {
  static thread_local char token;
  return reinterpret_cast<uintptr_t>(&token);
}

}  // namespace

void LastPuts::Record(FrameIndex frame) {
  const uintptr_t thread = ThisThread();
  for (size_t i = 0; i < used_; ++i) {
    if (slots_[i].thread == thread) {
      slots_[i].frame = frame;
      return;
    }
  }
  const size_t slot = used_ < kSlots ? used_++ : next_reused_++ % kSlots;
  slots_[slot] = {thread, frame};
}

FrameIndex LastPuts::OfThisThread() const {
  const uintptr_t thread = ThisThread();
  for (size_t i = 0; i < used_; ++i) {
    if (slots_[i].thread == thread) return slots_[i].frame;
  }
  return kNoFrame;
}

void LastPuts::Forget(FrameIndex frame) {
  for (size_t i = 0; i < used_; ++i) {
    if (slots_[i].frame == frame) slots_[i].frame = kNoFrame;
  }
}

}  // namespace mpool::internal
