#include "os/positioned_io.h"

#include <unistd.h>

#include <array>

namespace os {
namespace {

// At most this many buffers a call; Linux takes IOV_MAX = 1,024.
constexpr size_t kBuffersPerCall = 256;

}  // namespace

BufferCursor::BufferCursor(std::span<const std::span<const std::byte>> buffers)
    : buffers_(buffers) {
  Advance(0);
}

size_t BufferCursor::Fill(std::span<iovec> parts) const {
  size_t count = 0;
  size_t skip = skip_;
  for (const std::span<const std::byte> buffer : buffers_) {
    if (count == parts.size()) break;
    const std::span<const std::byte> part = buffer.subspan(skip);
    skip = 0;
    if (part.empty()) continue;
    // The kernel takes pointers to mutable bytes, and does not change what it writes out.
    parts[count++] = {const_cast<std::byte*>(part.data()), part.size()};
  }
  return count;
}

void BufferCursor::Advance(size_t bytes) {
  skip_ += bytes;
  while (!buffers_.empty() && skip_ >= buffers_.front().size()) {
    skip_ -= buffers_.front().size();
    buffers_ = buffers_.subspan(1);
  }
}

Result<size_t> ReadFully(int descriptor, std::span<std::byte> buffer, uint64_t offset) {
  size_t done = 0;
  while (done < buffer.size()) {
    const ssize_t bytes = pread(descriptor, buffer.data() + done, buffer.size() - done,
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

Errno WriteFully(int descriptor, std::span<const std::span<const std::byte>> buffers,
                 uint64_t offset) {
  BufferCursor cursor(buffers);
  while (!cursor.AtEnd()) {
    std::array<iovec, kBuffersPerCall> parts;
    const size_t count = cursor.Fill(parts);
    const ssize_t bytes =
        pwritev(descriptor, parts.data(), static_cast<int>(count), static_cast<off_t>(offset));
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return Errno::Last();
    if (bytes == 0) return Errno(EIO);
    offset += static_cast<uint64_t>(bytes);
    cursor.Advance(static_cast<size_t>(bytes));
  }
  return kSuccess;
}

}  // namespace os
