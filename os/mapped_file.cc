#include "os/mapped_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <string>

#include "os/side_child.h"

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
  for (std::filesystem::directory_iterator it("/proc/thread-self/fd", error), end;
       !error && it != end; it.increment(error)) {
    if (visit(it->path().string(), true)) return;
  }
}

// Whether all pages are in memory of a file system that lives there, so that none is a hole. Told
// without opening the file, and by far sooner than a child tells. Only of a file of this user's: of
// others the kernel may say that all is there.
bool AreAllInMemory(const char* path, const struct stat& status, PageRange pages,
                    size_t page_size) {
  constexpr uint64_t kPagesMax = 1024;
  struct statfs file_system;
  if (status.st_uid != geteuid() || pages.count().value() > kPagesMax ||
      statfs(path, &file_system) != 0 || file_system.f_type != TMPFS_MAGIC) {
    return false;
  }
  std::array<unsigned char, kPagesMax> present;
  if (mincore(pages.address(page_size), pages.bytes(page_size), present.data()) != 0) return false;
  return std::all_of(present.begin(),
                     present.begin() + static_cast<ptrdiff_t>(pages.count().value()),
                     [](unsigned char page) { return (page & 1) != 0; });
}

// What the child that allocates is to do, and its answer.
struct Allocation {
  const char* path = nullptr;
  struct stat file = {};  // by its path
  off_t begin = 0, end = 0;
  bool opened = false;
  int error = EINTR;  // of a child that was killed
};

// One call for all that is left from the first hole on: tmpfs takes back what a call has allocated
// when it fails. The descriptor is closed as the child ends.
OS_RUNS_IN_SIDE_CHILD int AllocateInChild(void* argument) {
  auto* job = static_cast<Allocation*>(argument);
  const long file = syscall(SYS_openat, AT_FDCWD, job->path,
                            O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_LARGEFILE);
  struct stat status;
  if (file < 0 || syscall(SYS_fstat, file, &status) != 0 || status.st_dev != job->file.st_dev ||
      status.st_ino != job->file.st_ino) {
    return 0;
  }
  job->opened = true;
  // Where the file system does not know its holes all of it is to be allocated, which does no harm.
  // At the end of a file there is always a hole; the part of a page behind it is none.
  off_t hole = syscall(SYS_lseek, file, job->begin, SEEK_HOLE);
  if (hole < 0) hole = errno == ENXIO ? job->end : job->begin;
  const bool none = hole >= job->end || hole >= status.st_size;
  const long result =
      none ? 0 : syscall(SYS_fallocate, file, FALLOC_FL_KEEP_SIZE, hole, job->end - hole);
  job->error = result == 0 ? 0 : errno;
  return 0;
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
  Allocation job;
  job.begin = static_cast<off_t>(mapping.file_offset +
                                 (pages.begin() - mapping.pages.begin()).bytes(page_size));
  ForEachPath(mapping, [&](const std::string& path, bool by_device) {
    // Asked before it is opened: opening a device may do something.
    if (stat(path.c_str(), &job.file) != 0 || !IsFile(job.file, mapping.file, by_device)) {
      return false;
    }
    // Whole pages: what the last one has beyond the end of the file needs a block as well.
    const auto unit = static_cast<off_t>(page_size);
    const off_t file_end = (job.file.st_size + unit - 1) / unit * unit;
    job.end = std::min(job.begin + static_cast<off_t>(pages.bytes(page_size)), file_end);
    job.path = path.c_str();
    if (AreAllInMemory(job.path, job.file, pages, page_size)) {
      job.opened = true;
      job.error = 0;
      return true;
    }
    return RunInSideChild(AllocateInChild, &job) && job.opened;
  });
  if (!job.opened || job.error == EOPNOTSUPP) return Errno(ENOTSUP);
  return Errno(job.error == EDQUOT ? ENOSPC : job.error);
}

}  // namespace os
