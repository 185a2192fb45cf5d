// LiveReplacement: puts other memory in the place of memory that threads are using.
//
// A copy of a range is moved to the range's own addresses in one step (mremap(2)): who reads it
// sees the same bytes before and after, and never a hole. Who writes to it meanwhile waits, by
// write protection with userfaultfd(2), so that no write goes to the memory that is about to be
// dropped.
//
//   LiveReplacement replacement(range, bytes);
//   if (const Errno error = replacement.StopWriters(); !error.ok()) return error;
//   std::memcpy(copy, range, bytes);
//   const Errno error = replacement.MoveHere(copy);   // the destructor lets the writers go on
//
// Between StopWriters and the end the thread must neither write to the range nor wait for another
// thread, allocate memory included: that one may be waiting for us. Its signals wait, as their
// handlers might write.
//
// Not stopped are writes by other mappings of the same memory, and transfers of a device that have
// begun (O_DIRECT, pages that io_uring(7) has registered). Who waits there in a futex(2) without
// FUTEX_PRIVATE_FLAG is not found any more by who wakes him. Stacks of other threads must not lie
// there: what the kernel notes in them by itself (rseq(2)) cannot wait.
//
// Not thread-safe. All calls enter the kernel. A child forked meanwhile has the old memory, where
// it may write.

#ifndef OS_LIVE_REPLACE_H_
#define OS_LIVE_REPLACE_H_

#include <signal.h>

#include <cstddef>

#include "os/descriptor.h"
#include "os/errno.h"

namespace os {

class LiveReplacement {
 public:
  // Page-aligned, mapped and writable.
  LiveReplacement(void* range, size_t bytes) : range_(range), bytes_(bytes) {}
  LiveReplacement(const LiveReplacement&) = delete;
  LiveReplacement& operator=(const LiveReplacement&) = delete;
  // Writers go on: where MoveHere has succeeded, in the new memory.
  ~LiveReplacement();

  // From now on other threads wait when they write to the range. Where this process has no other
  // thread, but for `harmless` ones that never write there, it does nothing. A system call that writes there (read(2)) waits too, or where the
  // process has no right to that (vm.unprivileged_userfaultfd) fails with EFAULT. EPERM, ENOSYS:
  // userfaultfd(2) is not to be had (seccomp, say). EINVAL: the kernel cannot protect memory of
  // this kind, as private mappings of files are. EBUSY: it is watched by a userfaultfd(2) already.
  // ENOMEM: no memory, or too many mappings. EMFILE, ENFILE: no more descriptors. After an error
  // all is as before. Precondition: was not called.
  Errno StopWriters(size_t harmless = 0);

  // Moves the memory at `copy`, which must be one mapping, as long, or a part of one, to the
  // range's addresses. ENOMEM: too many mappings; nothing has changed.
  Errno MoveHere(void* copy);

 private:
  void LetWritersGo();

  void* range_;
  size_t bytes_;
  OwnedDescriptor faults_;  // while writers wait
  bool moved_ = false;
  sigset_t signals_{};  // that were blocked before
};

// Whether this process has more threads than this and `harmless` other ones; true where it cannot be told.
bool HasOtherThreads(size_t harmless = 0);

}  // namespace os

#endif  // OS_LIVE_REPLACE_H_
