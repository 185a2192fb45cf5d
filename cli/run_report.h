// What `mpool run` tells about the program that it ran, as text and as JSON.

#ifndef CLI_RUN_REPORT_H_
#define CLI_RUN_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "os/child_process.h"

namespace cli {

struct RunReport {
  std::vector<std::string> command;
  std::optional<uint64_t> limit_bytes;           // --limit; os::ChildProcess::kUnlimited too
  std::optional<uint64_t> allowed_major_faults;  // --fail-on-majflt
  os::ChildProcess::End end;
  // The highest values that were seen. nullopt: none was seen, as it was too quick, or /proc cannot
  // be read.
  std::optional<os::ChildProcess::Memory> memory;
  uint64_t wall_us = 0;

  // The exit code of mpool: that of the program, as a shell has it (128 and the signal that has
  // killed it), or 1 if it succeeded but took more major faults than are allowed.
  int ExitCode() const;
  bool TookTooManyMajorFaults() const;
};

// One line, "0 major and 1,234 minor faults; ...", with more after it where `details` is set; each
// begins with "mpool run: ".
std::string TextOf(const RunReport& report, bool details);
// {"schema": "mpool.run/1", ...}
std::string JsonOf(const RunReport& report);
// Why ExitCode() is 1, in a line. Precondition: TookTooManyMajorFaults().
std::string FindingOf(const RunReport& report);

}  // namespace cli

#endif  // CLI_RUN_REPORT_H_
