#include "pinlock/page_lock.h"

#include <cerrno>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "pinlock/internal/process_locker.h"
#include "pinlock/mpin.h"

namespace pinlock {

PageLock::PageLock(PageLock&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})), generation_(other.generation_) {}

PageLock& PageLock::operator=(PageLock&& other) noexcept {
  if (this != &other) {
    Release();
    bytes_ = std::exchange(other.bytes_, {});
    generation_ = other.generation_;
  }
  return *this;
}

PageLock::~PageLock() { Release(); }

void PageLock::Release() {
  const absl::Span<std::byte> bytes = std::exchange(bytes_, {});
  // In a forked child the counts of the parent are not there to be taken down.
  if (bytes.empty() || generation_ != internal::ProcessGeneration()) return;
  // Fails where the memory was unmapped while it was locked, and then its locks are gone too; or
  // for want of memory for the counters, and then the pages stay locked, for nobody can be told.
  (void)munpin(bytes.data(), bytes.size());
}

absl::StatusOr<PageLock> LockPages(absl::Span<std::byte> bytes) {
  if (mpin(bytes.data(), bytes.size()) != 0) {
    const int error = errno;
    return absl::Status(absl::ErrnoToStatusCode(error), mpin_error());
  }
  return PageLock(bytes, internal::ProcessGeneration());
}

}  // namespace pinlock
