#include "pinlock/internal/runs.h"

#include <algorithm>

namespace pinlock::internal {

Part NextPart(const os::Memory& memory, os::PageRange& rest) {
  const os::Result<std::optional<os::Mapping>> found = memory.MappingAt(rest.begin());
  Part part{rest, true};
  if (found.ok()) {
    part.mapped = found->has_value() && (*found)->pages.contains(rest.begin());
    if (part.mapped) {
      part.pages = (*found)->pages.Intersection(rest);
    } else if (found->has_value()) {
      part.pages = os::PageRange(rest.begin(), std::min(rest.end(), (*found)->pages.begin()));
    }
  }
  rest = os::PageRange(part.pages.end(), rest.end());
  return part;
}

}  // namespace pinlock::internal
