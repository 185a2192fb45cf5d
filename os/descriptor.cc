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
