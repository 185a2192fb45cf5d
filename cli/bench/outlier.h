// What made a touch slow: a page fault, other programs on its CPU, or neither.

#ifndef CLI_BENCH_OUTLIER_H_
#define CLI_BENCH_OUTLIER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace cli::bench {

enum class Cause { kMajorFault, kMinorFault, kRunQueue, kOther };
inline constexpr size_t kCauses = 4;

// As in JSON: "major_fault"; and as people read it: "major fault".
std::string_view CauseName(Cause cause);
std::string_view CauseText(Cause cause);

// A touch that took long, with what the kernel counted meanwhile.
struct SlowTouch {
  uint64_t at_ns = 0;  // from the beginning of the measurement
  uint64_t ns = 0;
  uint32_t page = 0;  // of the file
  uint64_t major = 0, minor = 0;
  uint64_t run_queue_ns = 0;  // ready to run, and without a CPU; not more than `ns`
};

// What took the greater part of it. Where the thread waited for a CPU for at least half of the time,
// that; else its faults, the major ones first; else kOther: interrupts, the host of a virtual
// machine, caches.
Cause CauseOf(const SlowTouch& touch);

// Counts all outliers by cause, and keeps the worst. Not thread-safe. Allocates when it is made.
class OutlierLog {
 public:
  explicit OutlierLog(size_t kept_max = 100);

  void Add(const SlowTouch& touch);

  uint64_t count() const;
  uint64_t count(Cause cause) const { return counts_[static_cast<size_t>(cause)]; }
  // The slowest first.
  std::vector<SlowTouch> Worst() const;

 private:
  size_t kept_max_;
  std::array<uint64_t, kCauses> counts_ = {};
  std::vector<SlowTouch> worst_;  // a heap: the fastest of them in front
};

}  // namespace cli::bench

#endif  // CLI_BENCH_OUTLIER_H_
