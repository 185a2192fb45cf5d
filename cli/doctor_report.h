// The report of `mpool doctor`, as text and as JSON. Pure.

#ifndef CLI_DOCTOR_REPORT_H_
#define CLI_DOCTOR_REPORT_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/doctor_checks.h"
#include "cli/doctor_facts.h"
#include "cli/doctor_fix.h"
#include "cli/doctor_prove.h"
#include "cli/doctor_verdict.h"
#include "cli/output.h"

namespace cli {

struct Report {
  uint64_t size = 0;       // in bytes, that was asked for
  std::optional<int> pid;  // nullopt: of this process
  std::string name;        // of that process
  Verdict verdict;
  std::vector<Obstacle> obstacles;
  std::vector<Check> checks;
  std::vector<Fix> fixes;
  std::optional<Proof> proof;
  std::string no_proof;  // why there is none, though it was asked for
};

Report ReportOf(const DoctorFacts& facts, bool in_bytes);

// The verdict, the checks, the fixes, the proof; the verdict alone if `options` are quiet. Lines
// fit 80 columns, but for what is to be pasted and for long names.
std::string TextOf(const Report& report, const OutputOptions& options, bool color);
// {"schema": "mpool.doctor/1", ...}, in ASCII.
std::string JsonOf(const Report& report);

// The text in lines of at most 80 columns, each but the first after `indent` blanks, with a newline
// each. Words are not broken. `first` is what the first line has already.
std::string Wrapped(std::string_view text, size_t indent, size_t first);

}  // namespace cli

#endif  // CLI_DOCTOR_REPORT_H_
