// mpin and munpin that must succeed: a failure is told in mpin_error()'s words and ends the program
// with status 1. Inline, so that they add nothing to what is measured.

#ifndef BENCHMARKS_PINS_H_
#define BENCHMARKS_PINS_H_

#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include "pinlock/mpin.h"

namespace benchmarks {

[[noreturn]] inline void EndBecauseOfPin() {
  std::fprintf(stderr, "benchmark: %s\n", mpin_error());
  std::fflush(nullptr);
  std::_Exit(1);  // other threads may be running
}

inline void Pin(void* address, size_t bytes) {
  if (mpin(address, bytes) != 0) EndBecauseOfPin();
}

inline void Unpin(void* address, size_t bytes) {
  if (munpin(address, bytes) != 0) EndBecauseOfPin();
}

}  // namespace benchmarks

#endif  // BENCHMARKS_PINS_H_
