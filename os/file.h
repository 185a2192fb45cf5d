// File: positioned reads and writes that finish what they began.
//
// pread(2) and pwrite(2) may transfer less than asked, or be interrupted; File does not. Offsets
// are bytes. Nothing here moves the descriptor's file position.
//
// The contract, which RealFile and testing::FakeFile both pass (file_contract_test.cc):
//  * ReadAt fills the buffer, or stops at the end of the file and returns how many bytes it read.
//  * WriteAt writes everything or fails; a part may have been written then. Beyond the end it
//    extends the file. A device that takes no more without saying why is EIO.
//  * Sync returns once what was written is on stable storage (fdatasync(2)).
//
// Thread-safety: every call is safe from every thread; concurrent writes to the same bytes leave
// either. All calls block and enter the kernel.

#ifndef OS_FILE_H_
#define OS_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "os/errno.h"
#include "os/result.h"

namespace os {

class File {
 public:
  virtual ~File() = default;

  // Bytes in the file now.
  virtual Result<uint64_t> Size() const = 0;
  virtual Result<size_t> ReadAt(std::span<std::byte> buffer, uint64_t offset) = 0;
  // Writes the buffers one after another, from `offset` on.
  virtual Errno WriteAt(std::span<const std::span<const std::byte>> buffers, uint64_t offset) = 0;
  virtual Errno Sync() = 0;
};

// A File over a descriptor that the caller keeps, and keeps open for the File's life. Null: no
// memory.
std::unique_ptr<File> BorrowFile(int descriptor);

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

#endif  // OS_FILE_H_
