#include "os/faulty_file.h"

#include <algorithm>
#include <vector>

namespace os::testing {
namespace {

using Kind = FaultPlan::Kind;

// The first half of the bytes of all buffers.
std::vector<std::span<const std::byte>> FirstHalf(
    std::span<const std::span<const std::byte>> buffers) {
  size_t left = 0;
  for (const auto& buffer : buffers) left += buffer.size();
  left /= 2;
  std::vector<std::span<const std::byte>> half;
  for (const auto& buffer : buffers) {
    half.push_back(buffer.first(std::min(left, buffer.size())));
    left -= half.back().size();
  }
  return half;
}

}  // namespace

Result<uint64_t> FaultyFile::Size() const {
  if (const Errno error = plan_.Next(Kind::kSize); !error.ok()) return error;
  return file_.Size();
}

Result<size_t> FaultyFile::ReadAt(std::span<std::byte> buffer, uint64_t offset) {
  if (const Errno error = plan_.Next(Kind::kRead); !error.ok()) return error;
  return file_.ReadAt(buffer, offset);
}

Errno FaultyFile::WriteAt(std::span<const std::span<const std::byte>> buffers, uint64_t offset) {
  const Errno error = plan_.Next(Kind::kWrite);
  if (error.ok()) return file_.WriteAt(buffers, offset);
  if (plan_.half_done()) (void)file_.WriteAt(FirstHalf(buffers), offset);
  return error;
}

Errno FaultyFile::Sync() {
  if (const Errno error = plan_.Next(Kind::kSync); !error.ok()) return error;
  return file_.Sync();
}

}  // namespace os::testing
