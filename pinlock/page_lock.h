// PageLock: a nested memory lock with the lifetime of a C++ object.
//
// The C++ face of mpin(3): the same counters, so both may be mixed in one program. LockPages makes
// the pages resident and locks them; the PageLock unlocks them when it goes. Two PageLocks over the
// same page are independent: the page is locked until both are gone.
//
// Thread-safety: LockPages is safe from every thread; a PageLock is as thread-safe as an int.
// fork(2): the child has no locks, and a PageLock that it inherited does nothing there.

#ifndef PINLOCK_PAGE_LOCK_H_
#define PINLOCK_PAGE_LOCK_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace pinlock {

// Move-only. Does not own the memory, which must stay mapped while it is locked.
class PageLock {
 public:
  // Holds nothing.
  PageLock() = default;
  PageLock(PageLock&& other) noexcept;
  PageLock& operator=(PageLock&& other) noexcept;
  ~PageLock();

  // The bytes as they were given to LockPages; empty where nothing is held.
  absl::Span<std::byte> bytes() const { return bytes_; }

  // Unlocks now instead of at the end. Afterwards nothing is held. May enter the kernel.
  void Release();

 private:
  friend absl::StatusOr<PageLock> LockPages(absl::Span<std::byte> bytes);
  PageLock(absl::Span<std::byte> bytes, uint64_t generation)
      : bytes_(bytes), generation_(generation) {}

  absl::Span<std::byte> bytes_;
  uint64_t generation_ = 0;  // of the process that took the lock
};

// Locks the pages that hold any of the bytes. An empty span gives a PageLock that holds nothing.
// The errors are those of mpin(3), with mpin_error()'s text, and nothing has changed then:
//   InvalidArgument    (EINVAL)  not mapped, PROT_NONE, past the end of a file
//   ResourceExhausted  (ENOMEM)  beyond RLIMIT_MEMLOCK; (ENOSPC) no block on the file system
//   Unavailable        (EAGAIN)  no memory, a full counter, or too many mappings
// Blocks while pages are read in; enters the kernel only for pages that were not locked.
absl::StatusOr<PageLock> LockPages(absl::Span<std::byte> bytes);

}  // namespace pinlock

#endif  // PINLOCK_PAGE_LOCK_H_
