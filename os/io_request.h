// ReadRequest, WriteRequest: one transfer of many that are asked for at once.

#ifndef OS_IO_REQUEST_H_
#define OS_IO_REQUEST_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "os/errno.h"
#include "os/result.h"

namespace os {

struct ReadRequest {
  std::span<std::byte> buffer;
  uint64_t offset = 0;                // bytes into the file
  Result<size_t> result = size_t{0};  // set by the call: as of File::ReadAt
};

struct WriteRequest {
  std::span<const std::span<const std::byte>> buffers;  // one after another, from `offset` on
  uint64_t offset = 0;                                  // bytes into the file
  Errno result = {};                                    // set by the call: as of File::WriteAt
};

}  // namespace os

#endif  // OS_IO_REQUEST_H_
