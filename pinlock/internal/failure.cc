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
    case Operation::kUnlock:
      return "munpin";
    case Operation::kQuery:
      return "mpin_query";
    case Operation::kStat:
      return "mpin_get_stat";
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
      return os::Errno(EINVAL);
    case Cause::kLimit:
    case Cause::kLimitZero:
      return os::Errno(ENOMEM);
    case Cause::kCountFull:
    case Cause::kTooManyMappings:
    case Cause::kNoMemory:
    case Cause::kNoTableMemory:
      return os::Errno(EAGAIN);
    case Cause::kNoPagemap:
      return os::Errno(ENOENT);
    case Cause::kFileSystemFull:
      return os::Errno(ENOSPC);
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
