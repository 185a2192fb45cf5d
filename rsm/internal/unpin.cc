#include "rsm/internal/unpin.h"

#include <cerrno>
#include <cstdint>

#include "os/memory.h"
#include "pinlock/mpin.h"

namespace rsm::internal {

void Unpin(void* address, size_t bytes) {
  if (munpin(address, bytes) == 0 || errno != EINVAL) return;
  const size_t page_size = os::RealMemory().page_size();
  auto* const begin = static_cast<std::byte*>(address);
  std::byte* page = begin - reinterpret_cast<uintptr_t>(begin) % page_size;
  for (; page < begin + bytes; page += page_size) {
    if (munpin(page, page_size) != 0 && errno == EINVAL) (void)mpin_forget(page, page_size);
  }
}

}  // namespace rsm::internal
