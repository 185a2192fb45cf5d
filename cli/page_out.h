// PageOutAndTouch: tells the kernel to evict pages, and sees what has become of them.
//
// MADV_PAGEOUT is an adversary that needs no privilege: what is locked it refuses with EINVAL,
// pages of files go, and anonymous ones where there is swap.

#ifndef CLI_PAGE_OUT_H_
#define CLI_PAGE_OUT_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "cli/touch.h"
#include "os/errno.h"
#include "os/result.h"

namespace cli {

struct PageOutResult {
  uint64_t pages = 0;           // in all
  uint64_t present_before = 0;  // in this process' page tables, when they had been touched
  uint64_t faults_before = 0;   // of touching all of them again
  os::Errno answer;             // to MADV_PAGEOUT, the last time
  uint64_t present = 0;         // after it
  TouchResult touches = {};     // of all of them, after that
};

// `bytes` is whole pages, which are touched before. Up to ten attempts: a page that another
// processor has just used may stay the first time. Errors: those of reading /proc/self/pagemap.
os::Result<PageOutResult> PageOutAndTouch(std::span<const std::byte> bytes);

}  // namespace cli

#endif  // CLI_PAGE_OUT_H_
