#include "cli/run.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "cli/run_report.h"
#include "cli/size_text.h"
#include "os/child_process.h"
#include "os/limits.h"

namespace cli {
namespace {

using os::ChildProcess;
using std::chrono::steady_clock;
using std::chrono_literals::operator""ms;

int FailToRun(int exit_code, const std::string& message) { return Fail("run", exit_code, message); }

// Where the report goes. Opened before the program runs: a file that cannot be made is told at once.
using OwnedStream = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

OwnedStream OpenReport(const std::string& path) {
  if (path.empty()) return {stderr, [](std::FILE* stream) { return std::fflush(stream); }};
  return {std::fopen(path.c_str(), "we"), std::fclose};
}

// What the options say. Returns the exit code of a mistake in them, else 0.
int ReadOptions(const RunOptions& options, RunReport& report) {
  report.command = options.command;
  if (absl::EqualsIgnoreCase(options.limit, "unlimited")) {
    report.limit_bytes = ChildProcess::kUnlimited;
  } else if (options.limit_given) {
    report.limit_bytes = ParseSize(options.limit);
    if (!report.limit_bytes) {
      return FailToRun(kRunFailed,
                       absl::StrCat("--limit: '", Printable(options.limit),
                                    "' is no size; give one such as 64K, 8M or unlimited"));
    }
  }
  if (options.major_faults_given) {
    report.allowed_major_faults = 0;
    if (options.major_faults != "true" &&
        !absl::SimpleAtoi(options.major_faults, &*report.allowed_major_faults)) {
      return FailToRun(kRunFailed,
                       absl::StrCat("--fail-on-majflt: '", Printable(options.major_faults),
                                    "' is no number; give how many are allowed"));
    }
  }
  return 0;
}

std::string LimitText(const std::optional<uint64_t>& bytes) {
  return bytes && *bytes != ChildProcess::kUnlimited ? ExactSizeText(*bytes) : "unlimited";
}

int FailToLimit(const RunReport& report, os::Errno error) {
  if (error != os::Errno(EPERM)) {
    return FailToRun(kRunFailed,
                     absl::StrCat("cannot set the lock limit to ", LimitText(report.limit_bytes),
                                  ": ", std::strerror(error.code())));
  }
  return FailToRun(
      kRunFailed,
      absl::StrCat("cannot set the lock limit to ", LimitText(report.limit_bytes),
                   ": the hard limit is ", LimitText(os::MemlockLimit().hard),
                   ", and raising it needs CAP_SYS_RESOURCE; `mpool doctor` tells where the limit "
                   "comes from and how to raise it"));
}

int FailToExecute(const std::string& program, os::Errno error) {
  const std::string name = Printable(program);
  const bool has_slash = program.find('/') != program.npos;
  std::error_code ignored;
  if (error == os::Errno(ENOENT) && !has_slash) {
    return FailToRun(kNoSuchProgram, absl::StrCat("there is no program '", name, "' in PATH"));
  }
  if (error == os::Errno(ENOENT) && std::filesystem::exists(program, ignored)) {
    return FailToRun(kNoSuchProgram, absl::StrCat("'", name,
                                                  "' is there, but the interpreter or "
                                                  "loader that it names is not"));
  }
  const int code = error == os::Errno(ENOENT) ? kNoSuchProgram : kCannotExecute;
  return FailToRun(code, absl::StrCat("'", name, "' cannot be run: ", std::strerror(error.code())));
}

int FailToStart(const RunReport& report, ChildProcess::Step step, os::Errno error) {
  switch (step) {
    case ChildProcess::Step::kFork:
      return FailToRun(kRunFailed,
                       absl::StrCat("no process can be made: ", std::strerror(error.code())));
    case ChildProcess::Step::kLimit:
      return FailToLimit(report, error);
    case ChildProcess::Step::kExecute:
      break;
  }
  return FailToExecute(report.command.front(), error);
}

// What there is to see at once may soon be gone, what has lasted lasts: looks every millisecond at
// first, every 20 after a second. A look costs some ten microseconds.
std::chrono::nanoseconds UntilNextLook(steady_clock::duration elapsed) {
  return std::clamp<std::chrono::nanoseconds>(elapsed / 50, 1ms, 20ms);
}

void Watch(ChildProcess& child, steady_clock::time_point start, RunReport& report) {
  std::optional<ChildProcess::End> end;
  while (!end) {
    if (const std::optional<ChildProcess::Memory> now = child.ReadMemory()) {
      ChildProcess::Memory& most = report.memory ? *report.memory : report.memory.emplace();
      most.locked_bytes = std::max(most.locked_bytes, now->locked_bytes);
      most.resident_bytes_max = std::max(most.resident_bytes_max, now->resident_bytes_max);
    }
    end = child.WaitFor(UntilNextLook(steady_clock::now() - start));
  }
  report.end = *end;
  const auto wall = steady_clock::now() - start;
  report.wall_us =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(wall).count());
}

// Returns the exit code of mpool.
int Tell(const RunReport& report, const RunOptions& options, OwnedStream stream) {
  const bool is_quiet = options.output.verbosity < 0;
  const std::string text = options.output.json ? JsonOf(report)
                           : is_quiet          ? ""
                                               : TextOf(report, options.output.verbosity > 0);
  errno = 0;
  bool is_written = std::fwrite(text.data(), 1, text.size(), stream.get()) == text.size();
  is_written = stream.get_deleter()(stream.release()) == 0 && is_written;
  const int exit_code = report.ExitCode();
  if (report.end.signal == 0 && report.end.exit_code == 0 && report.TookTooManyMajorFaults()) {
    return FailToRun(exit_code, FindingOf(report));
  }
  if (is_written || exit_code != 0) return exit_code;
  return FailToRun(kRunFailed,
                   absl::StrCat("the report cannot be written: ", std::strerror(errno)));
}

}  // namespace

int RunCommand(const RunOptions& options) {
  RunReport report;
  if (const int mistake = ReadOptions(options, report); mistake != 0) return mistake;
  OwnedStream stream = OpenReport(options.report_path);
  if (stream == nullptr) {
    return FailToRun(kRunFailed, absl::StrCat("cannot write to ", Printable(options.report_path),
                                              ": ", std::strerror(errno)));
  }
  if (report.limit_bytes && *report.limit_bytes != ChildProcess::kUnlimited &&
      options.output.verbosity >= 0 && os::RealLimits().Privileged()) {
    (void)FailToRun(0,
                    "note: a process with CAP_IPC_LOCK is not bound by the lock limit; "
                    "`setpriv --bounding-set=-ipc_lock mpool run ...` takes it away");
  }
  (void)std::fflush(nullptr);
  ChildProcess::Step failed;
  const steady_clock::time_point start = steady_clock::now();
  const auto child = ChildProcess::Start(
      {.command = options.command, .memlock_bytes = report.limit_bytes}, failed);
  if (!child.ok()) return FailToStart(report, failed, child.error());
  Watch(**child, start, report);
  return Tell(report, options, std::move(stream));
}

Command AddRun(CLI::App& app) {
  CLI::App* run = app.add_subcommand("run", "Run a program, and tell its page faults and locks");
  auto options = std::make_shared<RunOptions>();
  CLI::Option* limit =
      run->add_option("--limit", options->limit, "The program may lock so much (RLIMIT_MEMLOCK)")
          ->type_name("SIZE");
  CLI::Option* faults = run->add_flag("--fail-on-majflt", options->major_faults,
                                      "Exit with 1 after a major fault, or =N: after more");
  AddJsonOption(*run, options->output);
  run->add_option("-o,--output", options->report_path, "The report goes there, not to stderr")
      ->type_name("FILE");
  AddVerbosityOptions(*run, options->output);
  CLI::Option* rest =
      run->add_option("COMMAND", options->command, "The program and its arguments")->required();
  run->positionals_at_end();
  return {.app = run,
          .run =
              [options, limit, faults] {
                options->limit_given = limit->count() > 0;
                options->major_faults_given = faults->count() > 0;
                return RunCommand(*options);
              },
          .usage_error = kRunFailed,
          .rest = rest,
          .rest_text = std::shared_ptr<std::vector<std::string>>(options, &options->command)};
}

}  // namespace cli
