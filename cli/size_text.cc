#include "cli/size_text.h"

#include "absl/strings/str_format.h"

namespace cli {

std::string SizeText(uint64_t bytes) {
  constexpr uint64_t kKib = 1024;
  if (bytes >= kKib * kKib * kKib)
    return absl::StrFormat("%.1f GiB", static_cast<double>(bytes) / (kKib * kKib * kKib));
  if (bytes >= kKib * kKib)
    return absl::StrFormat("%.1f MiB", static_cast<double>(bytes) / (kKib * kKib));
  return absl::StrFormat("%.1f KiB", static_cast<double>(bytes) / kKib);
}

}  // namespace cli
