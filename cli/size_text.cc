#include "cli/size_text.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace cli {
namespace {

struct Unit {
  const char* name;
  unsigned shift;
};
constexpr Unit kUnits[] = {{"PiB", 50}, {"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}};

// The power of 2 that "", "b", "k", "kb", "kib" ... stands for.
std::optional<unsigned> ShiftOf(absl::string_view unit) {
  if (unit.empty() || unit == "b") return 0;
  for (const Unit& known : kUnits) {
    const std::string name = absl::AsciiStrToLower(known.name);
    const char letter = name[0];
    if (unit == name || unit == absl::string_view(&letter, 1) ||
        unit == absl::StrCat(absl::string_view(&letter, 1), "b")) {
      return known.shift;
    }
  }
  return std::nullopt;
}

}  // namespace

std::string SizeText(uint64_t bytes) {
  for (const Unit& unit : kUnits) {
    if (bytes < uint64_t{1} << unit.shift) continue;
    return absl::StrFormat("%.1f %s",
                           std::ldexp(static_cast<double>(bytes), -static_cast<int>(unit.shift)),
                           unit.name);
  }
  return absl::StrCat(bytes, " B");
}

std::string ExactSizeText(uint64_t bytes) {
  for (const Unit& unit : kUnits) {
    const uint64_t size = uint64_t{1} << unit.shift;
    if (bytes >= size && bytes % size == 0) return absl::StrCat(bytes / size, " ", unit.name);
  }
  return absl::StrCat(bytes, " B");
}

std::optional<uint64_t> ParseSize(std::string_view text) {
  const std::string lower = absl::AsciiStrToLower(
      absl::StripAsciiWhitespace(absl::string_view(text.data(), text.size())));
  const size_t end = lower.find_first_not_of("0123456789.");
  const absl::string_view number = absl::string_view(lower).substr(0, end);
  const absl::string_view unit =
      end == lower.npos ? ""
                        : absl::StripLeadingAsciiWhitespace(absl::string_view(lower).substr(end));
  const std::optional<unsigned> shift = ShiftOf(unit);
  if (!shift) return std::nullopt;
  if (uint64_t whole = 0; absl::SimpleAtoi(number, &whole)) {
    if (whole > ~uint64_t{0} >> *shift) return std::nullopt;
    return whole << *shift;
  }
  double fraction = 0;
  if (number.empty() || number.front() == '.' || !absl::SimpleAtod(number, &fraction)) {
    return std::nullopt;
  }
  const double bytes = std::ldexp(fraction, static_cast<int>(*shift));
  if (bytes >= std::ldexp(1.0, 64)) return std::nullopt;
  return static_cast<uint64_t>(bytes);
}

}  // namespace cli
