#include "os/file_layout.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

namespace os {
namespace {

std::optional<DirectIo> DirectIoOf([[maybe_unused]] int descriptor) {
#ifdef STATX_DIOALIGN
  struct statx status {};
  if (statx(descriptor, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
      (status.stx_mask & STATX_DIOALIGN) != 0) {
    return DirectIo{.memory_alignment = status.stx_dio_mem_align,
                    .offset_alignment = status.stx_dio_offset_align};
  }
#endif
  return std::nullopt;
}

}  // namespace

Result<FileLayout> LayoutOf(int descriptor) {
  struct stat status {};
  struct statvfs system {};
  if (fstat(descriptor, &status) != 0 || fstatvfs(descriptor, &system) != 0) return Errno::Last();
  return FileLayout{.device = status.st_dev,
                    .inode = status.st_ino,
                    .bytes = static_cast<uint64_t>(status.st_size),
                    .block_bytes = static_cast<uint64_t>(status.st_blksize),
                    .free_bytes = uint64_t{system.f_bavail} * system.f_frsize,
                    .direct_io = DirectIoOf(descriptor)};
}

Result<std::optional<Hole>> NextHole(int descriptor, uint64_t offset) {
  const off_t end = lseek(descriptor, 0, SEEK_END);
  if (end < 0) return Errno::Last();
  if (offset >= static_cast<uint64_t>(end)) return std::optional<Hole>();
  const off_t begin = lseek(descriptor, static_cast<off_t>(offset), SEEK_HOLE);
  if (begin < 0) {
    if (errno == EINVAL || errno == ENXIO) return std::optional<Hole>();  // no account; cut off
    return Errno::Last();
  }
  if (begin >= end) return std::optional<Hole>();  // the end of a file counts as a hole
  off_t data = lseek(descriptor, begin, SEEK_DATA);
  if (data < 0 && errno != ENXIO) return Errno::Last();
  if (data < 0 || data > end) data = end;  // ENXIO: no data up to the end
  return std::optional(
      Hole{.offset = static_cast<uint64_t>(begin), .bytes = static_cast<uint64_t>(data - begin)});
}

Result<OwnedDescriptor> OpenForLooking(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) return Errno::Last();
  return OwnedDescriptor(descriptor);
}

Errno CheckWritable(const std::string& path) {
  return faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0 ? kSuccess : Errno::Last();
}

}  // namespace os
