// Admission: whether pages may be locked, as far as mlock(2) itself does not say so.
//
// The kernel does not refuse a lock for which there is no memory: it kills a process. It locks a
// sparse file whose file system is full, and a later write is a SIGBUS. So both are looked at
// before a step of at most 2 MiB is locked: whether the memory cgroup and the machine have room for
// the pages that are not resident, and whether a shared, writable file mapping has its blocks.
//
// Both questions cost more than locking a page, so their answers are kept for a while
// (AdmissionNotes): room for 2 MiB at most and for 10 ms, the kind of a mapping for 10 ms. What is
// already resident needs no room, and what was unlocked since gives its room back.

#ifndef PINLOCK_INTERNAL_ADMISSION_H_
#define PINLOCK_INTERNAL_ADMISSION_H_

#include <array>
#include <chrono>
#include <cstdint>

#include "os/coarse_clock.h"
#include "os/errno.h"
#include "os/limits.h"
#include "os/memory.h"
#include "pinlock/internal/failure.h"

namespace pinlock::internal {

// What is known at the moment. Plain data; zero bytes know nothing. The owner guards it.
class AdmissionNotes {
 public:
  using Time = os::CoarseTime;
  static constexpr os::PageCount kRoomMax{512};
  static constexpr std::chrono::milliseconds kLifetime{10};

  // Takes room for the pages. False: not so much is known to be there.
  bool TakeRoom(os::PageCount pages, Time now);
  // Whether it is long ago that somebody looked how much room there is.
  bool IsRoomOld(Time now) const { return now - room_seen_ > kLifetime; }
  // Room that was found to be there.
  void SetRoom(os::PageCount pages, Time now);

  // Whether the pages are known to need no blocks of a file.
  bool AreKnownPlain(os::PageRange pages, Time now) const;
  void SetPlain(os::PageRange pages, Time now);
  // Mappings may have changed.
  void ForgetPlain() { plain_ = {}; }

 private:
  struct Plain {
    os::PageRange pages;
    Time seen;
  };

  os::PageCount room_;
  Time room_seen_;
  std::array<Plain, 4> plain_ = {};
  size_t next_plain_ = 0;  // to be replaced
};

// Bytes of the headroom's bound that are left free. The kernel charges in batches for each processor
// and needs page tables (a 512th), other processes need memory too, and what the kernel can reclaim
// is an estimate.
uint64_t ReserveOf(const os::Headroom& headroom);

// Asks the kernel. Called without any latch: it may take some ten microseconds, and more where
// blocks are allocated.
class Admission {
 public:
  Admission(os::Memory& memory, const os::Limits& limits) : memory_(memory), limits_(limits) {}

  // Makes sure of the blocks of file mappings in the range. `plain` is then the part of the address
  // space around it that needs none; empty where there is such a mapping. ENOSPC: none are left.
  // EFAULT: that, or a page past the end of its file; the caller finds out by locking. ENOMEM: a
  // hole, which the lock will find too.
  os::Errno ReserveBlocks(os::PageRange pages, os::PageRange& plain);

  // Whether there is room for those of the pages that are not resident; `room` is then what is left
  // beyond them, or 0 where nobody had to look. With `look`, somebody looks. EAGAIN: there is not;
  // `failure` gets the numbers.
  os::Errno CheckRoom(os::PageRange pages, bool look, os::PageCount& room, Failure& failure);

 private:
  os::Memory& memory_;
  const os::Limits& limits_;
};

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_ADMISSION_H_
