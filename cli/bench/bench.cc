#include "cli/bench/bench.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/bench/options.h"
#include "cli/bench/progress.h"
#include "cli/bench/report_html.h"
#include "cli/bench/report_json.h"
#include "cli/bench/report_text.h"
#include "cli/bench/run.h"
#include "cli/bench/time_text.h"
#include "cli/exit_code.h"
#include "cli/output.h"
#include "os/interrupt.h"

namespace cli {
namespace {

using bench::BenchOptions;
using bench::BenchResult;
using bench::ModeResult;

struct Arguments {
  bench::OptionTexts texts;
  std::string json, report;  // where to; empty: not at all
  OutputOptions output;
};

int FailWith(const absl::Status& status, int exit_code) {
  return Fail("bench", exit_code, std::string(status.message()));
}

// Whether both are names of one file, which may be still to make. Empty: no file.
bool IsTheSameFile(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return false;
  std::error_code error;  // one of them does not exist
  return std::filesystem::equivalent(a, b, error) ||
         std::filesystem::path(a).lexically_normal() == std::filesystem::path(b).lexically_normal();
}

// Before a report is opened, which empties the file: the user's file must not be one, nor both reports
// one file. Returns 0, or the exit code after it has said what is wrong.
int RefuseToOverwrite(const std::string& file, const std::string& json, const std::string& report) {
  for (const std::string& output : {json, report}) {
    if (!IsTheSameFile(file, output)) continue;
    return Fail("bench", kUsageError,
                absl::StrCat(Printable(output), " is the file that is measured; the report would ",
                             "overwrite it: give another name"));
  }
  // Devices (/dev/null, a terminal) take both.
  std::error_code error;
  if (!IsTheSameFile(json, report) || std::filesystem::is_character_file(json, error)) return 0;
  return Fail("bench", kUsageError,
              absl::StrCat("--json and --report are both ", Printable(json), ": give two names"));
}

// A file that a report goes to. It is opened before the run: a name that does not serve is told then.
class ReportFile {
 public:
  // Empty: none.
  explicit ReportFile(std::string path) : path_(std::move(path)) {
    if (!path_.empty()) file_.open(path_, std::ios::binary);
  }
  bool ok() const { return path_.empty() || file_.good(); }
  // Whether all of it could be written.
  bool Write(const std::string& text) {
    if (path_.empty()) return true;
    file_ << text << std::flush;
    return file_.good();
  }
  int Fail() const {
    return cli::Fail("bench", kFailure,
                     absl::StrCat("cannot write ", Printable(path_),
                                  "; is its directory there, writable, and not full?"));
  }

 private:
  std::string path_;
  std::ofstream file_;
};

std::string ProgressText(std::span<const ModeResult> modes) {
  std::string text = "major faults";
  for (const ModeResult& mode : modes) {
    absl::StrAppend(&text, ", ", std::string(bench::ModeName(mode.mode)), " ",
                    bench::CountText(mode.faults.major));
  }
  return text;
}

absl::StatusOr<BenchResult> RunWithProgress(const BenchOptions& options, bool quiet) {
  const os::Interrupt interrupt;
  bench::Progress progress(!quiet, options.length);
  const bench::Listener listener = {
      .note =
          [&](const std::string& note) {
            progress.Clear();
            if (!quiet) absl::FPrintF(stderr, "mpool bench: %s\n", note);
          },
      .go_on =
          [&](std::chrono::nanoseconds passed, std::span<const ModeResult> modes) {
            if (progress.IsDue(passed)) progress.Show(passed, ProgressText(modes));
            return !interrupt.requested();
          }};
  return bench::RunBench(options, listener);
}

int RunBench(const Arguments& arguments) {
  const absl::StatusOr<BenchOptions> options = bench::ParseOptions(arguments.texts);
  if (!options.ok()) return FailWith(options.status(), kUsageError);
  const bool json_only = arguments.json == "-";
  const std::string json_path = json_only ? "" : arguments.json;
  if (const int refused = RefuseToOverwrite(arguments.texts.file, json_path, arguments.report);
      refused != 0) {
    return refused;
  }
  ReportFile json(json_path);
  if (!json.ok()) return json.Fail();
  ReportFile report(arguments.report);
  if (!report.ok()) return report.Fail();
  const bool quiet = arguments.output.verbosity < 0;
  const absl::StatusOr<BenchResult> result = RunWithProgress(*options, quiet);
  if (!result.ok()) {
    return FailWith(result.status(),
                    absl::IsPermissionDenied(result.status()) ? kNoPermission : kFailure);
  }
  const std::string json_text = JsonText(bench::ReportJson(*result));
  const bool json_written = json.Write(json_text);
  const bool report_written = report.Write(bench::ReportHtml(*result));
  const std::string text =
      json_only ? json_text
                : bench::ReportText(*result, {.color = UsesColor(arguments.output),
                                              .details = arguments.output.verbosity > 0,
                                              .brief = quiet});
  std::fputs(text.c_str(), stdout);
  if (!json_written) return json.Fail();
  if (!report_written) return report.Fail();
  return bench::HasFinding(*result) || !bench::IsComplete(*result) ? kFailure : 0;
}

}  // namespace

Command AddBench(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("bench", "Compare page touches: pool, mlock, mmap, malloc");
  auto arguments = std::make_shared<Arguments>();
  bench::OptionTexts& texts = arguments->texts;
  command->add_option("FILE", texts.file, "The file; without it, a temporary one");
  command->add_option("--modes", texts.modes, "Some of malloc,mmap,mlock,pool")->type_name("LIST");
  command->add_option("--secs", texts.secs, "How long, all modes together (10)")->type_name("N");
  command->add_option("--cgroup", texts.cgroup, "As root: pressure in a cgroup of this size")
      ->type_name("SIZE");
  command->add_option("--pressure", texts.pressure, "Memory that a second process uses")
      ->type_name("SIZE");
  command->add_option("--adversary", texts.adversary, "Who takes pages away")
      ->type_name("WHO:{none,pageout,pressure}");
  command->add_option("--size", texts.size, "Of the working set, at most")->type_name("SIZE");
  command->add_option("--json", arguments->json, "Write it as JSON; - is standard output")
      ->type_name("FILE");
  command->add_option("--report", arguments->report, "Write a page for a browser")
      ->type_name("FILE.html");
  AddVerbosityOptions(*command, arguments->output);
  AddColorOption(*command, arguments->output);
  return {command, [arguments] { return RunBench(*arguments); }};
}

}  // namespace cli
