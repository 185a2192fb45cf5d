// Positioned reads and writes of a descriptor that finish what they began: pread(2) and pwritev(2)
// may transfer less than asked, or be interrupted. The contract is that of File (os/file.h).
//
// Thread-safety: every call is safe from every thread; a BufferCursor belongs to one.

#ifndef OS_POSITIONED_IO_H_
#define OS_POSITIONED_IO_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "os/errno.h"
#include "os/result.h"

namespace os {

// A place in buffers that are transferred one after another. The caller keeps the list.
class BufferCursor {
 public:
  BufferCursor() = default;
  explicit BufferCursor(std::span<const std::span<const std::byte>> buffers);

  // Whether no bytes are left.
  bool AtEnd() const { return buffers_.empty(); }
  // What comes next, without empty buffers, as far as `parts` takes it; returns how many were set.
  size_t Fill(std::span<iovec> parts) const;
  // `bytes` bytes were transferred: not more than are left.
  void Advance(size_t bytes);

 private:
  std::span<const std::span<const std::byte>> buffers_;  // begins with one that is not used up
  size_t skip_ = 0;                                      // bytes of it that are done
};

Result<size_t> ReadFully(int descriptor, std::span<std::byte> buffer, uint64_t offset);
Errno WriteFully(int descriptor, std::span<const std::span<const std::byte>> buffers,
                 uint64_t offset);

}  // namespace os

#endif  // OS_POSITIONED_IO_H_
