// ThreadLine: which line of a pool is the calling thread's, remembered in the thread.

#ifndef MPOOL_INTERNAL_THREAD_LINE_H_
#define MPOOL_INTERNAL_THREAD_LINE_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "mpool/internal/pin_lines.h"

namespace mpool::internal {

struct ThreadLineSlot {
  uint64_t pool = ~uint64_t{0};
  PinLine* line = nullptr;
};

class ThreadLine {
 public:
  // Whether the line of this pool is the one that was asked for last, and which it is then. `pool`:
  // its number. Of 0, which a wiped pool has, nothing is ever remembered.
  static bool IsLast(uint64_t pool) { return last_.pool == pool; }
  static PinLine* Last() { return last_.line; }
  // The same for the last few pools. Null: not remembered; the pool knows (PinLines::Claim).
  static PinLine* Of(uint64_t pool);
  // `line`: not null.
  static void Remember(uint64_t pool, PinLine* line);

 private:
  // A thread that uses more pools at a time has to ask some of them again and again.
  static constexpr size_t kOthers = 3;

  // Without a call at each use: the program, or what it was linked with at its start, contains
  // this. dlopen(3) has room for it, too.
  [[gnu::tls_model("initial-exec")]] static inline thread_local constinit ThreadLineSlot last_{};
  [[gnu::tls_model(
      "initial-exec")]] static inline thread_local constinit std::array<ThreadLineSlot, kOthers>
      others_{};
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_THREAD_LINE_H_
