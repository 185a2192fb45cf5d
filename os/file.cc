#include "os/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <new>

#include "os/io_queue.h"
#include "os/positioned_io.h"

namespace os {
namespace {

class RealFile final : public File {
 public:
  explicit RealFile(int descriptor) : descriptor_(descriptor) {}

  Result<uint64_t> Size() const override {
    struct stat status;
    if (fstat(descriptor_, &status) != 0) return Errno::Last();
    return static_cast<uint64_t>(status.st_size);
  }

  Result<size_t> ReadAt(std::span<std::byte> buffer, uint64_t offset) override {
    return ReadFully(descriptor_, buffer, offset);
  }

  Errno WriteAt(std::span<const std::span<const std::byte>> buffers, uint64_t offset) override {
    return WriteFully(descriptor_, buffers, offset);
  }

  Errno Sync() override {
    while (fdatasync(descriptor_) != 0) {
      if (errno != EINTR) return Errno::Last();
    }
    return kSuccess;
  }

  void ReadMany(std::span<ReadRequest> requests) override { queue_.Read(requests); }

  void WriteMany(std::span<WriteRequest> requests) override {
    // The page cache takes writes as fast as one thread makes them, and a ring hands them to others.
    const int flags = fcntl(descriptor_, F_GETFL);
    if (flags < 0 || (flags & O_DIRECT) == 0) return File::WriteMany(requests);
    queue_.Write(requests);
  }

 private:
  const int descriptor_;
  IoQueue queue_{descriptor_};
};

}  // namespace

void File::ReadMany(std::span<ReadRequest> requests) {
  for (ReadRequest& request : requests) request.result = ReadAt(request.buffer, request.offset);
}

void File::WriteMany(std::span<WriteRequest> requests) {
  for (WriteRequest& request : requests) request.result = WriteAt(request.buffers, request.offset);
}

std::unique_ptr<File> BorrowFile(int descriptor) {
  return std::unique_ptr<File>(new (std::nothrow) RealFile(descriptor));
}

}  // namespace os
