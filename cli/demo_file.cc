#include "cli/demo_file.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cli/temporary_file.h"

namespace cli {
namespace {

constexpr size_t kCopyBytes = size_t{256} * kPageBytes;

absl::Status Error(os::Errno error, const std::string& what) {
  return absl::ErrnoToStatus(error.code(), what);
}

}  // namespace

// FNV-1a over words of 8 bytes; the rest, of fewer than 8 bytes, is taken as one more.
uint64_t ChecksumOf(std::span<const std::byte> bytes) {
  uint64_t checksum = 0xcbf29ce484222325;
  while (!bytes.empty()) {
    uint64_t word = 0;
    const size_t taken = std::min(bytes.size(), sizeof(word));
    std::memcpy(&word, bytes.data(), taken);
    checksum = (checksum ^ word) * 0x100000001b3;
    checksum ^= checksum >> 29;  // lets high bytes count for low ones
    bytes = bytes.subspan(taken);
  }
  return checksum;
}

uint64_t ChecksumOf(const std::vector<uint64_t>& checksums) {
  return ChecksumOf(std::as_bytes(std::span(checksums)));
}

absl::StatusOr<DemoFile> CopyForDemo(const std::string& path) {
  os::Result<os::OwnedDescriptor> original = os::OpenForReading(path);
  if (!original.ok()) return Error(original.error(), absl::StrCat("cannot open ", path));
  const os::Result<os::DescriptorTraits> traits = os::TraitsOf(original->get());
  if (!traits.ok() || !traits->regular_file) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is not a regular file; name one that is"));
  }
  absl::StatusOr<os::OwnedDescriptor> copy = CreateTemporaryFile();
  if (!copy.ok()) return copy.status();
  const std::unique_ptr<os::File> from = os::BorrowFile(original->get());
  const std::unique_ptr<os::File> to = os::BorrowFile(copy->get());
  DemoFile file;
  std::vector<std::byte> buffer(kCopyBytes);
  for (;;) {
    const os::Result<size_t> read = from->ReadAt(buffer, file.bytes);
    if (!read.ok()) return Error(read.error(), absl::StrCat("cannot read ", path));
    const std::span<const std::byte> part(buffer.data(), *read);
    if (const os::Errno error = to->WriteAt({&part, 1}, file.bytes); !error.ok()) {
      return Error(error, absl::StrCat("cannot write a temporary copy of ", path,
                                       "; set TMPDIR to a directory with more space"));
    }
    file.bytes += *read;
    for (size_t at = 0; at + kPageBytes <= part.size(); at += kPageBytes) {
      file.page_checksums.push_back(ChecksumOf(part.subspan(at, kPageBytes)));
    }
    if (*read < buffer.size()) break;
  }
  if (const os::Errno error = to->Sync(); !error.ok()) {
    return Error(error, "cannot synchronise the temporary copy");
  }
  file.descriptor = *std::move(copy);
  return file;
}

}  // namespace cli
