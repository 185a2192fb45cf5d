#include "cli/bench/report_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/bench/time_text.h"
#include "cli/output.h"
#include "cli/size_text.h"
#include "cli/table.h"

namespace cli::bench {
namespace {

// As many of each mode as a person reads.
constexpr size_t kWorstShown = 5;

std::string Heading(const BenchResult& result) {
  std::string text = absl::StrFormat(
      "%s of %s, touched at random for %s in turns of %s\n", SizeText(result.working_set_bytes()),
      result.file.empty() ? "a temporary file" : Printable(result.file),
      TimeText(result.duration_ns), TimeText(result.slice_ns));
  switch (result.adversary) {
    case Adversary::kPressure:
      absl::StrAppend(
          &text, "under a pressure of ", SizeText(result.pressure_bytes),
          result.private_cgroup
              ? absl::StrCat(" in a cgroup of ",
                             SizeText(result.environment.cgroup_limit_bytes.value_or(0)))
              : "",
          "\n");
      break;
    case Adversary::kPageOut:
      absl::StrAppend(&text, "each turn begins with MADV_PAGEOUT of all pages\n");
      break;
    case Adversary::kNone:
      absl::StrAppend(&text, "nobody takes pages away\n");
  }
  return text;
}

std::string LatencyTable(const BenchResult& result) {
  Table table({{"MODE"},
               {"MAJOR", true},
               {"MINOR", true},
               {"P50", true},
               {"P90", true},
               {"P99", true},
               {"P99.9", true},
               {"MAX", true},
               {"TOUCHES", true}});
  for (const ModeResult& mode : result.modes) {
    std::vector<std::string> row = {std::string(ModeName(mode.mode)), CountText(mode.faults.major),
                                    CountText(mode.faults.minor)};
    for (const double share : {0.5, 0.9, 0.99, 0.999}) {
      row.push_back(TimeText(mode.latency.Percentile(share)));
    }
    row.push_back(TimeText(mode.latency.max()));
    row.push_back(CountText(mode.latency.count()));
    table.AddRow(std::move(row));
  }
  return table.ToString();
}

std::string OutlierTable(const BenchResult& result) {
  Table table({{"SLOWER THAN " + TimeText(result.outlier_ns)},
               {"ALL", true},
               {"MAJOR FAULT", true},
               {"MINOR FAULT", true},
               {"RUN QUEUE", true},
               {"OTHER", true}});
  for (const ModeResult& mode : result.modes) {
    std::vector<std::string> row = {std::string(ModeName(mode.mode)),
                                    CountText(mode.outliers.count())};
    for (const Cause cause :
         {Cause::kMajorFault, Cause::kMinorFault, Cause::kRunQueue, Cause::kOther}) {
      row.push_back(CountText(mode.outliers.count(cause)));
    }
    table.AddRow(std::move(row));
  }
  return table.ToString();
}

std::string WorstTable(const BenchResult& result) {
  Table table({{"WORST"},
               {"AT", true},
               {"TOOK", true},
               {"MAJOR", true},
               {"MINOR", true},
               {"RUN QUEUE", true},
               {"CAUSE"}});
  for (const ModeResult& mode : result.modes) {
    const std::vector<SlowTouch> worst = mode.outliers.Worst();
    for (size_t i = 0; i < std::min(worst.size(), kWorstShown); ++i) {
      const SlowTouch& touch = worst[i];
      table.AddRow({std::string(ModeName(mode.mode)), TimeText(touch.at_ns), TimeText(touch.ns),
                    CountText(touch.major), CountText(touch.minor), TimeText(touch.run_queue_ns),
                    std::string(CauseText(CauseOf(touch)))});
    }
  }
  return table.ToString();
}

std::string CostTable(const BenchResult& result) {
  Table table(
      {{"COST"}, {"CPU/TOUCH", true}, {"LOCKED", true}, {"MEMORY", true}, {"PRESENT", true}});
  for (const ModeResult& mode : result.modes) {
    const double share = result.pages == 0 ? 0
                                           : 100 * static_cast<double>(mode.present_pages) /
                                                 static_cast<double>(result.pages);
    table.AddRow({std::string(ModeName(mode.mode)),
                  TimeText(static_cast<uint64_t>(mode.cpu_per_touch_ns() + 0.5)),
                  SizeText(mode.locked_bytes), SizeText(mode.memory_bytes),
                  absl::StrFormat("%.0f %%", std::min(share, 100.0))});
  }
  return table.ToString();
}

// Lines of at most 80 columns.
std::string Wrapped(const std::string& text) {
  std::string lines;
  size_t column = 0;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find(' ', begin), text.size());
    if (column > 0 && column + 1 + (end - begin) > 80) {
      lines += '\n';
      column = 0;
    } else if (column > 0) {
      lines += ' ';
      ++column;
    }
    lines += text.substr(begin, end - begin);
    column += end - begin;
    begin = end + 1;
  }
  return lines;
}

}  // namespace

std::string ReportText(const BenchResult& result, const TextOptions& options) {
  const Style style = HasFinding(result) ? Style::kBad : Style::kBold;
  const std::string verdict = Styled(Wrapped(Verdict(result)), style, options.color) + "\n";
  if (options.brief) return verdict;
  std::string text =
      absl::StrCat(Heading(result), "\n", LatencyTable(result), "\n", OutlierTable(result), "\n");
  if (options.details) absl::StrAppend(&text, WorstTable(result), "\n", CostTable(result), "\n");
  if (result.interrupted) text += "Ended early; what was measured until then:\n";
  return text + verdict;
}

}  // namespace cli::bench
