// MemoryObject: memory without a name, which processes share by passing its descriptor.
//
// As memfd_create(2), and it can neither shrink nor grow: who maps no more than its bytes is not
// hit by SIGBUS, as long as there is memory. It is gone with the last descriptor and mapping,
// however the processes end. By the functions below a process finds such an object, or any file,
// again.
//
// Thread-safety: what is const may be called from every thread. All calls enter the kernel.

#ifndef OS_MEMORY_OBJECT_H_
#define OS_MEMORY_OBJECT_H_

#include <cstdint>
#include <utility>

#include "os/descriptor.h"
#include "os/errno.h"
#include "os/memory.h"
#include "os/result.h"

namespace os {

class MemoryObject {
 public:
  // Bytes of zeros; memory is taken as they are touched. `name` is what /proc/PID/maps shows. Of
  // those who have a descriptor of it, its owner alone may open it for writing (mode 0644). EMFILE,
  // ENFILE: no more descriptors; ENOMEM; EFBIG: beyond RLIMIT_FSIZE, or no file can be so long;
  // EINVAL: the name has more than 249 bytes.
  static Result<MemoryObject> Create(const char* name, uint64_t bytes);

  int descriptor() const { return descriptor_.get(); }
  uint64_t bytes() const { return bytes_; }

  // As pwrite(2): no mapping of it is touched, or has to be there. EINVAL: they reach beyond its end.
  // EFBIG: beyond RLIMIT_FSIZE, as it is now. EPERM: it refuses new writers. EFAULT: a part of
  // `from` cannot be read. ENOMEM, ENOSPC: no memory. After an error some of the bytes may be there.
  Errno Write(uint64_t offset, const void* from, size_t bytes) const;

  // From now on nobody can begin to write to it: neither by a new mapping nor by write(2). Mappings
  // that are writable already stay so, and so do copies that mremap(2) makes of them. EPERM:
  // sealed.
  Errno RefuseNewWriters() const;
  // Nothing of that kind can be asked of it any more, by nobody who has its descriptor: EPERM.
  Errno Seal() const;

 private:
  MemoryObject(OwnedDescriptor descriptor, uint64_t bytes)
      : descriptor_(std::move(descriptor)), bytes_(bytes) {}

  OwnedDescriptor descriptor_;
  uint64_t bytes_ = 0;
};

// Another descriptor of the same file, for reading alone: no writable mapping can be made of it.
// Who is given it can still open the file anew (/proc/PID/fd) for what the file's mode allows him;
// against that RefuseNewWriters helps. EACCES: the mode does not allow it. EBADF: not an open
// descriptor.
Result<OwnedDescriptor> ReopenForReading(int descriptor);
// The file of a descriptor, told from every other: device and inode. EBADF: not an open descriptor.
struct FileNumber {
  uint64_t device = 0;
  uint64_t inode = 0;
  friend bool operator==(const FileNumber&, const FileNumber&) = default;
};
Result<FileNumber> FileNumberOf(int descriptor);
// The same of what is mapped.
FileNumber FileNumberOf(const FileIdentity& mapped);
// Whether the file has at least so many bytes, and can never have less (F_SEAL_SHRINK).
bool IsFixedObject(int descriptor, uint64_t bytes);
// A descriptor of this process that has the file open, as a new descriptor with the same rights:
// one for reading and writing if there is one, else one for reading. ENOENT: none has. Of files
// with record locks of this process (F_SETLK): the locks are gone when any descriptor is closed,
// this one too.
Result<OwnedDescriptor> FindOpenDescriptor(FileNumber file);

}  // namespace os

#endif  // OS_MEMORY_OBJECT_H_
