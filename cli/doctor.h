// `mpool doctor`: whether a process can lock so much memory, and if not, what to change.

#ifndef CLI_DOCTOR_H_
#define CLI_DOCTOR_H_

#include <optional>
#include <string>

#include "cli/command.h"
#include "cli/output.h"

namespace cli {

Command AddDoctor(CLI::App& app);

struct DoctorOptions {
  OutputOptions output;
  // As they were typed.
  std::optional<std::string> size = {};  // 64 MiB without
  std::optional<std::string> pid = {};   // of another process
  std::optional<std::string> fix = {};   // print this kind of fix and nothing else
  bool prove = false;
};

// Prints the report to stdout; notes and errors go to stderr. Locks the memory for a moment, if
// there is room for it. Returns the program's exit code.
int RunDoctor(const DoctorOptions& options);

}  // namespace cli

#endif  // CLI_DOCTOR_H_
