// FakeFile: a File in memory, over a pretended device that can lose power, fill up and go bad.
//
// It passes the contract of File (file_contract_test.cc). The device beneath transfers a few bytes
// at a time where asked to, so that errors in the midst of a transfer come about as on a real one.

#ifndef OS_FAKE_FILE_H_
#define OS_FAKE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "os/file.h"
#include "os/latch.h"

namespace os::testing {

// Thread-safety: every call is safe from every thread. Never blocks for long, and never enters the
// kernel but for a contended latch. Private to a process: a forked child goes on with a copy.
class FakeFile final : public File {
 public:
  // An empty file, with room for 1 GiB, as large as it may get.
  FakeFile() = default;
  // A file that holds `contents`, all of it synced.
  explicit FakeFile(std::vector<std::byte> contents)
      : contents_(contents), synced_(std::move(contents)) {}

  Result<uint64_t> Size() const override;
  // EIO: within a bad range; what comes before it is in the buffer. EINVAL: offset of 2^63 or more.
  Result<size_t> ReadAt(std::span<std::byte> buffer, uint64_t offset) override;
  // ENOSPC: beyond the capacity; what fits is written. EINVAL: offset of 2^63 or more. Writing to a
  // bad range does not mend it.
  Errno WriteAt(std::span<const std::span<const std::byte>> buffers, uint64_t offset) override;
  Errno Sync() override;

  // Power loss: the file is what it was at the last Sync.
  void Crash();
  // Bytes that the file may have from now on. A file that is larger already keeps its bytes.
  void set_capacity(uint64_t bytes);
  // Bytes that the device transfers at most in one go: 1 or more; unlimited at first.
  void set_transfer_max(size_t bytes);
  // Reading any of the `bytes` bytes from `offset` on fails with EIO from now on, or no longer.
  void AddBadRange(uint64_t offset, uint64_t bytes);
  void ClearBadRanges();

  // Copies of what a read would give, and of what a crash would leave.
  std::vector<std::byte> contents() const;
  std::vector<std::byte> synced() const;
  // Transfers by the device so far, reads and writes, failed ones included.
  uint64_t transfers() const;

 private:
  struct BadRange {
    uint64_t begin;
    uint64_t end;
  };
  static constexpr uint64_t kDefaultCapacity = uint64_t{1} << 30;

  // What the device does in one go: how many bytes, 0 at the end of the file.
  Result<size_t> TransferIn(std::span<std::byte> buffer, uint64_t offset)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  Result<size_t> TransferOut(std::span<const std::byte> buffer, uint64_t offset)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);

  mutable Latch latch_;
  std::vector<std::byte> contents_ ABSL_GUARDED_BY(latch_);
  std::vector<std::byte> synced_ ABSL_GUARDED_BY(latch_);
  std::vector<BadRange> bad_ranges_ ABSL_GUARDED_BY(latch_);
  uint64_t capacity_ ABSL_GUARDED_BY(latch_) = kDefaultCapacity;
  size_t transfer_max_ ABSL_GUARDED_BY(latch_) = std::numeric_limits<size_t>::max();
  uint64_t transfers_ ABSL_GUARDED_BY(latch_) = 0;
};

}  // namespace os::testing

#endif  // OS_FAKE_FILE_H_
