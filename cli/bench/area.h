// Area: the pages of a file, in memory in one of four ways.

#ifndef CLI_BENCH_AREA_H_
#define CLI_BENCH_AREA_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/bench/result.h"
#include "cli/bench/touch_probe.h"
#include "os/page_range.h"

namespace cli::bench {

inline constexpr uint32_t kPageBytes = 4096;

// Not thread-safe. Its memory is not inherited by children.
class Area {
 public:
  virtual ~Area() = default;

  // Touches pages of the file, chosen evenly at random, until the probe's slice is over: reads a
  // byte of each, and tells the probe. Of the pool: gets the page, reads, puts it back. An error:
  // the pool could not give a page.
  virtual absl::Status TouchPages(TouchProbe& probe) = 0;

  // Asks the kernel to page all of it out. Returns whether that was refused, for all of it, as it
  // would be for locked pages (EINVAL).
  bool PageOut();
  // The share of pages that are present, in `parts` parts of the area; fewer where it has fewer
  // pages. Empty: that cannot be read.
  std::vector<double> Residency(size_t parts) const;
  std::optional<uint64_t> PresentPages() const;

  Mode mode() const { return mode_; }
  uint64_t locked_bytes() const { return locked_bytes_; }
  uint64_t memory_bytes() const { return memory_bytes_; }
  // Gets that had to read a page. nullopt: this is no pool.
  virtual std::optional<uint64_t> misses() const { return std::nullopt; }

 protected:
  Area(Mode mode, uint32_t pages) : mode_(mode), pages_(pages) {}

  const Mode mode_;
  const uint32_t pages_;
  std::vector<const std::byte*> addresses_;  // of the pages of the file, in their order
  uint64_t locked_bytes_ = 0;
  uint64_t memory_bytes_ = 0;

 private:
  friend absl::StatusOr<std::unique_ptr<Area>> MakeArea(Mode mode, int file, uint32_t pages);
  std::vector<os::PageRange> Ranges(size_t first, size_t last) const;
};

// With the first pages of the file, all read in. `file` stays the caller's. ResourceExhausted: not
// so much can be locked. Errors name the cause and the cure.
absl::StatusOr<std::unique_ptr<Area>> MakeArea(Mode mode, int file, uint32_t pages);

}  // namespace cli::bench

#endif  // CLI_BENCH_AREA_H_
