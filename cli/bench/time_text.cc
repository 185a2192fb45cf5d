#include "cli/bench/time_text.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace cli::bench {

std::string TimeText(uint64_t ns) {
  if (ns < 1000) return absl::StrCat(ns, " ns");
  const struct {
    double ns;
    const char* name;
  } units[] = {{1e3, "us"}, {1e6, "ms"}, {1e9, "s"}};
  for (const auto& unit : units) {
    const double value = static_cast<double>(ns) / unit.ns;
    if (value < 9.95) return absl::StrFormat("%.1f %s", value, unit.name);
    if (value < 999.5) return absl::StrFormat("%.0f %s", value, unit.name);
  }
  return absl::StrFormat("%.0f s", static_cast<double>(ns) / 1e9);
}

std::string CountText(uint64_t count) {
  const std::string digits = absl::StrCat(count);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

}  // namespace cli::bench
