// TemporarySwap: somewhere for anonymous memory to go.
//
// MADV_PAGEOUT evicts anonymous memory and that of memfd_create(2) only where there is swap. A test
// that needs that makes a swap file of its own, in its directory, if it has the privilege.

#ifndef TESTS_SUPPORT_TEMPORARY_SWAP_H_
#define TESTS_SUPPORT_TEMPORARY_SWAP_H_

#include <string>

namespace test_support {

// Makes a swap file where the machine has no swap that this process' memory goes to. A process of
// its own waits for the end of the object, or of the test by whatever signal, and takes the swap
// file away again. Make it before any thread: it forks. Not thread-safe.
class TemporarySwap {
 public:
  TemporarySwap();
  TemporarySwap(const TemporarySwap&) = delete;
  TemporarySwap& operator=(const TemporarySwap&) = delete;
  // Blocks until what is in the swap file is back in memory.
  ~TemporarySwap();

  // Empty: anonymous memory can be paged out, which was tried. Otherwise why not.
  const std::string& problem() const { return problem_; }

 private:
  std::string Make();

  std::string problem_;
  int guard_ = -1;      // the process that removes the file
  int guard_end_ = -1;  // of a pipe; closing it tells the process
};

}  // namespace test_support

#endif  // TESTS_SUPPORT_TEMPORARY_SWAP_H_
