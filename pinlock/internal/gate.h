// Gate: whether nested pins may be made without the latch of the process.
//
// It is closed while a thread that holds that latch looks at the table or changes it, and stays
// closed while there is something that every call has to look at: residual pages, I/O in progress,
// verification against the kernel. A closed gate costs a caller the way over the latch, nothing
// else. Zero bytes are an open gate.
//
// A nested change takes the leaf's latch and then looks at the gate; who closes the gate closes it
// and then looks at the latches of the leaves that it needs. Both do so in sequentially consistent
// order, so at least one of the two sees the other (Dekker's argument). Opening only has to show
// what was done before it.

#ifndef PINLOCK_INTERNAL_GATE_H_
#define PINLOCK_INTERNAL_GATE_H_

#include <atomic>
#include <cstdint>

namespace pinlock::internal {

class Gate {
 public:
  bool is_open() const { return closed_.load(std::memory_order_seq_cst) == 0; }
  // Only for who holds the latch of the process.
  void Close() { closed_.store(1, std::memory_order_seq_cst); }
  void Open() { closed_.store(0, std::memory_order_release); }

 private:
  std::atomic<uint32_t> closed_{0};
};

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_GATE_H_
