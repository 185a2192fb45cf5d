// ScopedInside: marks that this thread is in the middle of a call of this library.
//
// A signal handler may interrupt it there and unmap memory by the functions of interpose.cc, which
// must then not wait for what its own thread holds.

#ifndef PINLOCK_INTERNAL_INSIDE_H_
#define PINLOCK_INTERNAL_INSIDE_H_

#include <atomic>
#include <cstdint>

namespace pinlock::internal {

// Of this thread alone; a handler that interrupts it sees what was written before.
inline thread_local uint32_t inside_depth __attribute__((tls_model("initial-exec"))) = 0;

class ScopedInside {
 public:
  ScopedInside() {
    ++inside_depth;
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  ~ScopedInside() {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    --inside_depth;
  }
  ScopedInside(const ScopedInside&) = delete;
  ScopedInside& operator=(const ScopedInside&) = delete;
};

inline bool IsInside() { return inside_depth > 0; }

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_INSIDE_H_
