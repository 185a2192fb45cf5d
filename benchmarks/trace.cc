#include "benchmarks/trace.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "benchmarks/compressed_file.h"

namespace benchmarks {
namespace {

constexpr size_t kFieldsMax = 4;
// More is a damaged line rather than a trace; 4 GiB of memory.
constexpr uint64_t kReferencesMax = uint64_t{1} << 30;

// Takes the numbers of a line, which blanks separate. Returns how many; 0 where it has anything
// else, or too many.
size_t ParseNumbers(std::string_view line, uint64_t (&numbers)[kFieldsMax]) {
  constexpr std::string_view kBlanks = " \t\r";
  size_t count = 0;
  for (;;) {
    line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
    if (line.empty()) return count;
    if (count == kFieldsMax) return 0;
    const char* const line_end = line.data() + line.size();
    const auto [end, error] = std::from_chars(line.data(), line_end, numbers[count++]);
    if (error != std::errc()) return 0;
    line.remove_prefix(static_cast<size_t>(end - line.data()));
    if (!line.empty() && kBlanks.find(line.front()) == kBlanks.npos) return 0;
  }
}

class Reader {
 public:
  Reader(size_t fields, const char* format) : fields_(fields), format_(format) {}

  // What is wrong with the line, as it goes on behind "FILE:LINE: "; "": nothing.
  std::string Take(std::string_view line) {
    uint64_t numbers[kFieldsMax];
    if (ParseNumbers(line, numbers) != fields_) {
      constexpr size_t kShownBytes = 60;
      return absl::StrCat("'", std::string(line.substr(0, kShownBytes)), "' is not ", format_);
    }
    const uint64_t count = fields_ == 1 ? 1 : numbers[1];
    if (count == 0) return "0 pages are asked for";
    if (count > kReferencesMax - trace_.references.size()) {
      return absl::StrCat("more than ", kReferencesMax, " references");
    }
    for (uint64_t i = 0; i < count; ++i) Add(numbers[0] + i);
    return "";
  }

  Trace trace() && { return std::move(trace_); }

 private:
  void Add(uint64_t page) {
    const auto [entry, is_new] = numbers_.try_emplace(page, trace_.pages);
    if (is_new) ++trace_.pages;
    trace_.references.push_back(entry->second);
  }

  const size_t fields_;
  const char* const format_;
  std::unordered_map<uint64_t, uint32_t> numbers_;  // of the trace -> ours
  Trace trace_;
};

// The extension of the name, without that of a compressed file.
std::string FormatOf(std::filesystem::path path) {
  if (path.extension() == ".gz" || path.extension() == ".zst") path.replace_extension();
  return path.extension();
}

}  // namespace

absl::StatusOr<Trace> ReadTrace(const std::string& path) {
  const std::string format = FormatOf(path);
  if (format != ".lis" && format != ".trace") {
    return absl::InvalidArgumentError(
        absl::StrCat(path,
                     ": the name ends neither in .lis nor in .trace, with .gz or .zst or "
                     "without"));
  }
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return text.status();
  Reader reader = format == ".lis" ? Reader(4, "four numbers: start, count, and two others")
                                   : Reader(1, "a page number");
  std::string_view rest = *text;
  for (uint64_t number = 1; !rest.empty(); ++number) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const std::string error = reader.Take(line);
    if (!error.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ":", number, ": ", error));
    }
  }
  Trace trace = std::move(reader).trace();
  if (trace.references.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no page is asked for"));
  }
  return trace;
}

}  // namespace benchmarks
