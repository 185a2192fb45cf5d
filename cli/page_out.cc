#include "cli/page_out.h"

#include <vector>

#include "os/memory.h"

namespace cli {

os::Result<PageOutResult> PageOutAndTouch(std::span<const std::byte> bytes) {
  constexpr int kAttempts = 10;
  os::Memory& memory = os::RealMemory();
  const size_t page_size = memory.page_size();
  const os::Result<os::PageRange> pages =
      os::PageRange::Covering(reinterpret_cast<uintptr_t>(bytes.data()), bytes.size(), page_size);
  if (!pages.ok()) return pages.error();
  std::vector<const std::byte*> addresses;
  for (size_t at = 0; at < bytes.size(); at += page_size) addresses.push_back(bytes.data() + at);
  (void)TouchPages(addresses);
  PageOutResult result;
  result.pages = addresses.size();
  result.faults_before = TouchPages(addresses).faults;
  const os::Result<os::PageCount> before = memory.CountPresent(*pages);
  if (!before.ok()) return before.error();
  result.present = result.present_before = before->value();
  for (int i = 0; i < kAttempts && result.present > 0; ++i) {
    result.answer = memory.PageOut(*pages);
    const os::Result<os::PageCount> present = memory.CountPresent(*pages);
    if (!present.ok()) return present.error();
    result.present = present->value();
    if (!result.answer.ok()) break;
  }
  result.touches = TouchPages(addresses);
  return result;
}

}  // namespace cli
