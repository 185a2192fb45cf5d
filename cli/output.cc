#include "cli/output.h"

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "os/terminal.h"

namespace cli {
namespace {

const char* EscapeOf(Style style) {
  switch (style) {
    case Style::kGood:
      return "\x1b[32m";
    case Style::kBad:
      return "\x1b[31m";
    case Style::kWarning:
      return "\x1b[33m";
    case Style::kBold:
      return "\x1b[1m";
    case Style::kDim:
      return "\x1b[2m";
    case Style::kPlain:
      break;
  }
  return "";
}

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

void AddJsonOption(CLI::App& command, OutputOptions& options) {
  command.add_flag("--json", options.json, "As JSON, with all sizes in bytes");
}

void AddBytesOption(CLI::App& command, OutputOptions& options) {
  command.add_flag("-b,--bytes", options.bytes, "Sizes in bytes, without a unit");
}

void AddTableOptions(CLI::App& command, OutputOptions& options) {
  command.add_flag_callback(
      "-n,--no-headings", [&options] { options.headings = false; }, "Without the line of headings");
  command.add_option("-o,--output", options.columns, "These columns, in this order")
      ->type_name("COLUMNS");
}

void AddColorOption(CLI::App& command, OutputOptions& options) {
  command.add_option("--color", options.color, "auto, always or never")
      ->type_name("WHEN")
      ->check(CLI::IsMember({"auto", "always", "never"}, CLI::ignore_case));
}

void AddVerbosityOptions(CLI::App& command, OutputOptions& options) {
  command.add_flag_callback(
      "-q,--quiet", [&options] { options.verbosity = -1; }, "Findings and errors alone");
  command.add_flag_callback(
      "-v,--verbose", [&options] { options.verbosity = 1; }, "Reasons and details too");
}

bool UsesColor(const OutputOptions& options) {
  if (options.color != "auto") return options.color == "always";
  const char* no_color = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  return (no_color == nullptr || *no_color == '\0') &&
         (terminal == nullptr || std::string_view(terminal) != "dumb") &&
         os::IsTerminal(os::kStandardOutput);
}

std::string Styled(std::string_view text, Style style, bool color) {
  if (!color || style == Style::kPlain) return std::string(text);
  return absl::StrCat(EscapeOf(style), View(text), "\x1b[0m");
}

int Fail(std::string_view command, int exit_code, std::string_view message) {
  (void)std::fflush(stdout);
  absl::FPrintF(stderr, "mpool %s: %s\n", View(command), View(message));
  return exit_code;
}

std::string Printable(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    if (byte >= ' ' && byte <= '~' && byte != '\\') {
      text += byte;
    } else {
      absl::StrAppendFormat(&text, "\\x%02x", static_cast<unsigned char>(byte));
    }
  }
  return text;
}

}  // namespace cli
