#include "os/fake_file.h"

#include <algorithm>
#include <cstdlib>

namespace os::testing {
namespace {

// The largest offset that off_t holds.
constexpr uint64_t kLastOffset = std::numeric_limits<int64_t>::max();

}  // namespace

Result<uint64_t> FakeFile::Size() const {
  LatchHolder holder(latch_);
  return static_cast<uint64_t>(contents_.size());
}

Result<size_t> FakeFile::ReadAt(std::span<std::byte> buffer, uint64_t offset) {
  if (buffer.empty()) return size_t{0};
  LatchHolder holder(latch_);
  size_t done = 0;
  while (done < buffer.size()) {
    const Result<size_t> bytes = TransferIn(buffer.subspan(done), offset + done);
    if (!bytes.ok()) return bytes.error();
    if (*bytes == 0) break;
    done += *bytes;
  }
  return done;
}

Errno FakeFile::WriteAt(std::span<const std::span<const std::byte>> buffers, uint64_t offset) {
  LatchHolder holder(latch_);
  for (std::span<const std::byte> buffer : buffers) {
    while (!buffer.empty()) {
      const Result<size_t> bytes = TransferOut(buffer, offset);
      if (!bytes.ok()) return bytes.error();
      buffer = buffer.subspan(*bytes);
      offset += *bytes;
    }
  }
  return kSuccess;
}

Errno FakeFile::Sync() {
  LatchHolder holder(latch_);
  synced_ = contents_;
  return kSuccess;
}

Result<size_t> FakeFile::TransferIn(std::span<std::byte> buffer, uint64_t offset) {
  ++transfers_;
  if (offset > kLastOffset) return Errno(EINVAL);
  if (offset >= contents_.size()) return size_t{0};
  size_t bytes = static_cast<size_t>(
      std::min<uint64_t>({buffer.size(), transfer_max_, contents_.size() - offset}));
  for (const BadRange& bad : bad_ranges_) {
    if (bad.end <= offset || bad.begin >= offset + bytes) continue;
    if (bad.begin <= offset) return Errno(EIO);
    bytes = static_cast<size_t>(bad.begin - offset);  // the part before it
  }
  std::copy_n(contents_.begin() + static_cast<ptrdiff_t>(offset), bytes, buffer.begin());
  return bytes;
}

Result<size_t> FakeFile::TransferOut(std::span<const std::byte> buffer, uint64_t offset) {
  ++transfers_;
  if (offset > kLastOffset) return Errno(EINVAL);
  const uint64_t room = std::max<uint64_t>(capacity_, contents_.size());
  if (offset >= room) return Errno(ENOSPC);
  const size_t bytes =
      static_cast<size_t>(std::min<uint64_t>({buffer.size(), transfer_max_, room - offset}));
  if (offset + bytes > contents_.size()) contents_.resize(offset + bytes);
  std::copy_n(buffer.begin(), bytes, contents_.begin() + static_cast<ptrdiff_t>(offset));
  return bytes;
}

void FakeFile::Crash() {
  LatchHolder holder(latch_);
  contents_ = synced_;
}

void FakeFile::set_capacity(uint64_t bytes) {
  LatchHolder holder(latch_);
  capacity_ = bytes;
}

void FakeFile::set_transfer_max(size_t bytes) {
  if (bytes == 0) std::abort();  // no transfer would ever end
  LatchHolder holder(latch_);
  transfer_max_ = bytes;
}

void FakeFile::AddBadRange(uint64_t offset, uint64_t bytes) {
  LatchHolder holder(latch_);
  bad_ranges_.push_back({offset, offset + bytes});
}

void FakeFile::ClearBadRanges() {
  LatchHolder holder(latch_);
  bad_ranges_.clear();
}

std::vector<std::byte> FakeFile::contents() const {
  LatchHolder holder(latch_);
  return contents_;
}

std::vector<std::byte> FakeFile::synced() const {
  LatchHolder holder(latch_);
  return synced_;
}

uint64_t FakeFile::transfers() const {
  LatchHolder holder(latch_);
  return transfers_;
}

}  // namespace os::testing
