#include "pinlock/internal/failure.h"

#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace pinlock::internal {
namespace {

// Appends to a buffer of fixed size; what does not fit is cut off.
class Line {
 public:
  explicit Line(std::span<char> text) : rest_(text) {
    if (!rest_.empty()) rest_[0] = '\0';
  }

  __attribute__((format(printf, 2, 3))) void Add(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int wanted = std::vsnprintf(rest_.data(), rest_.size(), format, arguments);
    va_end(arguments);
    if (wanted < 0 || rest_.empty()) return;
    const size_t used = static_cast<size_t>(wanted);
    rest_ = rest_.subspan(used < rest_.size() ? used : rest_.size() - 1);
  }

 private:
  std::span<char> rest_;
};

constexpr uint64_t InKib(uint64_t bytes) { return (bytes + 1023) / 1024; }

const char* NameOf(Operation operation) {
  switch (operation) {
    case Operation::kLock:
      return "mpin";
    case Operation::kCheck:
      return "mpin_check";
    case Operation::kUnlock:
      return "munpin";
    case Operation::kQuery:
      return "mpin_query";
    case Operation::kStat:
      return "mpin_get_stat";
    case Operation::kForget:
      return "mpin_forget";
    case Operation::kMoved:
      return "mpin_moved";
    case Operation::kRefresh:
      return "mpin_refresh";
    case Operation::kIoBegin:
      return "mpin_io_begin";
    case Operation::kIoEnd:
      return "mpin_io_end";
    case Operation::kSetMaxPages:
      return "mpin_set_max_pages";
  }
  return "";
}

void DescribeCure(const Failure& failure, Line& line) {
  const uint64_t enough = failure.bytes_held + failure.bytes_needed;
  if (failure.limit_hard >= enough) {
    line.Add("; cure: `ulimit -l %" PRIu64 "` (KiB) in the shell that starts it", InKib(enough));
  } else {
    line.Add("; cure, by an administrator (the hard limit is %" PRIu64 " KiB): memlock %" PRIu64
             " (KiB) in /etc/security/limits.conf",
             InKib(failure.limit_hard), InKib(enough));
  }
  line.Add(", LimitMEMLOCK=%" PRIu64 " (bytes) in the systemd unit, or --ulimit memlock=%" PRIu64
           " (bytes) for the container",
           enough, enough);
  if (failure.privilege_in_namespace_only) {
    line.Add(
        "; the CAP_IPC_LOCK held here belongs to a user namespace and does not lift the limit");
  }
}

void DescribeLimit(const Failure& failure, Line& line) {
  if (failure.cause == Cause::kLimitZero) {
    line.Add("RLIMIT_MEMLOCK is 0, which forbids every lock; %" PRIu64 " KiB asked for",
             InKib(failure.bytes_needed));
  } else {
    line.Add("over RLIMIT_MEMLOCK: %" PRIu64 " KiB allowed, %" PRIu64 " KiB locked, %" PRIu64
             " KiB more asked for",
             InKib(failure.limit_soft), InKib(failure.bytes_held), InKib(failure.bytes_needed));
  }
  DescribeCure(failure, line);
}

void DescribeOwnLimit(const Failure& failure, Line& line) {
  const bool rss = failure.cause == Cause::kRssLimit;
  line.Add("over %s: %" PRIu64 " KiB allowed, %" PRIu64 " KiB pinned, %" PRIu64
           " KiB more asked for; cure: ",
           rss ? "RLIMIT_RSS" : "PLOCK_MAX", InKib(failure.limit_soft), InKib(failure.bytes_held),
           InKib(failure.bytes_needed));
  if (rss) {
    line.Add("`ulimit -m %" PRIu64 "` (KiB) or `ulimit -m unlimited` in the shell that starts it",
             InKib(failure.bytes_held + failure.bytes_needed));
  } else {
    line.Add("a larger number for mpin_set_max_pages(), or 0 for none");
  }
}

void DescribeHeadroom(const Failure& failure, Line& line) {
  const os::Headroom& room = failure.headroom;
  const bool system = room.bound == os::Headroom::Bound::kSystem;
  if (system) {
    line.Add("the machine");
  } else {
    line.Add("the memory cgroup %s", room.group.data());
  }
  line.Add(" has room for %" PRIu64 " KiB more (%" PRIu64 " KiB in all, %" PRIu64
           " KiB used), %" PRIu64
           " KiB are asked for, and beyond that the kernel kills a process; cure: ",
           InKib(room.bytes), InKib(room.limit_bytes), InKib(room.used_bytes),
           InKib(failure.bytes_needed));
  if (system) {
    line.Add("free memory, or add some or swap space");
  } else {
    line.Add("a larger %s there, MemoryMax= in the systemd unit, or --memory for the container",
             room.bound == os::Headroom::Bound::kCgroupV1 ? "memory.limit_in_bytes" : "memory.max");
  }
}

}  // namespace

os::Errno ErrnoOf(Cause cause) {
  switch (cause) {
    case Cause::kNone:
      return os::kSuccess;
    case Cause::kRangeWraps:
    case Cause::kHole:
    case Cause::kInaccessible:
    case Cause::kPastEndOfFile:
    case Cause::kNotLockable:
    case Cause::kNotPinned:
    case Cause::kNoResult:
    case Cause::kNoIo:
    case Cause::kOverlap:
      return os::Errno(EINVAL);
    case Cause::kLimit:
    case Cause::kLimitZero:
    case Cause::kPageLimit:
    case Cause::kRssLimit:
      return os::Errno(ENOMEM);
    case Cause::kCountFull:
    case Cause::kTooManyMappings:
    case Cause::kNoMemory:
    case Cause::kNoHeadroom:
    case Cause::kNoTableMemory:
      return os::Errno(EAGAIN);
    case Cause::kNoPagemap:
      return os::Errno(ENOENT);
    case Cause::kFileSystemFull:
      return os::Errno(ENOSPC);
    case Cause::kBusy:
      return os::Errno(EBUSY);
  }
  return os::Errno(EINVAL);
}

void Describe(const Failure& failure, std::span<char> text) {
  Line line(text);
  if (failure.cause == Cause::kNone) return;
  line.Add("%s of %zu bytes at %#" PRIxPTR ": ", NameOf(failure.operation), failure.bytes,
           failure.address);
  switch (failure.cause) {
    case Cause::kNone:
      break;
    case Cause::kRangeWraps:
      line.Add("the range ends beyond the address space; check address and length");
      break;
    case Cause::kHole:
      line.Add("the page at %#" PRIxPTR " is not mapped; map the whole range first", failure.where);
      break;
    case Cause::kInaccessible:
      line.Add("the page at %#" PRIxPTR " is mapped without access (PROT_NONE); mprotect it first",
               failure.where);
      break;
    case Cause::kPastEndOfFile:
      line.Add("the page at %#" PRIxPTR " lies past the end of its file; extend the file first",
               failure.where);
      break;
    case Cause::kNotLockable:
      line.Add("the page at %#" PRIxPTR " is of a kind that the kernel never locks", failure.where);
      break;
    case Cause::kNotPinned:
      line.Add("the page at %#" PRIxPTR " is not pinned; every munpin needs an mpin before it",
               failure.where);
      break;
    case Cause::kNoResult:
      line.Add("the pointer to the answer is NULL");
      break;
    case Cause::kLimit:
    case Cause::kLimitZero:
      DescribeLimit(failure, line);
      break;
    case Cause::kPageLimit:
    case Cause::kRssLimit:
      DescribeOwnLimit(failure, line);
      break;
    case Cause::kNoHeadroom:
      DescribeHeadroom(failure, line);
      break;
    case Cause::kBusy:
      line.Add("thread %" PRId32 " uses the page at %#" PRIxPTR
               " for I/O; wait for its mpin_io_end, and try again",
               failure.thread, failure.where);
      break;
    case Cause::kNoIo:
      line.Add(
          "this thread has not begun I/O on this very range; every mpin_io_end needs an "
          "mpin_io_begin of the same thread, address and length before it");
      break;
    case Cause::kOverlap:
      line.Add("the old and the new range overlap; mremap(2) moves no memory onto itself");
      break;
    case Cause::kCountFull:
      line.Add("the page at %#" PRIxPTR
               " is pinned as often as can be counted; is an munpin missing?",
               failure.where);
      break;
    case Cause::kTooManyMappings:
      line.Add("the process is at vm.max_map_count (%" PRIu64
               " mappings), as each locked piece is one; cure: lock fewer, larger ranges, or raise "
               "it with `sysctl vm.max_map_count=%" PRIu64 "`",
               failure.mappings_max, failure.mappings_max * 2);
      break;
    case Cause::kNoMemory:
      line.Add("the machine or the memory cgroup has no memory for %" PRIu64
               " KiB more; free some, or raise the cgroup's limit",
               InKib(failure.bytes_needed));
      break;
    case Cause::kNoTableMemory:
      line.Add("no memory for the page counters; free some and try again");
      break;
    case Cause::kNoPagemap:
      line.Add("/proc/self/pagemap cannot be read (%s); is /proc mounted?",
               std::strerror(failure.error.code()));
      break;
    case Cause::kFileSystemFull:
      line.Add("no space left on the file system for the page at %#" PRIxPTR, failure.where);
      break;
  }
}

}  // namespace pinlock::internal
