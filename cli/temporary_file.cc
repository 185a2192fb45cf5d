#include "cli/temporary_file.h"

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "os/errno.h"
#include "os/result.h"

namespace cli {

absl::StatusOr<os::OwnedDescriptor> CreateTemporaryFile() {
  std::vector<std::string> directories;
  if (const char* chosen = std::getenv("TMPDIR"); chosen != nullptr && *chosen != '\0') {
    directories.emplace_back(chosen);
  }
  directories.insert(directories.end(), {"/var/tmp", "/tmp"});
  os::Result<os::OwnedDescriptor> in_memory = os::Errno(ENOENT);
  os::Errno first_error;
  for (const std::string& directory : directories) {
    os::Result<os::OwnedDescriptor> file = os::CreateUnnamedFile(directory);
    if (!file.ok()) {
      if (first_error.ok()) first_error = file.error();
      continue;
    }
    if (!os::IsInMemory(file->get())) return std::move(*file);
    in_memory = std::move(file);
  }
  if (in_memory.ok()) return std::move(*in_memory);
  return absl::ErrnoToStatus(first_error.code(),
                             absl::StrCat("no temporary file can be made in ", directories.front(),
                                          "; set TMPDIR to a directory that you may write to"));
}

}  // namespace cli
