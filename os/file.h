// File: positioned reads and writes that finish what they began.
//
// pread(2) and pwrite(2) may transfer less than asked, or be interrupted; File does not. Offsets
// are bytes. Nothing here moves the descriptor's file position.
//
// The contract, which RealFile and testing::FakeFile both pass (file_contract_test.cc):
//  * ReadAt fills the buffer, or stops at the end of the file and returns how many bytes it read.
//  * WriteAt writes everything or fails; a part may have been written then. Beyond the end it
//    extends the file. A device that takes no more without saying why is EIO.
//  * ReadMany and WriteMany do what as many calls of ReadAt and WriteAt do, in an order of their own
//    or at once. Each request gets its own result, whatever the others get, and no buffer is in use
//    when they return. Of requests for the same bytes, writes leave either and reads see either.
//  * Sync returns once what was written is on stable storage (fdatasync(2)).
//
// With O_DIRECT addresses, sizes and offsets must be multiples of what the device asks for (statx(2),
// STATX_DIOALIGN; 4,096 serves nearly everywhere). Others are EINVAL, or go through the page cache,
// as the file system likes.
//
// Thread-safety: every call is safe from every thread; concurrent writes to the same bytes leave
// either. All calls block and enter the kernel. In a forked child a File goes on as before.

#ifndef OS_FILE_H_
#define OS_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "os/descriptor.h"
#include "os/errno.h"
#include "os/io_request.h"
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

  // Both set the result of every request. These make one call after the other.
  virtual void ReadMany(std::span<ReadRequest> requests);
  virtual void WriteMany(std::span<WriteRequest> requests);
};

// A File over a descriptor that the caller keeps, and keeps open for the File's life. Null: no
// memory.
//
// ReadMany, and with O_DIRECT WriteMany, have up to 128 requests in flight at once where the kernel
// allows it (os/io_queue.h); that takes up to IoQueue::kRingsKept descriptors, and more for a while
// if more threads are at it.
std::unique_ptr<File> BorrowFile(int descriptor);

}  // namespace os

#endif  // OS_FILE_H_
