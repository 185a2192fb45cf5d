// FaultCount: page faults of the calling thread (getrusage(2), RUSAGE_THREAD).
//
// The difference of two readings around a piece of code is the evidence that it did not fault.

#ifndef OS_FAULT_COUNT_H_
#define OS_FAULT_COUNT_H_

#include <cstdint>

namespace os {

struct FaultCount {
  uint64_t minor = 0;  // resolved without I/O
  uint64_t major = 0;  // needed I/O

  // Of the calling thread since it began. Enters the kernel; cannot fail.
  static FaultCount OfThisThread();

  uint64_t total() const { return minor + major; }
  friend FaultCount operator-(FaultCount a, FaultCount b) {
    return {a.minor - b.minor, a.major - b.major};
  }
  friend bool operator==(const FaultCount&, const FaultCount&) = default;
};

}  // namespace os

#endif  // OS_FAULT_COUNT_H_
