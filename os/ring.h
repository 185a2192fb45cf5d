// Ring: io_uring(7), as far as IoQueue needs it.
//
// An interface, because a kernel seldom shows what IoQueue must stand: short transfers, refusals,
// a ring that ends in the midst.
//
// Thread-safety: none; one thread at a time, which may be another one each time.

#ifndef OS_RING_H_
#define OS_RING_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "os/errno.h"
#include "os/result.h"

namespace os {

class Ring {
 public:
  struct Transfer {
    bool write = false;
    std::span<const iovec> parts;  // stays where it is until the transfer is complete
    uint64_t offset = 0;           // below 2^63
    uint64_t tag = 0;              // the caller's, and comes back with the completion
  };
  struct Completion {
    uint64_t tag = 0;
    int result = 0;  // bytes, maybe fewer than asked for; or an errno, negative
  };

  // Nothing may be in flight, unless this is another process' ring (see Usable).
  virtual ~Ring() = default;

  // False in a forked child of the process that opened it: there it must only be destroyed, which
  // does nothing to the parent's.
  virtual bool Usable() const = 0;
  // Transfers that may be pushed or in flight at once.
  virtual unsigned depth() const = 0;
  // Puts a transfer behind the others. Does not enter the kernel.
  virtual void Push(const Transfer& transfer) = 0;
  // Hands all that was pushed to the kernel, and blocks until a transfer is complete, or maybe
  // sooner. Something must be pushed or in flight. An error: the ring works no longer; what is in
  // flight still is.
  virtual Errno Wait() = 0;
  // The next completion. Does not block.
  virtual std::optional<Completion> Pop() = 0;
  // After an error: blocks until nothing is in flight, whatever happens, and drops the completions
  // and what was not yet handed over. Only destruction may follow.
  virtual void Drain() = 0;
};

// A ring for `descriptor`, which the caller keeps open; takes one descriptor, close-on-exec. ENOSYS,
// EPERM, EACCES: io_uring is not to be had here (an old kernel, a seccomp filter,
// kernel.io_uring_disabled). Others, as ENOMEM, EMFILE, ENFILE, EAGAIN: not now.
Result<std::unique_ptr<Ring>> OpenRing(int descriptor, unsigned depth);

}  // namespace os

#endif  // OS_RING_H_
