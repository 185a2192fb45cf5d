// TouchPages: reads one word of every page and tells what that cost.
//
// The evidence that pages are resident: the number of page faults that the touches took, and how
// long the touches took, each timed by itself.

#ifndef CLI_TOUCH_H_
#define CLI_TOUCH_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace cli {

struct TouchResult {
  uint64_t faults = 0;   // minor and major, of the touches alone
  double median_ns = 0;  // of a touch, the clock's own cost included
  double p999_ns = 0;    // the 99.9th percentile
};

// Touches each of the addresses once, in order. Enters the kernel only to count faults, and
// allocates its memory before it starts.
TouchResult TouchPages(std::span<const std::byte* const> pages);

}  // namespace cli

#endif  // CLI_TOUCH_H_
