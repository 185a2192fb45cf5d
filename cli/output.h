// What the commands have in common in how they print.
//
// Data goes to standard output, everything else to standard error. Sizes are printed with their
// unit unless bytes are asked for. Colour is for terminals (--color, NO_COLOR).

#ifndef CLI_OUTPUT_H_
#define CLI_OUTPUT_H_

#include <string>
#include <string_view>

#include "CLI/CLI.hpp"

namespace cli {

struct OutputOptions {
  bool json = false;   // one object in JSON with all there is; the options below do not matter then
  bool bytes = false;  // sizes as plain numbers of bytes
  bool headings = true;        // a line of them above a table
  std::string columns = {};    // names, separated by commas; empty: those of the command
  std::string color = "auto";  // or "always", "never"
  int verbosity = 0;           // -1: errors alone; 1 and more: reasons and details
};

// Each adds some of the options to a command. `options` must live as long as the parser does.
void AddJsonOption(CLI::App& command, OutputOptions& options);    // --json
void AddBytesOption(CLI::App& command, OutputOptions& options);   // -b --bytes
void AddTableOptions(CLI::App& command, OutputOptions& options);  // -n --no-headings -o --output
void AddColorOption(CLI::App& command, OutputOptions& options);   // --color
void AddVerbosityOptions(CLI::App& command, OutputOptions& options);  // -q --quiet -v --verbose

// Whether what goes to standard output is to be coloured.
bool UsesColor(const OutputOptions& options);

enum class Style { kPlain, kGood, kBad, kWarning, kBold, kDim };
// The text between the escape sequences of the style, if `color` is set.
std::string Styled(std::string_view text, Style style, bool color);

// Prints "mpool COMMAND: MESSAGE" to standard error, after all that went to standard output, and
// returns the exit code.
int Fail(std::string_view command, int exit_code, std::string_view message);

// Printable ASCII as it is, but for the backslash; the other bytes as \xNN: for bytes that somebody
// else has chosen, so that they can drive no terminal.
std::string Printable(std::string_view bytes);

}  // namespace cli

#endif  // CLI_OUTPUT_H_
