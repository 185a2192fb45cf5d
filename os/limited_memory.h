// LimitedMemory: a Memory that pretends to lock, under a limit of its own.
//
// Lets a program that locks memory be tested against any lock limit, on any machine, with or
// without privilege: pages that it locks are made resident, but the kernel is never asked to lock
// or unlock them, and beyond the limit it refuses as the kernel does. What RLIMIT_MEMLOCK and
// CAP_IPC_LOCK of the process really are does not matter.

#ifndef OS_LIMITED_MEMORY_H_
#define OS_LIMITED_MEMORY_H_

#include <cstdint>
#include <map>

#include "absl/base/thread_annotations.h"
#include "os/forwarding_memory.h"
#include "os/latch.h"

namespace os::testing {

// How it differs from the kernel:
//  * A Lock that fails has locked nothing: it is never half done. Pages may have become resident.
//  * Memory of every kind counts against the limit, huge pages too. No privilege lifts it.
//  * Where pages are unmapped other than by this object, they stay locked.
//  * MappingAt ends a mapping where its pages begin or cease to be locked; /proc does not.
// To make pages resident takes Linux 5.14.
//
// Thread-safety: every call is safe from every thread. fork: the child has nothing locked, and the
// same limit. Must not be forked while another thread is in a call.
class LimitedMemory final : public ForwardingMemory {
 public:
  // The caller keeps `memory` alive.
  LimitedMemory(Memory& memory, uint64_t limit_bytes);

  // As setrlimit(2): what is locked stays so. With 0 every Lock fails, with EPERM.
  void SetLimit(uint64_t limit_bytes);
  uint64_t limit_bytes() const;
  uint64_t locked_bytes() const;

  Errno Decommit(PageRange pages) override;
  Errno Unmap(PageRange pages) override;
  Errno Lock(PageRange pages) override;
  Errno Unlock(PageRange pages) override;
  Errno CheckLockLimit(PageCount more) const override;
  Errno PageOut(PageRange pages) override;
  Result<bool> AllLocked(PageRange pages) const override;
  Result<std::optional<Mapping>> MappingAt(PageNumber page) const override;

 private:
  // Disjoint, not adjacent: begin -> end.
  using Ranges = std::map<PageNumber, PageNumber>;

  void ForgetAfterFork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  PageCount CountLocked(PageRange pages) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void Add(PageRange pages) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  void Remove(PageRange pages) ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  Errno CheckLimit(PageCount more) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);
  Errno MakeResident(PageRange pages);
  // The end of the part of the range that is mapped, from its beginning.
  PageNumber EndOfMapped(PageRange pages) const;

  mutable Latch latch_;
  uint64_t limit_bytes_ ABSL_GUARDED_BY(latch_);
  mutable Ranges locked_ ABSL_GUARDED_BY(latch_);
  mutable int process_ ABSL_GUARDED_BY(latch_);  // whose locks these are
};

}  // namespace os::testing

#endif  // OS_LIMITED_MEMORY_H_
