// Table: rows of text in aligned columns, as ps(1) and lsblk(8) print them.

#ifndef CLI_TABLE_H_
#define CLI_TABLE_H_

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

struct Column {
  std::string name;        // in capitals
  bool is_number = false;  // aligned to the right
  bool by_default = true;  // printed where no columns were asked for
};

class Table {
 public:
  explicit Table(std::vector<Column> columns);

  // Prints only these columns, in this order: names in any case, separated by commas. Empty: those
  // that are printed by default. Returns what is wrong; nullopt: nothing.
  std::optional<std::string> Choose(std::string_view names);

  // One text for each column of the table, chosen or not.
  void AddRow(std::vector<std::string> row);

  // A line for each row, columns two blanks apart, no blanks at the end of a line.
  std::string ToString(bool headings = true) const;

 private:
  std::vector<Column> columns_;
  std::vector<size_t> chosen_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace cli

#endif  // CLI_TABLE_H_
