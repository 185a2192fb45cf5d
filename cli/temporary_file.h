// CreateTemporaryFile: a file without a name, which is gone when the program is.

#ifndef CLI_TEMPORARY_FILE_H_
#define CLI_TEMPORARY_FILE_H_

#include "absl/status/statusor.h"
#include "os/descriptor.h"

namespace cli {

// In TMPDIR, or else in /var/tmp or /tmp, preferring one that is on a disk: pages that can be
// evicted need a disk to be evicted to, so memory file systems are a last resort. Readable and
// writable. The error names the directory and the cure.
absl::StatusOr<os::OwnedDescriptor> CreateTemporaryFile();

}  // namespace cli

#endif  // CLI_TEMPORARY_FILE_H_
