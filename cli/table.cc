#include "cli/table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace cli {

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) { (void)Choose(""); }

std::optional<std::string> Table::Choose(std::string_view names) {
  std::vector<size_t> chosen;
  for (const absl::string_view part :
       absl::StrSplit(absl::string_view(names.data(), names.size()), ',', absl::SkipEmpty())) {
    const absl::string_view name = absl::StripAsciiWhitespace(part);
    const auto column = std::ranges::find_if(
        columns_, [&](const Column& c) { return absl::EqualsIgnoreCase(c.name, name); });
    if (column == columns_.end()) {
      const auto append_name = [](std::string* out, const Column& c) { out->append(c.name); };
      return absl::StrCat("there is no column '", name, "'; there are ",
                          absl::StrJoin(columns_, ",", append_name));
    }
    chosen.push_back(static_cast<size_t>(column - columns_.begin()));
  }
  if (chosen.empty()) {
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (columns_[i].by_default) chosen.push_back(i);
    }
  }
  chosen_ = std::move(chosen);
  return std::nullopt;
}

void Table::AddRow(std::vector<std::string> row) {
  row.resize(columns_.size());
  rows_.push_back(std::move(row));
}

std::string Table::ToString(bool headings) const {
  std::vector<size_t> widths(columns_.size(), 0);
  std::vector<std::string> names;
  for (const Column& column : columns_) names.push_back(column.name);
  const auto widen = [&](const std::vector<std::string>& row) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  };
  if (headings) widen(names);
  std::ranges::for_each(rows_, widen);

  std::string text;
  const auto append_line = [&](const std::vector<std::string>& row) {
    std::string line;
    for (const size_t i : chosen_) {
      const std::string padding(widths[i] - row[i].size(), ' ');
      absl::StrAppend(&line, line.empty() && i == chosen_.front() ? "" : "  ",
                      columns_[i].is_number ? padding + row[i] : row[i] + padding);
    }
    absl::StrAppend(&text, absl::StripTrailingAsciiWhitespace(line), "\n");
  };
  if (headings) append_line(names);
  std::ranges::for_each(rows_, append_line);
  return text;
}

}  // namespace cli
