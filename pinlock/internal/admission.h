// Admission: whether pages may be locked, as far as mlock(2) itself does not say so.
//
// The kernel does not refuse a lock for which there is no memory: it kills a process. It locks a
// sparse file whose file system is full, and a later write is a SIGBUS. So both are looked at
// before a step of at most 2 MiB is locked: whether the memory cgroup and the machine have room for
// the pages that are not resident, and whether a shared, writable file mapping has its blocks.
//
// Both questions cost more than locking a page, so their answers are kept for a while
// (AdmissionNotes): room for 2 MiB at most and for 10 ms, the kind of a mapping for 10 ms.
//
// What is resident needs no room, unless locking makes a copy of it: the zero page under memory that
// was only read, pages shared with a child, private pages of a file. To tell which costs more than
// to count who is resident, so it is told only where room is scarce.

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

// How much room there is, as far as somebody knows.
enum class Supply {
  kUnknown,  // nobody has looked for a while
  kScarce,
  kAmple,  // more than is locked before somebody looks again
};

// What a look has found.
struct Room {
  Supply supply = Supply::kUnknown;  // unknown: nobody had to look
  os::PageCount pages;               // left beyond those that were asked for
};

// What is known at the moment. Plain data; zero bytes know nothing. The owner guards it.
class AdmissionNotes {
 public:
  using Time = os::CoarseTime;
  static constexpr os::PageCount kRoomMax{512};
  static constexpr std::chrono::milliseconds kLifetime{10};

  // Takes room for the pages. False: not so much is known to be there.
  bool TakeRoom(os::PageCount pages, Time now);
  Supply SupplyAt(Time now) const;
  // What was found to be there.
  void SetRoom(const Room& room, Time now);

  // Whether the pages are known to need no blocks of a file.
  bool AreKnownPlain(os::PageRange pages, Time now) const;
  // Ignored where mappings may have changed since `plain_epoch` was that.
  void SetPlain(os::PageRange pages, Time now, uint64_t epoch);
  uint64_t plain_epoch() const { return plain_epoch_; }
  // Mappings may have changed.
  void ForgetPlain();

 private:
  struct Plain {
    os::PageRange pages;
    Time seen;
  };

  os::PageCount room_;
  Supply supply_ = Supply::kUnknown;
  Time room_seen_;
  uint64_t plain_epoch_ = 0;
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

  // Whether there is room for those of the pages that need memory. With an unknown supply somebody
  // looks how much there is; `room` is then what was seen. EAGAIN: there is not enough; `failure`
  // gets the numbers.
  os::Errno CheckRoom(os::PageRange pages, Supply supply, Room& room, Failure& failure);

 private:
  os::PageCount CountNeeding(os::PageRange pages, Supply supply) const;

  os::Memory& memory_;
  const os::Limits& limits_;
};

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_ADMISSION_H_
