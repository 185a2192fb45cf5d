#include "pinlock/locked_mapping.h"

#include <string.h>

#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "pinlock/mpin.h"

namespace pinlock::internal {

absl::StatusOr<os::PageRange> MapLocked(os::Memory& memory, const LockedMappingOptions& options) {
  const size_t page_size = memory.page_size();
  const os::Result<os::PageRange> mapped =
      memory.Map(options.count, os::Memory::Access::kReadWrite, options.fork, options.alignment);
  if (!mapped.ok()) {
    return absl::Status(absl::ErrnoToStatusCode(mapped.error().code()),
                        absl::StrCat("cannot map ", options.count.value(), " pages of ", page_size,
                                     " bytes: ", mapped.error().Name(),
                                     " (RLIMIT_AS, vm.max_map_count, or no memory)"));
  }
  if (options.omit_from_dumps) {
    if (const os::Errno error = memory.OmitFromDumps(*mapped); !error.ok()) {
      (void)memory.Unmap(*mapped);
      return absl::Status(
          absl::ErrnoToStatusCode(error.code()),
          absl::StrCat("cannot keep ", options.count.value(),
                       " pages out of core dumps: ", error.Name(), " (vm.max_map_count)"));
    }
  }
  if (mpin(mapped->address(page_size), mapped->bytes(page_size)) != 0) {
    const int error = errno;
    absl::Status status(absl::ErrnoToStatusCode(error), mpin_error());
    (void)memory.Unmap(*mapped);
    return status;
  }
  return *mapped;
}

void WipeAndUnmap(os::Memory& memory, os::PageRange pages, bool pinned) {
  void* const address = pages.address(memory.page_size());
  const size_t bytes = pages.bytes(memory.page_size());
  explicit_bzero(address, bytes);
  if (pinned && munpin(address, bytes) != 0) return;
  (void)memory.Unmap(pages);  // fails at vm.max_map_count: zeros then stay behind, not locked
}

}  // namespace pinlock::internal
