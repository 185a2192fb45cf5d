#include "cli/doctor_report.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace cli {
namespace {

constexpr size_t kColumns = 80;
constexpr size_t kSummaryColumn = 21;  // after the status and the id

Style StyleOf(Check::Status status) {
  switch (status) {
    case Check::Status::kOk:
      return Style::kGood;
    case Check::Status::kProblem:
      return Style::kBad;
    case Check::Status::kWarning:
    case Check::Status::kUnknown:
      break;
  }
  return Style::kWarning;
}

Style StyleOf(Verdict::Answer answer) {
  if (answer == Verdict::Answer::kUnknown) return Style::kWarning;
  return answer == Verdict::Answer::kYes ? Style::kGood : Style::kBad;
}

void AppendCheck(std::string& text, const Check& check, bool verbose, bool color) {
  const std::string status = absl::StrFormat("%-7s", NameOf(check.status));
  absl::StrAppend(&text, Styled(status, StyleOf(check.status), color),
                  absl::StrFormat("  %-10s  ", check.id),
                  Wrapped(check.summary, kSummaryColumn, kSummaryColumn));
  const std::string indent(kSummaryColumn, ' ');
  if (!check.advice.empty()) {
    absl::StrAppend(&text, indent, Styled("->", Style::kBold, color), " ",
                    Wrapped(check.advice, kSummaryColumn + 3, kSummaryColumn + 3));
  }
  if (verbose && !check.reason.empty()) {
    absl::StrAppend(&text, indent, Wrapped(check.reason, kSummaryColumn, kSummaryColumn));
  }
}

void AppendFix(std::string& text, const Fix& fix, bool verbose, bool color) {
  if (!fix.place.empty()) {
    absl::StrAppend(&text, "  ", Wrapped(absl::StrCat(fix.place, ":"), 2, 2));
  }
  for (const absl::string_view line : absl::StrSplit(fix.text, '\n', absl::SkipEmpty())) {
    const std::string_view view(line.data(), line.size());
    absl::StrAppend(&text, "    ", Styled(view, Style::kBold, color), "\n");
  }
  if (!verbose && !fix.text.empty()) return;
  for (const std::string& note : fix.notes) {
    absl::StrAppend(&text, "  ", Wrapped(note, 2, 2));
  }
}

// What is to be done about the obstacles besides the lock limit is the advice of their checks.
void AppendCures(std::string& text, const Report& report, bool verbose, bool color) {
  std::string cures;
  for (const Obstacle obstacle : report.obstacles) {
    if (obstacle == Obstacle::kLockLimit) continue;
    for (const Check& check : report.checks) {
      if (check.id != IdOf(obstacle)) continue;
      absl::StrAppend(&cures, "  ", check.id, ": ", Wrapped(check.advice, 4, check.id.size() + 4));
    }
  }
  for (const Fix& fix : report.fixes) AppendFix(cures, fix, verbose, color);
  if (cures.empty() || report.verdict.answer == Verdict::Answer::kYes) return;
  absl::StrAppend(&text, "\nTo change it:\n", cures);
}

void AppendProof(std::string& text, const Report& report, bool in_bytes) {
  if (report.proof) {
    absl::StrAppend(&text, "\nTo prove it:\n", TextOf(*report.proof, in_bytes), "  ",
                    Wrapped(report.proof->conclusion, 2, 2));
  } else if (!report.no_proof.empty()) {
    absl::StrAppend(&text, "\n", Wrapped("No proof: " + report.no_proof, 2, 0));
  }
}

Json ObjectOf(const Check& check) {
  return {{"id", check.id},
          {"status", NameOf(check.status)},
          {"summary", check.summary},
          {"advice", check.advice.empty() ? Json() : Json(check.advice)},
          {"reason", check.reason.empty() ? Json() : Json(check.reason)},
          {"values", check.values}};
}

Json ObjectOf(const Fix& fix) {
  return {{"kind", NameOf(fix.kind)},
          {"place", fix.place.empty() ? Json() : Json(fix.place)},
          {"text", fix.text.empty() ? Json() : Json(fix.text)},
          {"notes", fix.notes}};
}

}  // namespace

std::string Wrapped(std::string_view text, size_t indent, size_t first) {
  std::string lines;
  size_t column = first;
  bool line_is_empty = true;
  for (const absl::string_view word :
       absl::StrSplit(absl::string_view(text.data(), text.size()), ' ', absl::SkipEmpty())) {
    if (!line_is_empty && column + 1 + word.size() > kColumns) {
      absl::StrAppend(&lines, "\n", std::string(indent, ' '));
      column = indent;
      line_is_empty = true;
    }
    absl::StrAppend(&lines, line_is_empty ? "" : " ", word);
    column += word.size() + (line_is_empty ? 0 : 1);
    line_is_empty = false;
  }
  return lines + "\n";
}

Report ReportOf(const DoctorFacts& facts, bool in_bytes) {
  Report report;
  report.size = facts.size;
  if (facts.process) {
    report.pid = facts.process->pid;
    report.name = facts.process->name;
  }
  report.verdict = VerdictOf(facts, in_bytes);
  report.obstacles = ObstaclesOf(facts);
  report.checks = ChecksOf(facts, in_bytes);
  report.fixes = FixesFor(facts);
  return report;
}

std::string TextOf(const Report& report, const OutputOptions& options, bool color) {
  const bool verbose = options.verbosity > 0;
  const Verdict& verdict = report.verdict;
  if (options.verbosity < 0) {
    return absl::StrCat(Styled(verdict.text, StyleOf(verdict.answer), color), "\n");
  }
  std::string text = Wrapped(verdict.text, 0, 0);
  text.pop_back();
  text = absl::StrCat(Styled(text, StyleOf(verdict.answer), color), "\n\n");
  for (const Check& check : report.checks) {
    if (!check.detail || verbose) AppendCheck(text, check, verbose, color);
  }
  AppendCures(text, report, verbose, color);
  AppendProof(text, report, options.bytes);
  return text;
}

std::string JsonOf(const Report& report) {
  Json causes = Json::array();
  if (report.verdict.answer == Verdict::Answer::kNo) {
    for (const Obstacle obstacle : report.obstacles) causes.push_back(IdOf(obstacle));
  }
  Json checks = Json::array();
  for (const Check& check : report.checks) checks.push_back(ObjectOf(check));
  Json fixes = Json::array();
  for (const Fix& fix : report.fixes) fixes.push_back(ObjectOf(fix));
  Json proof = report.proof ? ObjectOf(*report.proof) : Json();
  return JsonText({{"schema", "mpool.doctor/1"},
                   {"pid", report.pid ? Json(*report.pid) : Json()},
                   {"name", report.pid ? TextOrNull(report.name) : Json()},
                   {"size_bytes", report.size},
                   {"verdict", NameOf(report.verdict.answer)},
                   {"tried", report.verdict.tried},
                   {"summary", report.verdict.text},
                   {"causes", std::move(causes)},
                   {"checks", std::move(checks)},
                   {"fixes", std::move(fixes)},
                   {"proof", std::move(proof)},
                   {"no_proof", report.no_proof.empty() ? Json() : Json(report.no_proof)}});
}

}  // namespace cli
