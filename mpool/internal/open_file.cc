#include "mpool/internal/open_file.h"

#include "mpool/internal/error_text.h"

namespace mpool::internal {

os::Result<std::unique_ptr<os::File>> OpenPoolFile(int descriptor) {
  const os::Result<os::DescriptorTraits> traits = os::TraitsOf(descriptor);
  if (!traits.ok()) return Failed(traits.error(), "%d is not an open descriptor", descriptor);
  if (!traits->regular_file) {
    return Failed(os::Errno(ESPIPE),
                  "descriptor %d is not a regular file: a pool needs a file that it can seek in",
                  descriptor);
  }
  if (!traits->readable) {
    return Failed(os::Errno(EBADF), "descriptor %d is not open for reading; open it O_RDWR",
                  descriptor);
  }
  if (traits->append_only) {
    return Failed(os::Errno(EINVAL),
                  "descriptor %d has O_APPEND set, which sends every write to the end of the file; "
                  "clear it with fcntl(F_SETFL)",
                  descriptor);
  }
  std::unique_ptr<os::File> file = os::BorrowFile(descriptor);
  if (file == nullptr) return Failed(os::Errno(EAGAIN), "no memory for a pool");
  return file;
}

os::Errno NoPageSize() { return Failed(os::Errno(EINVAL), "a page must have at least 1 byte"); }

}  // namespace mpool::internal
