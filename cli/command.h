// Command: one command of the program.
//
// Each has a file of its own with a function `Command AddNAME(CLI::App&)`, which tells the parser
// its options; main.cc lists them. What the options are parsed into lives as long as `run`.

#ifndef CLI_COMMAND_H_
#define CLI_COMMAND_H_

#include <functional>

#include "CLI/CLI.hpp"

namespace cli {

struct Command {
  CLI::App* app;             // whether it was chosen: parsed()
  std::function<int()> run;  // returns the program's exit code
};

}  // namespace cli

#endif  // CLI_COMMAND_H_
