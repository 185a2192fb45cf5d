// Locker: how the pool makes memory resident.
//
// One seam between the pool and pinlock, so that tests can refuse a lock at any point. Thread-safe.

#ifndef MPOOL_INTERNAL_LOCKER_H_
#define MPOOL_INTERNAL_LOCKER_H_

#include <cstddef>
#include <span>

#include "os/errno.h"

namespace mpool::internal {

class Locker {
 public:
  virtual ~Locker() = default;
  // Nested, all or nothing; errors as of mpin(3).
  virtual os::Errno Lock(std::span<std::byte> bytes) = 0;
  virtual os::Errno Unlock(std::span<std::byte> bytes) = 0;
  // This thread's last failure in words.
  virtual const char* ErrorText() const = 0;
};

// mpin(3).
Locker& PinLocker();

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_LOCKER_H_
