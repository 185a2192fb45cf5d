// WaitForChange: waits for one of several words in memory to change (futex_waitv(2)).
//
// The words may lie in memory that processes share, read-only memory included. Who changes one
// calls WakeAll.
//
// Thread-safety: both are safe from every thread.

#ifndef OS_WAIT_WORDS_H_
#define OS_WAIT_WORDS_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "os/errno.h"

namespace os {

inline constexpr size_t kWaitWordsMax = 128;

struct WaitWord {
  const std::atomic<uint32_t>* word = nullptr;
  uint32_t seen = 0;  // its value when it was looked at
};

// Returns when a word is not what was seen, when somebody wakes it, or now and then for no reason.
// ETIMEDOUT: `deadline` has passed (time_point::max(): none). EINTR: a signal came (one whose
// handler has SA_RESTART may leave it waiting). EINVAL: more than kWaitWordsMax words, or none.
// EFAULT: a word is not mapped. Enters the kernel.
//
// Where the kernel has no futex_waitv(2) (before 5.16), or does not let this process call it, it
// looks at the words every 2 ms: then nobody wakes it but by a change, and a word that is not
// mapped is a SIGSEGV.
Errno WaitForChange(std::span<const WaitWord> words,
                    std::chrono::steady_clock::time_point deadline);

// Wakes all who wait for the word. Enters the kernel.
void WakeAll(const std::atomic<uint32_t>& word);

}  // namespace os

#endif  // OS_WAIT_WORDS_H_
