// Command: one command of the program.
//
// Each has a file of its own with a function `Command AddNAME(CLI::App&)`, which tells the parser
// its options; main.cc lists them. What the options are parsed into lives as long as `run`.

#ifndef CLI_COMMAND_H_
#define CLI_COMMAND_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "cli/exit_code.h"

namespace cli {

struct Command {
  CLI::App* app;             // whether it was chosen: parsed()
  std::function<int()> run;  // returns the program's exit code
  int usage_error = kUsageError;
  // The option that takes all arguments to the end, and where main.cc puts them before `run`, as
  // they were given: the parser takes "[a,b]" apart.
  CLI::Option* rest = nullptr;
  std::shared_ptr<std::vector<std::string>> rest_text = nullptr;
};

}  // namespace cli

#endif  // CLI_COMMAND_H_
