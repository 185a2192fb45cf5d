// IoBatch: the requests of one call of IoQueue, be they reads or writes.
//
// Thread-safety: none. The caller keeps the requests, and the descriptor open.

#ifndef OS_IO_BATCH_H_
#define OS_IO_BATCH_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "os/errno.h"
#include "os/io_request.h"
#include "os/positioned_io.h"

namespace os {

class IoBatch {
 public:
  virtual ~IoBatch() = default;

  virtual bool writes() const = 0;
  virtual size_t size() const = 0;
  virtual uint64_t offset(size_t index) const = 0;
  // `single` is room for a list of one buffer, and lives as long as the cursor.
  virtual BufferCursor buffers(size_t index, std::span<const std::byte>& single) const = 0;
  // All bytes were transferred, or there are no more.
  virtual void Finish(size_t index, size_t bytes) = 0;
  virtual void Fail(size_t index, Errno error) = 0;
  // Makes the request, from its beginning, without a ring.
  virtual void Make(size_t index) = 0;
};

class ReadBatch final : public IoBatch {
 public:
  ReadBatch(int descriptor, std::span<ReadRequest> requests)
      : descriptor_(descriptor), requests_(requests) {}

  bool writes() const override { return false; }
  size_t size() const override { return requests_.size(); }
  uint64_t offset(size_t index) const override { return requests_[index].offset; }
  BufferCursor buffers(size_t index, std::span<const std::byte>& single) const override {
    single = requests_[index].buffer;
    return BufferCursor({&single, 1});
  }
  void Finish(size_t index, size_t bytes) override { requests_[index].result = bytes; }
  void Fail(size_t index, Errno error) override { requests_[index].result = error; }
  void Make(size_t index) override {
    ReadRequest& request = requests_[index];
    request.result = ReadFully(descriptor_, request.buffer, request.offset);
  }

 private:
  const int descriptor_;
  const std::span<ReadRequest> requests_;
};

class WriteBatch final : public IoBatch {
 public:
  WriteBatch(int descriptor, std::span<WriteRequest> requests)
      : descriptor_(descriptor), requests_(requests) {}

  bool writes() const override { return true; }
  size_t size() const override { return requests_.size(); }
  uint64_t offset(size_t index) const override { return requests_[index].offset; }
  BufferCursor buffers(size_t index, std::span<const std::byte>&) const override {
    return BufferCursor(requests_[index].buffers);
  }
  void Finish(size_t index, size_t) override { requests_[index].result = kSuccess; }
  void Fail(size_t index, Errno error) override { requests_[index].result = error; }
  void Make(size_t index) override {
    WriteRequest& request = requests_[index];
    request.result = WriteFully(descriptor_, request.buffers, request.offset);
  }

 private:
  const int descriptor_;
  const std::span<WriteRequest> requests_;
};

}  // namespace os

#endif  // OS_IO_BATCH_H_
