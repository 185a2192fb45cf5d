// DemoFile: the working copy of a file, and the checksums of its pages.

#ifndef CLI_DEMO_FILE_H_
#define CLI_DEMO_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "os/file.h"

namespace cli {

inline constexpr uint32_t kPageBytes = 4096;

// A 64-bit checksum of some bytes, and of a sequence of such checksums. Tells accidents, not
// attacks.
uint64_t ChecksumOf(std::span<const std::byte> bytes);
uint64_t ChecksumOf(const std::vector<uint64_t>& checksums);

// A copy of a file without a name, which is gone when this object is, however the program ends.
struct DemoFile {
  os::OwnedDescriptor descriptor;
  uint64_t bytes = 0;
  std::vector<uint64_t> page_checksums;  // of its whole pages, by a plain read

  uint32_t pages() const { return static_cast<uint32_t>(page_checksums.size()); }
};

// Copies the file to TMPDIR, or else /var/tmp or /tmp, preferring one that is on a disk. Errors
// name the file, the cause and the cure.
absl::StatusOr<DemoFile> CopyForDemo(const std::string& path);

}  // namespace cli

#endif  // CLI_DEMO_FILE_H_
