// What a run of `mpool bench` found out: plain data, which the reports turn into text.
//
// Times are in nanoseconds and sizes in bytes, everywhere.

#ifndef CLI_BENCH_RESULT_H_
#define CLI_BENCH_RESULT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/bench/histogram.h"
#include "cli/bench/outlier.h"
#include "os/fault_count.h"

namespace cli::bench {

// The four ways to have a file's pages in memory. Their order is that of every report.
enum class Mode { kMalloc, kMmap, kMlock, kPool };
inline constexpr Mode kModes[] = {Mode::kMalloc, Mode::kMmap, Mode::kMlock, Mode::kPool};
std::string_view ModeName(Mode mode);         // "malloc", "mmap", "mlock", "pool"
std::string_view ModeDescription(Mode mode);  // what that is, in a few words

// Who takes pages away.
enum class Adversary { kNone, kPageOut, kPressure };
std::string_view AdversaryName(Adversary adversary);  // "none", "pageout", "pressure"

// Some milliseconds of one mode.
struct Slice {
  uint64_t at_ns = 0;  // its beginning, from the beginning of the measurement
  uint64_t ns = 0;     // how long it touched pages
  uint64_t touches = 0;
  uint64_t p99_ns = 0, max_ns = 0;
  uint64_t cpu_ns = 0;  // of the thread, the measuring included
  os::FaultCount faults;
};

struct ModeResult {
  Mode mode = Mode::kMalloc;
  Histogram latency;  // of all touches
  os::FaultCount faults;
  std::vector<Slice> slices;
  OutlierLog outliers;
  uint64_t cpu_ns = 0;        // of the thread, the measuring included
  uint64_t locked_bytes = 0;  // that the mode added to VmLck
  uint64_t memory_bytes = 0;  // address space for the pages, and what the pool needs besides
  // Of MADV_PAGEOUT at the beginning of each slice: those that the kernel refused, as pages of the
  // area are locked, and the others.
  uint64_t page_outs_refused = 0, page_outs_done = 0;
  // Present in the page tables at the end, in as many parts of the area as the report shows: shares
  // from 0 to 1. Empty: it could not be read.
  std::vector<double> residency;
  uint64_t present_pages = 0;
  std::optional<uint64_t> pool_misses;  // of the pool: gets that read the page again

  double cpu_per_touch_ns() const {
    return latency.count() == 0
               ? 0
               : static_cast<double>(cpu_ns) / static_cast<double>(latency.count());
  }
};

struct Environment {
  std::string version, date, kernel, cpu, thp;  // what is not known is empty
  unsigned cpus = 0;
  uint64_t memory_bytes = 0;
  uint64_t swap_bytes = 0, swap_free_bytes = 0;
  std::string cgroup;                          // the directory of the memory cgroup
  std::optional<uint64_t> cgroup_limit_bytes;  // nullopt: none
  std::optional<uint64_t> lock_limit_bytes;    // nullopt: unlimited
  bool lock_privilege = false;                 // the limit does not bind this process
};

struct BenchResult {
  Environment environment;
  std::string command;  // to repeat it
  std::string file;     // empty: a temporary one
  Adversary adversary = Adversary::kNone;
  uint64_t pages = 0;  // of the working set
  uint64_t page_bytes = 4096;
  uint64_t pressure_bytes = 0;
  bool pressure_died = false;  // the kernel ended it, or it could not get its memory
  bool private_cgroup = false;
  bool interrupted = false;
  uint64_t duration_ns = 0;
  uint64_t slice_ns = 0;
  uint64_t outlier_ns = 0;  // what takes longer is an outlier
  uint64_t clock_ns = 0;    // what reading the clock adds to each touch
  std::vector<std::string> notes;
  std::vector<ModeResult> modes;

  const ModeResult* Find(Mode mode) const;
  uint64_t working_set_bytes() const { return pages * page_bytes; }
};

// The pool took a major fault, or had to read a page again: it should not.
// Whether each way was measured at all.
bool IsComplete(const BenchResult& result);
bool HasFinding(const BenchResult& result);
// What the run has shown, in a sentence or two.
std::string Verdict(const BenchResult& result);

}  // namespace cli::bench

#endif  // CLI_BENCH_RESULT_H_
