#include "os/file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <new>
#include <utility>

namespace os {
namespace {

// At most this many buffers a call; Linux takes IOV_MAX = 1,024.
constexpr size_t kBuffersPerCall = 256;

class RealFile final : public File {
 public:
  explicit RealFile(int descriptor) : descriptor_(descriptor) {}

  Result<uint64_t> Size() const override {
    struct stat status;
    if (fstat(descriptor_, &status) != 0) return Errno::Last();
    return static_cast<uint64_t>(status.st_size);
  }

  Result<size_t> ReadAt(std::span<std::byte> buffer, uint64_t offset) override {
    size_t done = 0;
    while (done < buffer.size()) {
      const ssize_t bytes = pread(descriptor_, buffer.data() + done, buffer.size() - done,
                                  static_cast<off_t>(offset + done));
      if (bytes == 0) break;
      if (bytes > 0) {
        done += static_cast<size_t>(bytes);
      } else if (errno != EINTR) {
        return Errno::Last();
      }
    }
    return done;
  }

  Errno WriteAt(std::span<const std::span<const std::byte>> buffers, uint64_t offset) override {
    size_t skip = 0;  // bytes of the first buffer that are written
    while (!buffers.empty()) {
      std::array<iovec, kBuffersPerCall> parts;
      const size_t count = std::min(buffers.size(), parts.size());
      for (size_t i = 0; i < count; ++i) {
        const std::span<const std::byte> part = i == 0 ? buffers[0].subspan(skip) : buffers[i];
        // pwritev takes a pointer to mutable bytes and does not change them.
        parts[i] = {const_cast<std::byte*>(part.data()), part.size()};
      }
      size_t wanted = 0;
      for (size_t i = 0; i < count; ++i) wanted += parts[i].iov_len;
      const ssize_t bytes = wanted == 0
                                ? 0
                                : pwritev(descriptor_, parts.data(), static_cast<int>(count),
                                          static_cast<off_t>(offset));
      if (bytes < 0 && errno == EINTR) continue;
      if (bytes < 0) return Errno::Last();
      if (bytes == 0 && wanted != 0) return Errno(EIO);
      offset += static_cast<uint64_t>(bytes);
      size_t written = skip + static_cast<size_t>(bytes);
      while (!buffers.empty() && written >= buffers.front().size()) {
        written -= buffers.front().size();
        buffers = buffers.subspan(1);
      }
      skip = written;
    }
    return kSuccess;
  }

  Errno Sync() override {
    while (fdatasync(descriptor_) != 0) {
      if (errno != EINTR) return Errno::Last();
    }
    return kSuccess;
  }

 private:
  const int descriptor_;
};

}  // namespace

std::unique_ptr<File> BorrowFile(int descriptor) {
  return std::unique_ptr<File>(new (std::nothrow) RealFile(descriptor));
}

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
