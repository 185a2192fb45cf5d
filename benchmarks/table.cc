#include "benchmarks/table.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace benchmarks {
namespace {

constexpr size_t kColumns = 6;
using Cells = std::array<std::string, kColumns>;

bool Has(const Row& row, Bound::Of of) {
  return std::any_of(row.bounds.begin(), row.bounds.end(),
                     [of](const Bound& bound) { return bound.of == of; });
}

bool CountsOursToBare(const Row& row) { return row.overhead || Has(row, Bound::Of::kOursToBare); }

bool Keeps(const Summary& summary, const Bound& bound) {
  switch (bound.of) {
    case Bound::Of::kOurs:
      return summary.ours <= bound.value;
    case Bound::Of::kOursToBare:
      return summary.ours_to_bare <= bound.value;
    case Bound::Of::kBareToOurs:
      return 1 / summary.ours_to_bare >= bound.value;
    case Bound::Of::kOursLessBare:
      return summary.ours_less_bare <= bound.value;
  }
  return false;
}

// Three digits, but no fewer than the whole number.
std::string Digits(double value) {
  const int decimals = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return absl::StrFormat("%.*f", decimals, value);
}

// What follows a number that is not a time.
const char* WordOf(Unit unit) {
  switch (unit) {
    case Unit::kNanoseconds:
      break;
    case Unit::kCalls:
      return "calls";
    case Unit::kPercent:
      return "%";
    case Unit::kFaults:
      return "faults";
    case Unit::kBytes:
      return "bytes";
    case Unit::kTimes:
      return "times";
  }
  return "";
}

// As FormatCost, without digits that say nothing.
std::string FormatLimit(double limit, Unit unit) {
  if (unit != Unit::kNanoseconds) return absl::StrFormat("%g %s", limit, WordOf(unit));
  if (limit < 1e3) return absl::StrFormat("%g ns", limit);
  if (limit < 1e6) return absl::StrFormat("%g µs", limit / 1e3);
  return absl::StrFormat("%g ms", limit / 1e6);
}

std::string FormatBound(const Bound& bound, Unit unit) {
  switch (bound.of) {
    case Bound::Of::kOurs:
      return absl::StrCat("ours ≤ ", FormatLimit(bound.value, unit));
    case Bound::Of::kOursToBare:
      return absl::StrFormat("ours/bare ≤ %.2f", bound.value);
    case Bound::Of::kBareToOurs:
      return absl::StrFormat("bare/ours ≥ %g", bound.value);
    case Bound::Of::kOursLessBare:
      return absl::StrCat("ours - bare ≤ ", FormatLimit(bound.value, unit));
  }
  return "";
}

std::string FormatRatio(const Row& row) {
  const double ratio = RatioOf(row);
  if (std::isnan(ratio)) return "-";
  if (Has(row, Bound::Of::kOursLessBare)) {
    return absl::StrCat("ours - bare ", FormatCost(row.summary.ours_less_bare, row.unit));
  }
  if (CountsOursToBare(row)) return absl::StrFormat("ours/bare %.2f", ratio);
  return absl::StrCat("bare/ours ", Digits(ratio));
}

Cells CellsOf(const Row& row) {
  std::vector<std::string> bounds;
  for (const Bound& bound : row.bounds) bounds.push_back(FormatBound(bound, row.unit));
  const std::string bound = bounds.empty() ? "-" : absl::StrJoin(bounds, ", ");
  if (!row.skipped.empty()) {
    return {row.figure, "-", "-", "-", bound, absl::StrCat("skipped: ", row.skipped)};
  }
  return {row.figure,
          FormatCost(row.summary.ours, row.unit),
          FormatCost(row.summary.bare, row.unit),
          FormatRatio(row),
          bound,
          row.bounds.empty() ? "-"
          : Met(row)         ? "yes"
                             : "no"};
}

// Characters, not bytes: all bytes but those that continue a character of UTF-8.
size_t Width(const std::string& text) {
  const auto begins = [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; };
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), begins));
}

std::string Padded(const std::string& text, size_t width, char fill) {
  return text + std::string(width - std::min(width, Width(text)), fill);
}

// The cells of a line, with `between` them and `edge` at both ends.
std::string Line(const Cells& cells, const std::array<size_t, kColumns>& widths, char fill,
                 const std::string& edge, const std::string& between) {
  std::vector<std::string> padded;
  for (size_t i = 0; i < kColumns; ++i) padded.push_back(Padded(cells[i], widths[i], fill));
  std::string line = edge + absl::StrJoin(padded, between) + edge;
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

}  // namespace

double RatioOf(const Row& row) {
  return CountsOursToBare(row) ? row.summary.ours_to_bare : 1 / row.summary.ours_to_bare;
}

bool Met(const Row& row) {
  return row.skipped.empty() && std::all_of(row.bounds.begin(), row.bounds.end(),
                                            [&](Bound bound) { return Keeps(row.summary, bound); });
}

std::string FormatCost(double cost, Unit unit) {
  if (std::isnan(cost)) return "-";
  if (unit != Unit::kNanoseconds) {
    const bool counted = unit == Unit::kCalls || unit == Unit::kFaults;
    const std::string number = counted                  ? absl::StrFormat("%.0f", cost)
                               : unit == Unit::kPercent ? absl::StrFormat("%.3f", cost)
                                                        : Digits(cost);
    return absl::StrCat(number, " ", WordOf(unit));
  }
  if (cost < 1e3) return Digits(cost) + " ns";
  if (cost < 1e6) return Digits(cost / 1e3) + " µs";
  return Digits(cost / 1e6) + " ms";
}

std::string WithCommas(uint64_t number) {
  const std::string digits = absl::StrCat(number);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string FormatPages(uint64_t pages) {
  return absl::StrCat(WithCommas(pages), pages == 1 ? " page" : " pages");
}

std::string FormatTable(const std::vector<Row>& rows, Style style) {
  std::vector<Cells> lines = {{"figure", "ours", "bare", "ratio", "bound", "met"}};
  for (const Row& row : rows) lines.push_back(CellsOf(row));
  const bool markdown = style == Style::kMarkdown;
  std::array<size_t, kColumns> widths{};
  for (const Cells& cells : lines) {
    for (size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], Width(cells[i]));
  }
  std::string table;
  for (const Cells& cells : lines) {
    table += markdown ? Line(cells, {}, ' ', "|", "|") : Line(cells, widths, ' ', "", " | ");
    if (&cells != &lines.front()) continue;
    table +=
        markdown ? Line({}, {3, 3, 3, 3, 3, 3}, '-', "|", "|") : Line({}, widths, '-', "", "-+-");
  }
  return table;
}

}  // namespace benchmarks
