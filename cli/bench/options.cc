#include "cli/bench/options.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/bench/pressure.h"
#include "cli/output.h"
#include "cli/size_text.h"

namespace cli::bench {
namespace {

// Each way gets some turns.
constexpr double kSecsMin = 0.1;
constexpr double kSecsMax = 3600;

absl::StatusOr<std::vector<Mode>> ParseModes(const std::string& text) {
  std::vector<Mode> chosen;
  for (const std::string& name : std::vector<std::string>(absl::StrSplit(text, ','))) {
    const auto found = std::ranges::find(kModes, std::string_view(name), ModeName);
    if (found == std::end(kModes)) {
      return absl::InvalidArgumentError(absl::StrCat("--modes: there is no mode '", Printable(name),
                                                     "'; there are malloc, mmap, mlock, pool"));
    }
    chosen.push_back(*found);
  }
  std::ranges::sort(chosen);
  const auto twice = std::ranges::unique(chosen);
  chosen.erase(twice.begin(), twice.end());
  return chosen;
}

// Empty: nullopt.
absl::StatusOr<std::optional<uint64_t>> ParseBytes(const char* option, const std::string& text,
                                                   uint64_t least) {
  if (text.empty()) return std::optional<uint64_t>();
  const std::optional<uint64_t> bytes = ParseSize(text);
  if (!bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(option, ": '", Printable(text), "' is no size; write it as 64M or 1.5GiB"));
  }
  if (*bytes < least) {
    return absl::InvalidArgumentError(
        absl::StrCat(option, ": at least ", ExactSizeText(least), " are needed"));
  }
  return bytes;
}

absl::Status ParseAdversary(const std::string& text, BenchOptions& options) {
  const bool pressure = options.pressure_bytes || options.cgroup_bytes;
  options.adversary = pressure ? Adversary::kPressure : Adversary::kPageOut;
  if (text.empty()) return absl::OkStatus();
  for (const Adversary adversary : {Adversary::kNone, Adversary::kPageOut, Adversary::kPressure}) {
    if (text == AdversaryName(adversary)) options.adversary = adversary;
  }
  if (text != AdversaryName(options.adversary)) {
    return absl::InvalidArgumentError(absl::StrCat("--adversary: there is no '", Printable(text),
                                                   "'; there are none, pageout, pressure"));
  }
  if (options.adversary == Adversary::kPressure && !pressure) {
    return absl::InvalidArgumentError(
        "--adversary pressure needs --pressure SIZE or --cgroup SIZE");
  }
  if (options.adversary != Adversary::kPressure && options.pressure_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("--pressure SIZE makes no sense with --adversary ", text));
  }
  return absl::OkStatus();
}

// For a shell.
std::string Quoted(const std::string& text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:=+@%";
  if (!text.empty() && text.find_first_not_of(kPlain) == text.npos) return text;
  std::string quoted = "'";
  for (const char byte : text) quoted += byte == '\'' ? std::string("'\\''") : std::string(1, byte);
  return quoted + "'";
}

std::string CommandOf(const OptionTexts& texts) {
  std::string command = "mpool bench";
  const auto add = [&](const char* option, const std::string& value) {
    if (!value.empty()) absl::StrAppend(&command, " ", option, " ", Quoted(value));
  };
  if (texts.modes != OptionTexts().modes) add("--modes", texts.modes);
  add("--cgroup", texts.cgroup);
  add("--pressure", texts.pressure);
  add("--size", texts.size);
  add("--adversary", texts.adversary);
  absl::StrAppend(&command, " --secs ", texts.secs);
  if (!texts.file.empty()) absl::StrAppend(&command, " ", Quoted(texts.file));
  return command;
}

}  // namespace

absl::StatusOr<BenchOptions> ParseOptions(const OptionTexts& texts) {
  BenchOptions options;
  options.file = texts.file;
  if (!(texts.secs >= kSecsMin && texts.secs <= kSecsMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--secs: at least ", kSecsMin, ", and at most ", kSecsMax, ", is needed"));
  }
  options.length = std::chrono::nanoseconds(std::llround(texts.secs * 1e9));
  absl::StatusOr<std::vector<Mode>> modes = ParseModes(texts.modes);
  if (!modes.ok()) return modes.status();
  options.modes = *std::move(modes);
  const struct {
    const char* option;
    const std::string& text;
    uint64_t least;
    std::optional<uint64_t>& bytes;
  } sizes[] = {{"--pressure", texts.pressure, 1 << 20, options.pressure_bytes},
               {"--cgroup", texts.cgroup, kCgroupBytesMin, options.cgroup_bytes},
               {"--size", texts.size, kWorkingSetBytesMin, options.size_bytes}};
  for (const auto& size : sizes) {
    const absl::StatusOr<std::optional<uint64_t>> bytes =
        ParseBytes(size.option, size.text, size.least);
    if (!bytes.ok()) return bytes.status();
    size.bytes = *bytes;
  }
  if (absl::Status status = ParseAdversary(texts.adversary, options); !status.ok()) return status;
  options.command = CommandOf(texts);
  return options;
}

}  // namespace cli::bench
