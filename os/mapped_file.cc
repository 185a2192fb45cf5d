#include "os/mapped_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "os/file.h"

namespace os {
namespace {

// Some file systems (btrfs, overlayfs) give stat(2) another device than the list of mappings shows,
// which leaves only the number.
bool IsFile(const struct stat& status, const FileIdentity& identity, bool by_device) {
  if (!S_ISREG(status.st_mode) || status.st_ino != identity.inode) return false;
  return !by_device || (major(status.st_dev) == identity.device_major &&
                        minor(status.st_dev) == identity.device_minor);
}

// Calls `visit(path, by_device)` for each path that may lead to the file until it returns true.
template <typename Visit>
void ForEachPath(const Mapping& mapping, Visit visit) {
  if (visit(mapping.file_path, false)) return;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end;
       it.increment(error)) {
    if (visit(it->path().string(), true)) return;
  }
}

// A descriptor of the file that can be written.
std::optional<OwnedDescriptor> OpenForWriting(const Mapping& mapping) {
  std::optional<OwnedDescriptor> found;
  ForEachPath(mapping, [&](const std::string& path, bool by_device) {
    struct stat status;
    // Asked before it is opened: opening a device may do something.
    if (stat(path.c_str(), &status) != 0 || !IsFile(status, mapping.file, by_device)) return false;
    OwnedDescriptor opened(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (opened.get() < 0 || fstat(opened.get(), &status) != 0 ||
        !IsFile(status, mapping.file, by_device)) {
      return false;
    }
    found = std::move(opened);
    return true;
  });
  return found;
}

}  // namespace

std::optional<uint64_t> MappedFileBytes(const Mapping& mapping) {
  std::optional<uint64_t> bytes;
  if (!mapping.file_backed) return bytes;
  ForEachPath(mapping, [&](const std::string& path, bool by_device) {
    struct stat status;
    if (stat(path.c_str(), &status) != 0 || !IsFile(status, mapping.file, by_device)) return false;
    bytes = static_cast<uint64_t>(status.st_size);
    return true;
  });
  return bytes;
}

Errno AllocateHoles(const Mapping& mapping, PageRange pages, size_t page_size) {
  const std::optional<OwnedDescriptor> file = OpenForWriting(mapping);
  struct stat status;
  if (!file || fstat(file->get(), &status) != 0) return Errno(ENOTSUP);
  const auto begin = static_cast<off_t>(mapping.file_offset +
                                        (pages.begin() - mapping.pages.begin()).bytes(page_size));
  // Whole pages: what the last one has beyond the end of the file needs a block as well.
  const auto unit = static_cast<off_t>(page_size);
  const off_t file_end = (status.st_size + unit - 1) / unit * unit;
  const off_t end = std::min(begin + static_cast<off_t>(pages.bytes(page_size)), file_end);
  for (off_t offset = begin; offset < end;) {
    // Without SEEK_HOLE in the file system all of it is to be allocated, which does no harm. At the
    // end of the file there is always a hole; the part of a page behind it is none.
    off_t hole = lseek(file->get(), offset, SEEK_HOLE);
    if (hole < 0) hole = errno == ENXIO ? end : offset;
    if (hole >= end || hole >= status.st_size) break;
    off_t data = lseek(file->get(), hole, SEEK_DATA);
    if (data < 0 || data > end) data = end;
    int result = 0;
    do {
      result = fallocate(file->get(), FALLOC_FL_KEEP_SIZE, hole, data - hole);
    } while (result != 0 && errno == EINTR);
    if (result != 0) {
      if (errno == EOPNOTSUPP) return Errno(ENOTSUP);
      return errno == EDQUOT ? Errno(ENOSPC) : Errno::Last();
    }
    offset = data;
  }
  return kSuccess;
}

}  // namespace os
