#include "cli/json_text.h"

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"

namespace cli {

std::string JsonText(const Json& object) {
  return object.dump(2, ' ', /*ensure_ascii=*/true) + "\n";
}

Json TextOrNull(std::string_view bytes) {
  try {
    const Json text(bytes);
    (void)text.dump();
    return bytes.empty() ? Json() : text;
  } catch (const Json::type_error&) {
    return nullptr;
  }
}

Json HexOrNull(std::string_view bytes) {
  if (bytes.empty()) return nullptr;
  return absl::BytesToHexString(absl::string_view(bytes.data(), bytes.size()));
}

}  // namespace cli
