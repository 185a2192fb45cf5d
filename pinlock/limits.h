// Limits: how much memory this process can lock, and what bounds it.
//
// For a program that wants to know before it tries, or to print why it could not. A snapshot and an
// estimate: others lock and use memory as well, so only LockPages itself is an answer.
//
// Sizes are in bytes. Thread-safety: Read is safe from every thread; a Limits is plain data.

#ifndef PINLOCK_LIMITS_H_
#define PINLOCK_LIMITS_H_

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>

namespace pinlock {

struct Limits {
  // What bounds the memory that can be made resident.
  enum class Bound { kNone, kSystem, kCgroupV1, kCgroupV2 };

  // RLIMIT_MEMLOCK; nullopt: unlimited. The shell's `ulimit -l` prints the soft one in KiB.
  std::optional<uint64_t> memlock_soft_bytes;
  std::optional<uint64_t> memlock_hard_bytes;
  // RLIMIT_RSS, soft; nullopt: unlimited. Linux ignores it, mpin(3) does not.
  std::optional<uint64_t> rss_soft_bytes;
  // PLOCK_MAX as bytes: mpin_set_max_pages(3); nullopt: none.
  std::optional<uint64_t> plock_max_bytes;
  // What is pinned by mpin(3): distinct pages. The last two limits bind this.
  uint64_t pinned_bytes = 0;
  // What the kernel counts as locked by this process: VmLck of /proc/self/status.
  uint64_t locked_bytes = 0;

  // Whether these limits do not bind: CAP_IPC_LOCK in the initial user namespace, found out by
  // trying. Elsewhere the capability looks complete and is worth nothing.
  bool privileged = false;
  bool in_initial_user_namespace = true;

  // How much more memory can be made resident before the kernel has to take it from somebody by
  // force, and the tightest of what bounds it: a memory cgroup or the machine. These bind
  // everybody.
  Bound headroom_bound = Bound::kNone;  // kNone: it could not be read
  uint64_t headroom_bytes = ~uint64_t{0};
  uint64_t headroom_reserve_bytes = 0;  // of it, what mpin(3) does not give away
  uint64_t headroom_limit_bytes = 0;    // of the cgroup or the machine
  uint64_t headroom_used_bytes = 0;
  std::string headroom_cgroup;  // its directory; empty: none

  // Mappings of the address space: vm.max_map_count, and how many there are. nullopt: it could not
  // be read.
  std::optional<uint64_t> mappings_max;
  std::optional<uint64_t> mappings;

  // As things stand now. Takes about a millisecond: reads files of /proc and of the cgroup file
  // system, and may try what is allowed. What cannot be read is as the fields' comments say.
  static Limits Read();

  // How many more bytes can be locked: the least of what is left of each limit that binds. Whole
  // pages may be fewer. 0 where no mapping is left, as locking a part of a mapping splits it.
  // Memory that is resident already needs no headroom, so of that more may be lockable.
  uint64_t bytes_lockable() const;

  // Some lines of "name: value" with units, each with a newline.
  std::string ToString() const;

  friend bool operator==(const Limits&, const Limits&) = default;
};

std::ostream& operator<<(std::ostream& out, const Limits& limits);

// How many bytes mpin(3) leaves free of the room of such a bound, whose whole memory, or whose
// limit, is `limit_bytes`: for who reads the headroom of another process. 0: of none.
uint64_t ReserveBytesOf(Limits::Bound bound, uint64_t limit_bytes);

}  // namespace pinlock

#endif  // PINLOCK_LIMITS_H_
