// Runs a program as a user does, for tests.

#ifndef BENCHMARKS_PROGRAM_RUN_H_
#define BENCHMARKS_PROGRAM_RUN_H_

#include <string>

namespace benchmarks {

struct Outcome {
  int exit_code = -1;  // -1: it was killed
  std::string out;     // standard output
  std::string err;     // standard error
};

// A shell runs `setup` and then the command.
Outcome RunProgram(const std::string& command, const std::string& setup = "");

// A path in the test's own directory.
std::string Temporary(const std::string& name);
// Of a file.
std::string Contents(const std::string& path);

bool Contains(const std::string& text, const std::string& part);

}  // namespace benchmarks

#endif  // BENCHMARKS_PROGRAM_RUN_H_
