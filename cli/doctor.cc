#include "cli/doctor.h"

#include <cstdio>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "cli/doctor_facts.h"
#include "cli/doctor_fix.h"
#include "cli/doctor_prove.h"
#include "cli/doctor_report.h"
#include "cli/doctor_verdict.h"
#include "cli/exit_code.h"
#include "cli/size_text.h"
#include "os/errno.h"
#include "os/result.h"

namespace cli {
namespace {

constexpr char kDefaultSize[] = "64M";

int Fail(int exit_code, const std::string& message) {
  return cli::Fail("doctor", exit_code, message);
}

int FailToRead(int pid, os::Errno error) {
  if (error == os::Errno(ENOENT)) return Fail(kNotFound, absl::StrCat("there is no process ", pid));
  return Fail(
      kNoPermission,
      absl::StrCat("process ", pid,
                   " may not be looked at (is /proc mounted with hidepid?); ask as its user "
                   "or as root"));
}

std::optional<uint64_t> SizeOf(const DoctorOptions& options) {
  return ParseSize(options.size.value_or(kDefaultSize));
}

std::optional<int> PidOf(const DoctorOptions& options) {
  int pid = 0;
  if (!absl::SimpleAtoi(options.pid.value_or(""), &pid) || pid <= 0) return std::nullopt;
  return pid;
}

std::optional<std::string> MistakeIn(const DoctorOptions& options) {
  if (SizeOf(options).value_or(0) == 0) {
    return absl::StrCat("'", Printable(options.size.value_or("")),
                        "' is no size to lock; give bytes, or a unit as in 64M");
  }
  if (options.pid && !PidOf(options)) {
    return absl::StrCat("'", Printable(*options.pid), "' is no number of a process");
  }
  if (options.fix && !FixKindOf(*options.fix)) {
    return absl::StrCat("there is no fix '", Printable(*options.fix),
                        "'; those there are: ", absl::StrReplaceAll(FixKindNames(), {{"|", ", "}}));
  }
  if (options.prove && options.pid) return "--prove is for the process itself: without --pid";
  if (options.prove && options.fix) return "--fix prints the fix alone: without --prove";
  if (options.output.json && options.fix) {
    return "--fix prints text to paste: without --json, which has all fixes that fit";
  }
  return std::nullopt;
}

void Print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

// The text alone goes to stdout, so that it can be pasted and piped.
int PrintFix(const DoctorFacts& facts, const std::string& kind, bool quiet) {
  const Fix fix = FixOf(*FixKindOf(kind), facts);
  if (fix.is_needless) {
    if (!quiet) absl::FPrintF(stderr, "# %s.\n", fix.notes.front());
    return 0;
  }
  if (fix.text.empty()) {
    return Fail(kFailure, absl::StrCat("--fix=", kind, " does not work here: ", fix.notes.front()));
  }
  Print(fix.text);
  if (quiet) return 0;
  (void)std::fflush(stdout);
  absl::FPrintF(stderr, "# %s.\n", fix.place);
  for (const std::string& note : fix.notes) absl::FPrintF(stderr, "# %s\n", note);
  if (facts.size > facts.physical_bytes) {
    absl::FPrintF(stderr, "# No limit helps: the machine has %s of memory.\n",
                  SizeText(facts.physical_bytes));
  }
  return 0;
}

int ExitCodeOf(const Report& report) {
  if (!report.no_proof.empty()) return kFailure;
  if (report.proof && report.proof->outcome != Proof::Outcome::kProved) return kFailure;
  switch (report.verdict.answer) {
    case Verdict::Answer::kYes:
      return 0;
    case Verdict::Answer::kUnknown:
      return report.pid ? kNoPermission : kFailure;
    case Verdict::Answer::kNo:
      break;
  }
  return kFailure;
}

// Of the proof, where the report is the verdict alone.
void PrintFailureOf(const Report& report) {
  if (!report.no_proof.empty()) {
    (void)Fail(kFailure, absl::StrCat("no proof: ", report.no_proof));
  } else if (report.proof && report.proof->outcome != Proof::Outcome::kProved) {
    (void)Fail(kFailure, report.proof->conclusion);
  }
}

int Examine(DoctorFacts facts, const DoctorOptions& options) {
  if (options.fix) return PrintFix(facts, *options.fix, options.output.verbosity < 0);
  // Beyond what there is room for the kernel would kill somebody.
  const bool there_is_room = !IsObstacle(Obstacle::kMemory, facts);
  if (facts.is_own() && there_is_room) facts.trial = TryToLock(facts.size);
  Report report = ReportOf(facts, options.output.bytes);
  if (options.prove) {
    absl::StatusOr<Proof> proof = Prove(facts);
    if (proof.ok()) {
      report.proof = *std::move(proof);
    } else {
      report.no_proof = std::string(proof.status().message());
    }
  }
  Print(options.output.json ? JsonOf(report)
                            : TextOf(report, options.output, UsesColor(options.output)));
  if (options.output.verbosity < 0 && !options.output.json) PrintFailureOf(report);
  return ExitCodeOf(report);
}

}  // namespace

int RunDoctor(const DoctorOptions& options) {
  if (const std::optional<std::string> mistake = MistakeIn(options)) {
    return Fail(kUsageError, *mistake);
  }
  const uint64_t size = SizeOf(options).value_or(0);
  os::Result<DoctorFacts> facts = os::Errno(ENOENT);
  if (options.pid) {
    const int pid = PidOf(options).value_or(0);
    facts = ReadFactsOf(pid, size);
    if (!facts.ok()) return FailToRead(pid, facts.error());
  } else {
    facts = ReadOwnFacts(size);
  }
  facts->size_is_default = !options.size;
  return Examine(*std::move(facts), options);
}

Command AddDoctor(CLI::App& app) {
  CLI::App* doctor = app.add_subcommand("doctor", "Tell whether memory can be locked, and why not");
  auto options = std::make_shared<DoctorOptions>();
  doctor->add_option("SIZE", options->size, "How much, as 64M or 1.5G; without it 64M");
  doctor->add_option("--pid", options->pid, "Of this process, by its numbers")->type_name("PID");
  doctor
      ->add_option("--fix", options->fix,
                   "Print what to paste: ulimit, systemd, docker,\n"
                   "kubernetes, pam, lxc or nspawn")
      ->type_name("KIND");
  doctor->add_flag("--prove", options->prove, "Lock a buffer beside another, page both out");
  AddJsonOption(*doctor, options->output);
  AddBytesOption(*doctor, options->output);
  AddColorOption(*doctor, options->output);
  AddVerbosityOptions(*doctor, options->output);
  return {doctor, [options] { return RunDoctor(*options); }};
}

}  // namespace cli
