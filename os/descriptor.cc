#include "os/descriptor.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <utility>

namespace os {
namespace {

// What FileOrigin::flags may hold.
constexpr int kOriginFlags = O_ACCMODE | O_DIRECT | O_SYNC | O_DSYNC;

}  // namespace

Result<DescriptorTraits> TraitsOf(int descriptor) {
  const int flags = fcntl(descriptor, F_GETFL);
  if (flags < 0) return Errno::Last();
  struct stat status;
  if (fstat(descriptor, &status) != 0) return Errno::Last();
  const int access = flags & O_ACCMODE;
  const bool path_only = (flags & O_PATH) != 0;
  DescriptorTraits traits;
  traits.regular_file = S_ISREG(status.st_mode);
  traits.readable = !path_only && (access == O_RDONLY || access == O_RDWR);
  traits.writable = !path_only && (access == O_WRONLY || access == O_RDWR);
  traits.append_only = (flags & O_APPEND) != 0;
  return traits;
}

OwnedDescriptor::OwnedDescriptor(OwnedDescriptor&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}

OwnedDescriptor& OwnedDescriptor::operator=(OwnedDescriptor&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

OwnedDescriptor::~OwnedDescriptor() {
  if (descriptor_ >= 0) (void)close(descriptor_);
}

Result<FileOrigin> OriginOf(int descriptor) {
  struct stat status {};
  const int flags = fcntl(descriptor, F_GETFL);
  if (flags < 0 || fstat(descriptor, &status) != 0) return Errno::Last();
  FileOrigin origin{
      .device = status.st_dev, .inode = status.st_ino, .flags = flags & kOriginFlags, .path = {}};
  char path[4096];
  const std::string link = "/proc/thread-self/fd/" + std::to_string(descriptor);
  const ssize_t length = readlink(link.c_str(), path, sizeof(path));
  if (length > 0 && static_cast<size_t>(length) < sizeof(path)) {
    origin.path.assign(path, static_cast<size_t>(length));
  }
  return origin;
}

Result<OwnedDescriptor> Duplicate(int descriptor) {
  OwnedDescriptor copy(fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  if (copy.get() < 0) return Errno::Last();
  return copy;
}

Result<OwnedDescriptor> Reopen(const FileOrigin& origin, const std::string& path) {
  // Not to wait for what is there now (O_NONBLOCK), nor to change it.
  const int flags = (origin.flags & kOriginFlags) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  OwnedDescriptor opened(open(path.c_str(), flags));
  if (opened.get() < 0 && (errno == EACCES || errno == EROFS || errno == EPERM)) {
    opened = OwnedDescriptor(open(path.c_str(), (flags & ~O_ACCMODE) | O_RDONLY));
  }
  if (opened.get() < 0) return Errno::Last();
  struct stat status {};
  if (fstat(opened.get(), &status) != 0) return Errno::Last();
  if (status.st_dev != origin.device || status.st_ino != origin.inode) return Errno(ESTALE);
  // A ring would refuse to wait for its transfers.
  const int status_flags = fcntl(opened.get(), F_GETFL);
  if (status_flags < 0 || fcntl(opened.get(), F_SETFL, status_flags & ~O_NONBLOCK) != 0) {
    return Errno::Last();
  }
  return opened;
}

Result<OwnedDescriptor> OpenForReading(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return Errno::Last();
  return OwnedDescriptor(descriptor);
}

Result<OwnedDescriptor> CreateUnnamedFile(const std::string& directory) {
  const int descriptor = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor >= 0) return OwnedDescriptor(descriptor);
  if (errno != EOPNOTSUPP && errno != EISDIR) return Errno::Last();
  std::string path = directory + "/mpool.XXXXXX";  // file systems without O_TMPFILE
  const int named = mkostemp(path.data(), O_CLOEXEC);
  if (named < 0) return Errno::Last();
  OwnedDescriptor owned(named);
  if (unlink(path.c_str()) != 0) return Errno::Last();
  return owned;
}

bool IsInMemory(int descriptor) {
  struct statfs status;
  if (fstatfs(descriptor, &status) != 0) return false;
  return status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC;
}

Result<std::span<const std::byte>> MapFile(int descriptor, size_t bytes) {
  void* address = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, descriptor, 0);
  if (address == MAP_FAILED) return Errno::Last();
  return std::span<const std::byte>(static_cast<const std::byte*>(address), bytes);
}

}  // namespace os
