// Measures every figure that pinlock promises against the bare system calls, in one run:
//
//   tools/bazel run -c opt //benchmarks:pinlock_benchmark -- [flags]
//
//   --rounds=N               rounds for each figure; medians are quoted (15)
//   --slice_ms=N             how long a side of a round runs (5)
//   --table=text|markdown    the table at the end; with markdown, standard output has nothing but
//                            the machine and the table
//   --benchmark_filter=RE, --benchmark_out=FILE, --benchmark_out_format=json and the other flags
//                            of Google Benchmark, but for the number and length of its iterations
//
// Exit status: 0, however slow; 1 where something is broken, as a pin that fails; 2 wrong usage.

#include <charconv>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "benchmark/benchmark.h"
#include "benchmarks/machine.h"
#include "benchmarks/pinlock_figures.h"
#include "benchmarks/run_figures.h"
#include "benchmarks/table.h"

namespace {

constexpr int kUsageError = 2;

struct Options {
  int64_t rounds = 15;
  int64_t slice_ms = 5;
  benchmarks::Style style = benchmarks::Style::kText;
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

bool ParseStyle(std::string_view text, benchmarks::Style& style) {
  style = text == "markdown" ? benchmarks::Style::kMarkdown : benchmarks::Style::kText;
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
bool ParseFlags(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    if (const auto format = ValueOf(argv[i], "--benchmark_format=")) {
      options.console = *format == "console";
    }
  }
  benchmark::Initialize(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    if (ParseFlag(argv[i], options)) continue;
    std::fprintf(stderr,
                 "pinlock_benchmark: cannot use '%s'\n"
                 "usage: pinlock_benchmark [--rounds=N] [--slice_ms=N] [--table=text|markdown]\n"
                 "                         [--benchmark_filter=RE] [--benchmark_out=FILE] ...\n",
                 argv[i]);
    return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!ParseFlags(argc, argv, options)) return kUsageError;
  benchmarks::Scale scale;
  scale.slice = std::chrono::milliseconds(options.slice_ms);
  const std::string machine = benchmarks::DescribeMachine();
  benchmark::AddCustomContext("machine", machine);

  const bool markdown = options.style == benchmarks::Style::kMarkdown;
  std::ostream& out = options.console ? std::cout : std::cerr;
  out << machine << "\n" << std::flush;
  benchmark::ConsoleReporter progress(benchmark::ConsoleReporter::OO_None);
  progress.SetOutputStream(&std::cerr);
  const std::vector<benchmarks::Row> rows =
      benchmarks::RunFigures(benchmarks::PinlockFigures(scale), options.rounds,
                             markdown && options.console ? &progress : nullptr);
  benchmark::Shutdown();
  if (!rows.empty()) out << "\n" << benchmarks::FormatTable(rows, options.style);
  return out.flush() ? 0 : 1;
}
