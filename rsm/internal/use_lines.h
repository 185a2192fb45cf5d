// UseLines: which objects threads use at the moment, without a locked instruction.
//
// Each thread has a line of places. Where it begins to use an object it stores the object's address in one of
// them, and then looks whether the object is still to be had. Who wants to take the object away says first that
// it is not, and then looks through all lines. Some CPUs let a load overtake the store before it, so between
// the two that one makes every thread pass a fence: see os/process_barrier.h. mpool's pins work in the same
// way (mpool/internal/pin_lines.h).
//
// Thread-safe. Lines are never freed: a thread's goes to another one when it ends, and so do those of a
// parent's threads in a forked child.

#ifndef RSM_INTERNAL_USE_LINES_H_
#define RSM_INTERNAL_USE_LINES_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "os/process_barrier.h"
#include "rsm/internal/generation.h"

namespace rsm::internal {

using UsePlace = std::atomic<const void*>;

class alignas(64) UseLine {
 public:
  // This thread's; null where it has none: there is no memory, the kernel has no membarrier(2), or the thread
  // is about to end.
  static UseLine* OfThisThread() {
    UseLine* const line = own_;
    if (line != nullptr && line->owner_.load(std::memory_order_relaxed) == ProcessGeneration())
        [[likely]] {
      return line;
    }
    return Claim();
  }

  // Says that the object is used, before anything that follows in the program. Null: there is no place, as
  // this thread uses so many already. For the thread whose line it is.
  UsePlace* Begin(const void* object) {
    for (UsePlace& place : places_) {
      if (place.load(std::memory_order_relaxed) != nullptr) continue;
      place.store(object, os::kStoreBeforeLoad);
      std::atomic_signal_fence(std::memory_order_seq_cst);
      return &place;
    }
    return nullptr;
  }
  // Any thread's.
  static void End(UsePlace& place) { place.store(nullptr, os::kStoreBeforeLoad); }

  // What Claim needs of the kernel; false: there is none. The first time takes some milliseconds where the
  // process has other threads.
  static bool Prepare();
  // Whoever finds the object from now on finds it as it is now, and who has found it before is seen by
  // IsUsed.
  static void FenceUses();
  // Whether a thread of this process uses the object.
  static bool IsUsed(const void* object);

 private:
  friend class UseLineOwner;
  static UseLine* Claim();

  std::array<UsePlace, 4> places_ = {};
  std::atomic<uint32_t> owner_ = 0;  // the process that it has a thread of; 0: it is free
  UseLine* next_ = nullptr;

  [[gnu::tls_model("initial-exec")]] static inline thread_local constinit UseLine* own_ = nullptr;
  static constinit std::atomic<UseLine*> first_;
};

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_USE_LINES_H_
