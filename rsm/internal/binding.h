// Binding: a range of this process' memory that is bound to an object which importers map.
//
// Private memory gets an object of its own: its pages are copied there, and the object is mapped at their
// addresses, while threads go on reading and writing. Memory that is shared already (memfd_create(2),
// shmget(2)) is its own object. Two segments over the same memory share one binding, whose memory stays
// bound until both have gone.
//
// The pages of a segment are pinned (mpin(3)) as long as it is bound; pins of the program's own stay.
//
// Thread-safety: all calls need MemoryLatch(). Functions return RSMERR_ codes with Fail's text, and have
// changed nothing where they fail.

#ifndef RSM_INTERNAL_BINDING_H_
#define RSM_INTERNAL_BINDING_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "os/latch.h"

namespace rsm::internal {

// Held while memory is bound and unbound, and around fork(2): a child finds nothing half done.
inline constinit os::Latch memory_latch;
inline os::Latch& MemoryLatch() ABSL_LOCK_RETURNED(memory_latch) { return memory_latch; }

class Binding;

// What importers map: a part of a file, or of a segment of shmget(2).
struct Source {
  int descriptor = -1;  // -1: it is sysv
  int sysv = -1;
  uint64_t offset = 0;  // bytes
};

// A segment's memory. A value: copies mean the same.
struct BoundRange {
  std::shared_ptr<Binding> binding;  // null: none
  void* address = nullptr;           // page-aligned, as bytes
  size_t bytes = 0;
  uint64_t offset = 0;  // of `address` in the object

  Source source() const;
  // Whether importers can be parted from it by Renew, as nothing else is bound to its object.
  bool is_separate() const;
};

// BAD_ADDR: not mapped, inaccessible, or memory that cannot be exported. PERM_DENIED: mapped read-only.
// INSUFFICIENT_MEM: it cannot be locked, or there is no memory for the object. INSUFFICIENT_RESOURCES: no
// descriptors; or writes of other threads could be lost, as userfaultfd(2) is not to be had.
int Bind(void* address, size_t bytes, BoundRange& bound)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());

// Ends it. Private memory becomes the program's own again, with a copy of what it held; importers keep
// the object. Where other segments are bound to it, they keep it.
void Unbind(BoundRange& bound) ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());

// Gives the memory another object, with a copy of what it holds; importers keep the old one. Needs
// is_separate(). BAD_ADDR: the program has unmapped or replaced a part of it. Else as of Bind.
int Renew(BoundRange& bound) ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());

// For when that is BAD_ADDR: what is left of the memory is the program's own, pinned still. From now on
// it can only be unbound.
void GiveUp(BoundRange& bound) ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());
// BAD_ADDR: it was.
int CheckNotGivenUp(const BoundRange& bound) ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());

// Binds other memory of the same length to the same object, which then holds what that memory held. The
// memory that was bound is the program's own again. Errors as of Bind; REBIND_NOT_ALLOWED: the segment's
// memory was shared before it was exported; INSUFFICIENT_RESOURCES: another segment is bound to it.
int Rebind(BoundRange& bound, void* address) ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());

// Nobody can begin to write to the object any more, but the program itself. False: it is the program's.
bool RefuseNewWriters(BoundRange& bound) ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());
bool refuses_new_writers(const BoundRange& bound) ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());
// The object takes no further seals, by whoever has its descriptor.
void Seal(BoundRange& bound) ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());

// In a forked child, where the memory is not mapped.
void ForgetBindings() ABSL_EXCLUSIVE_LOCKS_REQUIRED(MemoryLatch());

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_BINDING_H_
