// `mpool check`: whether a file can serve a pool, and in what state it is.

#ifndef CLI_CHECK_H_
#define CLI_CHECK_H_

#include <string>

#include "cli/command.h"
#include "cli/output.h"

namespace cli {

Command AddCheck(CLI::App& app);

// Reads the whole file, and changes nothing. Prints to stdout; progress, if that is a terminal, and
// errors to stderr. `page_size` is as ParseSize reads it. Returns the program's exit code.
int CheckFile(const std::string& path, const std::string& page_size, const OutputOptions& options);

}  // namespace cli

#endif  // CLI_CHECK_H_
