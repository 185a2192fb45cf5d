// Runs: neighbouring pages of a range that are in a state that is wanted, or are mapped.

#ifndef PINLOCK_INTERNAL_RUNS_H_
#define PINLOCK_INTERNAL_RUNS_H_

#include <chrono>
#include <optional>

#include "os/memory.h"
#include "os/page_range.h"
#include "os/pause.h"
#include "pinlock/internal/lock_table.h"

namespace pinlock::internal {

// The next maximal run of pages whose segments satisfy `wanted`, from the front of `rest`, which is
// moved past it. nullopt: none is left.
template <typename Wanted>
std::optional<os::PageRange> NextRun(const LockTable& table, os::PageRange& rest, Wanted wanted) {
  std::optional<os::PageRange> run;
  while (!rest.empty()) {
    const LockTable::Segment segment = table.FirstSegment(rest);
    if (wanted(segment)) {
      run = run ? os::PageRange(run->begin(), segment.pages.end()) : segment.pages;
    } else if (run) {
      return run;
    }
    rest = os::PageRange(segment.pages.end(), rest.end());
  }
  return run;
}

inline bool IsUnlocked(const LockTable::Segment& segment) { return segment.count == 0; }
inline bool IsCounted(const LockTable::Segment& segment) { return segment.count > 0; }
inline bool IsResidual(const LockTable::Segment& segment) {
  return segment.count == 0 && segment.residual;
}

// What one call of the kernel locks or unlocks of a run: all of it up to 2 MiB; of a longer one the
// part up to the next leaf, so that no huge page is locked in halves. Precondition: not empty.
inline os::PageRange FirstStep(os::PageRange run) {
  constexpr uint64_t kLeaf = LockTable::kPagesPerLeaf;
  if (run.count().value() <= kLeaf) return run;
  const os::PageNumber end((run.begin().value() / kLeaf + 1) * kLeaf);
  return os::PageRange(run.begin(), end);
}

// Between the steps of a long run: makes a pause every 2 ms, so that other threads' mmap(2) and
// munmap(2) get their turn (docs/design/steps.md).
class Pacer {
 public:
  void BetweenSteps() {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_pause_ < kPeriod) return;
    os::Pause();
    last_pause_ = std::chrono::steady_clock::now();
  }

 private:
  static constexpr std::chrono::milliseconds kPeriod{2};
  std::chrono::steady_clock::time_point last_pause_ = std::chrono::steady_clock::now();
};

// A piece of a range that is mapped, or is not.
struct Part {
  os::PageRange pages;
  bool mapped;
};

// The first part of `rest`, which is moved past it: what one mapping holds of it, or the hole
// before the next one. Where the mappings cannot be read, all of it counts as mapped. Precondition:
// not empty.
Part NextPart(const os::Memory& memory, os::PageRange& rest);

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_RUNS_H_
