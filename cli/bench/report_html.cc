#include "cli/bench/report_html.h"

#include <algorithm>
#include <span>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "cli/bench/charts.h"
#include "cli/bench/report_style.h"
#include "cli/bench/time_text.h"
#include "cli/bench/xml.h"
#include "cli/size_text.h"

namespace cli::bench {
namespace {

// Of the worst, as many of each mode as a reader looks at.
constexpr size_t kWorstShown = 5;

// A number as people read it, with the exact one for programs.
std::string Data(uint64_t value, const std::string& text) {
  return absl::StrCat("<data value=\"", value, "\">", XmlText(text), "</data>");
}
std::string Time(uint64_t ns) { return Data(ns, MicroText(ns)); }
std::string Count(uint64_t count) { return Data(count, CountText(count)); }
std::string Size(uint64_t bytes) { return Data(bytes, SizeText(bytes)); }

std::string Name(const ModeResult& mode) { return std::string(ModeName(mode.mode)); }
std::string Micro(const std::string& text) {
  return absl::StrReplaceAll(text, {{" us", " \u00b5s"}});
}

// A table that scrolls in a box of its own. `columns`: a class and a heading each.
struct Heading {
  const char* css_class;
  std::string text;
};
class HtmlTable {
 public:
  HtmlTable(const char* label, std::span<const Heading> headings) {
    text_ = absl::StrCat("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"",
                         label, "\"><table>\n<thead><tr>");
    for (const Heading& heading : headings) {
      absl::StrAppend(&text_, "<th scope=\"col\" class=\"", heading.css_class, "\">",
                      XmlText(heading.text), "</th>");
    }
    text_ += "</tr></thead>\n<tbody>\n";
    for (const Heading& heading : headings) classes_.push_back(heading.css_class);
  }
  // `cells` are markup.
  void AddRow(const ModeResult& mode, const std::vector<std::string>& cells) {
    absl::StrAppend(&text_, "<tr class=\"m-", Name(mode), "\"><th scope=\"row\">", Name(mode),
                    "</th>");
    for (size_t i = 0; i < cells.size(); ++i) {
      absl::StrAppend(&text_, "<td class=\"", classes_[i + 1], "\">", cells[i], "</td>");
    }
    text_ += "</tr>\n";
  }
  std::string Finish() { return text_ + "</tbody></table></div>\n"; }

 private:
  std::string text_;
  std::vector<const char*> classes_;
};

std::string Cards(const BenchResult& result) {
  std::string text = "<div class=\"cards\">\n";
  for (const ModeResult& mode : result.modes) {
    absl::StrAppend(&text, "<section class=\"card m-", Name(mode), "\"><h3>", Name(mode),
                    "</h3><p>", XmlText(ModeDescription(mode.mode).data()),
                    "</p><dl><dt>major faults</dt><dd class=\"big\">", Count(mode.faults.major),
                    "</dd><dt>p50</dt><dd>", Time(mode.latency.Percentile(0.5)),
                    "</dd><dt>p99.9</dt><dd>", Time(mode.latency.Percentile(0.999)),
                    "</dd></dl></section>\n");
  }
  return text + "</div>\n";
}

std::string Conditions(const BenchResult& result) {
  std::string text =
      absl::StrCat(SizeText(result.working_set_bytes()), " of ",
                   result.file.empty() ? "a temporary file of random bytes" : result.file,
                   ", touched at random for ", MicroText(result.duration_ns),
                   ", each mode in turn for ", MicroText(result.slice_ns), ", ");
  switch (result.adversary) {
    case Adversary::kPressure:
      absl::StrAppend(&text, "beside a process that uses ", SizeText(result.pressure_bytes));
      if (result.private_cgroup && result.environment.cgroup_limit_bytes) {
        absl::StrAppend(&text, ", both in a cgroup of ",
                        SizeText(*result.environment.cgroup_limit_bytes));
      }
      break;
    case Adversary::kPageOut:
      text += "which begins by asking the kernel to page it out (MADV_PAGEOUT)";
      break;
    case Adversary::kNone:
      text += "with nobody who takes pages away";
  }
  if (result.interrupted) text += ". It was ended early";
  return XmlText(text + ".");
}

std::string Notes(const BenchResult& result) {
  if (result.notes.empty()) return "";
  std::string text = "<div class=\"notes\">";
  for (const std::string& note : result.notes) absl::StrAppend(&text, "<p>", XmlText(note), "</p>");
  return text + "</div>\n";
}

std::string OrUnknown(const std::string& text) { return text.empty() ? "not known" : text; }

// What the reader asks first; the table at the end has all of it.
std::string EnvironmentLine(const Environment& where) {
  std::string text =
      absl::StrCat(OrUnknown(where.cpu), ", ", where.cpus, " CPUs, ", SizeText(where.memory_bytes),
                   " of memory, ", where.swap_bytes == 0 ? "no" : SizeText(where.swap_bytes),
                   " swap; lock limit ");
  absl::StrAppend(&text, where.lock_limit_bytes ? SizeText(*where.lock_limit_bytes) : "none",
                  where.lock_privilege ? ", not binding" : "", "; Linux ", OrUnknown(where.kernel),
                  "; mpool ", where.version, "; ", where.date);
  return XmlText(text);
}

std::string EnvironmentTable(const BenchResult& result) {
  const Environment& where = result.environment;
  const std::string lock_limit =
      where.lock_limit_bytes ? SizeText(*where.lock_limit_bytes) : "unlimited";
  const std::string cgroup = absl::StrCat(
      where.cgroup_limit_bytes ? absl::StrCat(SizeText(*where.cgroup_limit_bytes),
                                              result.private_cgroup ? ", made for this run" : "")
                               : "no limit",
      where.cgroup.empty() ? "" : absl::StrCat(", ", where.cgroup));
  const std::pair<const char*, std::string> facts[] = {
      {"Kernel", OrUnknown(where.kernel)},
      {"CPU", absl::StrCat(OrUnknown(where.cpu), ", ", where.cpus, " of them")},
      {"Memory", SizeText(where.memory_bytes)},
      {"Swap", where.swap_bytes == 0 ? "none"
                                     : absl::StrCat(SizeText(where.swap_bytes), ", ",
                                                    SizeText(where.swap_free_bytes), " free")},
      {"Memory cgroup", cgroup},
      {"Lock limit",
       absl::StrCat(lock_limit, where.lock_privilege ? ", which does not bind this user" : "")},
      {"Huge pages", OrUnknown(where.thp)},
      {"Clock", absl::StrCat("adds about ", MicroText(result.clock_ns), " to each touch")},
      {"Date", where.date},
      {"mpool", where.version}};
  std::string text = "<table class=\"facts\"><tbody>\n";
  for (const auto& [name, value] : facts) {
    absl::StrAppend(&text, "<tr><th scope=\"row\">", name, "</th><td>", XmlText(value),
                    "</td></tr>\n");
  }
  return text + "</tbody></table>\n";
}

std::string LatencyTable(const BenchResult& result) {
  const Heading headings[] = {{"", "mode"},   {"", "touches"}, {"", "major"}, {"", "minor"},
                              {"", "p50"},    {"", "p90"},     {"", "p99"},   {"", "p99.9"},
                              {"", "p99.99"}, {"", "max"}};
  HtmlTable table("Fault counts and percentiles of each mode", headings);
  for (const ModeResult& mode : result.modes) {
    std::vector<std::string> cells = {Count(mode.latency.count()), Count(mode.faults.major),
                                      Count(mode.faults.minor)};
    for (const double share : {0.5, 0.9, 0.99, 0.999, 0.9999}) {
      cells.push_back(Time(mode.latency.Percentile(share)));
    }
    cells.push_back(Time(mode.latency.max()));
    table.AddRow(mode, cells);
  }
  return table.Finish();
}

std::string CostTable(const BenchResult& result) {
  const Heading headings[] = {{"", "mode"},   {"", "CPU time per touch"},   {"", "locked"},
                              {"", "memory"}, {"", "MADV_PAGEOUT refused"}, {"", "pool misses"}};
  HtmlTable table("What each mode costs", headings);
  for (const ModeResult& mode : result.modes) {
    const uint64_t asked = mode.page_outs_refused + mode.page_outs_done;
    const auto cpu_ns = static_cast<uint64_t>(mode.cpu_per_touch_ns() + 0.5);
    table.AddRow(
        mode,
        {Time(cpu_ns), Size(mode.locked_bytes), Size(mode.memory_bytes),
         asked == 0 ? "\u2013" : absl::StrCat(Count(mode.page_outs_refused), " of ", Count(asked)),
         mode.pool_misses ? Count(*mode.pool_misses) : "\u2013"});
  }
  return table.Finish();
}

std::string CausesTable(const BenchResult& result) {
  const Heading headings[] = {{"", "mode"},        {"", "outliers"},  {"", "major fault"},
                              {"", "minor fault"}, {"", "run queue"}, {"", "other"}};
  HtmlTable table("Outliers by their cause", headings);
  for (const ModeResult& mode : result.modes) {
    std::vector<std::string> cells = {Count(mode.outliers.count())};
    for (const Cause cause :
         {Cause::kMajorFault, Cause::kMinorFault, Cause::kRunQueue, Cause::kOther}) {
      cells.push_back(Count(mode.outliers.count(cause)));
    }
    table.AddRow(mode, cells);
  }
  return table.Finish();
}

std::string WorstTable(const BenchResult& result) {
  const Heading headings[] = {{"", "mode"},  {"", "at"},    {"", "took"},      {"", "page"},
                              {"", "major"}, {"", "minor"}, {"", "run queue"}, {"words", "cause"}};
  HtmlTable table("The worst outliers of each mode", headings);
  for (const ModeResult& mode : result.modes) {
    const std::vector<SlowTouch> worst = mode.outliers.Worst();
    for (size_t i = 0; i < std::min(worst.size(), kWorstShown); ++i) {
      const SlowTouch& touch = worst[i];
      table.AddRow(mode, {Time(touch.at_ns), Time(touch.ns), Count(touch.page), Count(touch.major),
                          Count(touch.minor), Time(touch.run_queue_ns),
                          std::string(CauseText(CauseOf(touch)))});
    }
  }
  return table.Finish();
}

std::string Figure(std::string (*chart)(const BenchResult&, const Layout&),
                   const BenchResult& result) {
  return absl::StrCat("<figure>\n", chart(result, kWide), chart(result, kNarrow), "</figure>\n");
}

std::string Section(const char* title, const std::string& explanation, const std::string& content) {
  return absl::StrCat("<section>\n<h2>", title, "</h2>\n<p class=\"soft\">", explanation, "</p>\n",
                      content, "</section>\n");
}

std::string Charts(const BenchResult& result) {
  return absl::StrCat(
      Section("Page faults", "Counted by the kernel for the thread that touches.",
              Figure(FaultChart, result)),
      Section("Percentiles",
              "How long the slower touches took. Both axes are logarithmic: each step to the right "
              "leaves a tenth of the touches above it.",
              Figure(PercentileChart, result) + LatencyTable(result)),
      Section("Over time",
              "The mark is the highest 99th percentile of a turn, the pale bar reaches to the "
              "longest touch. Same scale for all.",
              Figure(TimeChart, result)),
      Section(
          "Resident at the end",
          "Which pages were in the page tables at the end of the run, in the order of the file, "
          "by /proc/self/pagemap.",
          Figure(ResidencyChart, result)));
}

std::string Tables(const BenchResult& result) {
  return absl::StrCat(
      Section("Outliers",
              absl::StrCat("Touches of more than ", Micro(TimeText(result.outlier_ns)),
                           ", by what took the greater part of the time. Run queue: the thread was "
                           "ready and other programs had the CPU. Other: interrupts, the host of a "
                           "virtual machine."),
              CausesTable(result) + WorstTable(result)),
      Section("Cost", "CPU time includes the measuring itself.", CostTable(result)));
}

}  // namespace

std::string ReportHtml(const BenchResult& result) {
  const char* const verdict_class = HasFinding(result) ? "verdict bad" : "verdict";
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n"
      "<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
      "<title>mpool bench</title>\n<style>",
      kReportStyle,
      "</style>\n</head>\n<body>\n<main>\n<h1>mpool bench: touching pages under memory "
      "pressure</h1>\n<p class=\"",
      verdict_class, "\">", XmlText(Micro(Verdict(result))), "</p>\n<p class=\"soft\">",
      Conditions(result), "<br/>", EnvironmentLine(result.environment), "</p>\n", Notes(result),
      Cards(result), Charts(result), Tables(result),
      Section("Where", "The machine, and the limits of the process.", EnvironmentTable(result)),
      "<section>\n<h2>Repeat it</h2>\n<pre>", XmlText(result.command),
      "</pre>\n</section>\n</main>\n</body>\n</html>\n");
}

}  // namespace cli::bench
