// RunDemo: `mpool demo`, the whole of the project on one real file.

#ifndef CLI_DEMO_H_
#define CLI_DEMO_H_

#include <string>

#include "cli/command.h"

namespace cli {

// Works on a temporary copy of the file and prints what it does, and whether each claim holds, to
// stdout; errors go to stderr. Returns the program's exit code: 0 if every claim holds, 1 if not.
// `path` empty: a file of some megabytes that every Debian has. `json`: prints one object at the end
// instead, {"schema": "mpool.demo/1", ...}.
int RunDemo(const std::string& path, bool json = false);

Command AddDemo(CLI::App& app);

}  // namespace cli

#endif  // CLI_DEMO_H_
