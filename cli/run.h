// `mpool run`: runs a program, and tells what page faults it took and how much it had locked.

#ifndef CLI_RUN_H_
#define CLI_RUN_H_

#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/output.h"

namespace cli {

// The exit codes of `run` that are not the program's: as env(1) and timeout(1) have them.
inline constexpr int kRunFailed = 125;
inline constexpr int kCannotExecute = 126;
inline constexpr int kNoSuchProgram = 127;

Command AddRun(CLI::App& app);

struct RunOptions {
  std::vector<std::string> command;
  bool limit_given = false;
  std::string limit;  // as ParseSize reads it, or "unlimited"
  bool major_faults_given = false;
  std::string major_faults;  // how many are allowed; "true": none
  std::string report_path;   // empty: standard error
  OutputOptions output;
};

// Returns the program's exit code (run_report.h), or one of the above after a message.
int RunCommand(const RunOptions& options);

}  // namespace cli

#endif  // CLI_RUN_H_
