#include "benchmarks/figures_main.h"

#include <charconv>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "benchmark/benchmark.h"
#include "benchmarks/machine.h"
#include "benchmarks/run_figures.h"
#include "benchmarks/table.h"

namespace benchmarks {
namespace {

constexpr int kUsageError = 2;

struct Options {
  int64_t rounds;
  int64_t slice_ms;
  Style style = Style::kText;
  bool console = true;  // standard output is for people, not for --benchmark_format's readers
};

// What follows `name` in a flag; nullopt: another flag.
std::optional<std::string_view> ValueOf(std::string_view flag, std::string_view name) {
  if (!flag.starts_with(name)) return std::nullopt;
  return flag.substr(name.size());
}

// A whole number from 1 to a million.
bool ParseCount(std::string_view text, int64_t& count) {
  const auto [end, error] = std::from_chars(text.begin(), text.end(), count);
  return error == std::errc() && end == text.end() && count >= 1 && count <= 1'000'000;
}

bool ParseStyle(std::string_view text, Style& style) {
  style = text == "markdown" ? Style::kMarkdown : Style::kText;
  return text == "markdown" || text == "text";
}

// Takes one of our own flags. False: it is not one, or has no such value.
bool ParseFlag(std::string_view flag, Options& options) {
  if (const auto rounds = ValueOf(flag, "--rounds=")) return ParseCount(*rounds, options.rounds);
  if (const auto ms = ValueOf(flag, "--slice_ms=")) return ParseCount(*ms, options.slice_ms);
  if (const auto style = ValueOf(flag, "--table=")) return ParseStyle(*style, options.style);
  return false;
}

// Leaves in options what argv asks for. Google Benchmark takes its own flags first.
bool ParseFlags(int argc, char** argv, const char* program, Options& options) {
  for (int i = 1; i < argc; ++i) {
    if (const auto format = ValueOf(argv[i], "--benchmark_format=")) {
      options.console = *format == "console";
    }
  }
  benchmark::Initialize(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    if (ParseFlag(argv[i], options)) continue;
    std::fprintf(stderr,
                 "%s: cannot use '%s'\n"
                 "usage: %s [--rounds=N] [--slice_ms=N] [--table=text|markdown]\n"
                 "       [--benchmark_filter=RE] [--benchmark_out=FILE] ...\n",
                 program, argv[i], program);
    return false;
  }
  return true;
}

}  // namespace

int FiguresMain(int argc, char** argv, const FiguresProgram& program) {
  Options options{.rounds = program.rounds, .slice_ms = program.slice_ms};
  if (!ParseFlags(argc, argv, program.name, options)) return kUsageError;
  const std::string machine = DescribeMachine();
  benchmark::AddCustomContext("machine", machine);

  const bool markdown = options.style == Style::kMarkdown;
  std::ostream& out = options.console ? std::cout : std::cerr;
  out << machine << "\n" << std::flush;
  benchmark::ConsoleReporter progress(benchmark::ConsoleReporter::OO_None);
  progress.SetOutputStream(&std::cerr);
  const std::vector<Row> rows =
      RunFigures(program.figures(std::chrono::milliseconds(options.slice_ms)), options.rounds,
                 markdown && options.console ? &progress : nullptr);
  benchmark::Shutdown();
  if (!rows.empty()) out << "\n" << FormatTable(rows, options.style);
  return out.flush() ? 0 : 1;
}

}  // namespace benchmarks
