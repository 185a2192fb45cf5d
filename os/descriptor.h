// Descriptors: what they are good for, and one that closes itself.
//
// Thread-safety: functions, every call is safe from every thread; an OwnedDescriptor belongs to
// one. All but OwnedDescriptor::get enter the kernel.

#ifndef OS_DESCRIPTOR_H_
#define OS_DESCRIPTOR_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "os/errno.h"
#include "os/result.h"

namespace os {

// What a descriptor is good for.
struct DescriptorTraits {
  bool regular_file = false;
  bool readable = false;
  bool writable = false;
  bool append_only = false;  // O_APPEND: pwrite(2) would ignore its offset
};
// EBADF: not an open descriptor.
Result<DescriptorTraits> TraitsOf(int descriptor);

// A descriptor that is closed at the end of its scope. Movable.
class OwnedDescriptor {
 public:
  OwnedDescriptor() = default;
  explicit OwnedDescriptor(int descriptor) : descriptor_(descriptor) {}
  OwnedDescriptor(OwnedDescriptor&& other) noexcept;
  OwnedDescriptor& operator=(OwnedDescriptor&& other) noexcept;
  ~OwnedDescriptor();

  int get() const { return descriptor_; }

 private:
  int descriptor_ = -1;
};

// A file, and how a descriptor has it open.
struct FileOrigin {
  uint64_t device = 0;
  uint64_t inode = 0;
  int flags = 0;     // of open(2): the access mode, O_DIRECT, O_SYNC and O_DSYNC
  std::string path;  // where it was found; empty: that cannot be told
};
// EBADF: not an open descriptor.
Result<FileOrigin> OriginOf(int descriptor);
// Another descriptor for the same open file (dup(2)), close-on-exec.
Result<OwnedDescriptor> Duplicate(int descriptor);
// Opens the file anew where `path` leads to it, with the flags of the origin and no other; for
// reading alone where more is not allowed. ESTALE: it is another file by now. Else the error of
// open(2).
Result<OwnedDescriptor> Reopen(const FileOrigin& origin, const std::string& path);

// open(2), close-on-exec.
Result<OwnedDescriptor> OpenForReading(const std::string& path);
// A file without a name in `directory` (O_TMPFILE, or created and unlinked), readable and writable:
// gone when its descriptor is closed, however the process ends.
Result<OwnedDescriptor> CreateUnnamedFile(const std::string& directory);
// Whether the file is on a file system that lives in memory (tmpfs, ramfs).
bool IsInMemory(int descriptor);
// Maps the first `bytes` bytes of a file, read-only and shared. EINVAL: bytes is 0.
Result<std::span<const std::byte>> MapFile(int descriptor, size_t bytes);

}  // namespace os

#endif  // OS_DESCRIPTOR_H_
