#include "pinlock/mpin.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <span>

#include "os/thread_text.h"
#include "pinlock/internal/process_locker.h"

namespace {

using pinlock::internal::Cause;
using pinlock::internal::Failure;
using pinlock::internal::LockStats;
using pinlock::internal::Operation;
using pinlock::internal::PageLocker;
using pinlock::internal::ProcessLocker;
using pinlock::internal::RangeInfo;

// What mpin_error() has to tell, and room for what it may have to tell next: a call that succeeds
// changes the second alone.
thread_local Failure last_failure;
thread_local Failure attempt;

// Keeps the failure for mpin_error(); sets errno.
int Failed(os::Errno error, const Failure& failure) {
  last_failure = failure;
  errno = error.code();
  return -1;
}

Failure Refused(Cause cause, Operation operation, const void* address, size_t bytes) {
  Failure failure;
  failure.cause = cause;
  failure.error = ErrnoOf(cause);
  failure.operation = operation;
  failure.address = reinterpret_cast<uintptr_t>(address);
  failure.bytes = bytes;
  return failure;
}

// Calls `call(locker, failure)` and translates its answer.
template <typename Call>
int OnProcessLocker(Operation operation, const void* address, size_t bytes, Call call) {
  const int errno_before = errno;
  std::optional<PageLocker> locker = ProcessLocker();
  if (!locker) {
    const Failure failure = Refused(Cause::kNoTableMemory, operation, address, bytes);
    return Failed(failure.error, failure);
  }
  const os::Errno error = call(*locker, attempt);
  if (!error.ok()) return Failed(error, attempt);
  errno = errno_before;  // on the way something may have failed that was not needed
  return 0;
}

// The same for a member of PageLocker that takes a range.
int OnRange(Operation operation, const void* address, size_t bytes,
            os::Errno (PageLocker::*member)(uintptr_t, size_t, Failure&)) {
  return OnProcessLocker(operation, address, bytes, [&](PageLocker& locker, Failure& failure) {
    return (locker.*member)(reinterpret_cast<uintptr_t>(address), bytes, failure);
  });
}

}  // namespace

extern "C" {

int mpin(void* addr, size_t len) {
  const auto address = reinterpret_cast<uintptr_t>(addr);
  if (pinlock::internal::TryNestedPin(address, len)) return 0;
  return OnProcessLocker(Operation::kLock, addr, len, [&](PageLocker& locker, Failure& failure) {
    return locker.Lock(address, len, failure);
  });
}

int mpin_check(void* addr, size_t len) {
  return OnRange(Operation::kCheck, addr, len, &PageLocker::Check);
}

int munpin(void* addr, size_t len) {
  const auto address = reinterpret_cast<uintptr_t>(addr);
  if (pinlock::internal::TryNestedUnpin(address, len)) return 0;
  return OnProcessLocker(Operation::kUnlock, addr, len, [&](PageLocker& locker, Failure& failure) {
    return locker.Unlock(address, len, failure);
  });
}

int mpin_refresh(void* addr, size_t len) {
  return OnRange(Operation::kRefresh, addr, len, &PageLocker::Refresh);
}

int mpin_forget(void* addr, size_t len) {
  return OnRange(Operation::kForget, addr, len, &PageLocker::Forget);
}

int mpin_moved(void* old_addr, size_t old_len, void* new_addr, size_t new_len) {
  const auto call = [&](PageLocker& locker, Failure& failure) {
    return locker.Moved({reinterpret_cast<uintptr_t>(old_addr), old_len},
                        {reinterpret_cast<uintptr_t>(new_addr), new_len}, failure);
  };
  return OnProcessLocker(Operation::kMoved, old_addr, old_len, call);
}

int mpin_io_begin(void* addr, size_t len) {
  return OnRange(Operation::kIoBegin, addr, len, &PageLocker::IoBegin);
}

int mpin_io_end(void* addr, size_t len) {
  return OnRange(Operation::kIoEnd, addr, len, &PageLocker::IoEnd);
}

int mpin_set_max_pages(uint64_t pages) {
  if (pinlock::internal::SetProcessMaxPages(pages)) return 0;
  const Failure failure = Refused(Cause::kNoTableMemory, Operation::kSetMaxPages, nullptr, 0);
  return Failed(failure.error, failure);
}

int mpin_query(const void* addr, size_t len, struct mpin_info* info) {
  if (info == nullptr) {
    return Failed(os::Errno(EINVAL), Refused(Cause::kNoResult, Operation::kQuery, addr, len));
  }
  return OnProcessLocker(Operation::kQuery, addr, len, [&](PageLocker& locker, Failure& failure) {
    RangeInfo range;
    const os::Errno error = locker.Query(reinterpret_cast<uintptr_t>(addr), len, range, failure);
    if (error.ok()) {
      *info = {range.pages, range.pages_locked, range.pages_resident, range.count_min,
               range.count_max};
    }
    return error;
  });
}

const char* mpin_error(void) {
  thread_local os::ThreadText<768> text;
  if (const std::span<char> buffer = text.buffer(); !buffer.empty()) {
    Describe(last_failure, buffer);
  }
  return text.text();
}

int mpin_get_stat(struct mpin_stat* stat, size_t size) {
  if (stat == nullptr) {
    return Failed(os::Errno(EINVAL), Refused(Cause::kNoResult, Operation::kStat, stat, size));
  }
  std::optional<PageLocker> locker = ProcessLocker();
  const LockStats now = locker ? locker->Stats() : LockStats();
  const mpin_stat known = {now.pages_locked, now.pages_residual, now.pins,         now.unpins,
                           now.kernel_locks, now.kernel_unlocks, now.failures,     now.forgotten,
                           now.pages_max,    now.failures_limit, now.failures_room};
  std::memset(stat, 0, size);
  std::memcpy(stat, &known, std::min(size, sizeof(known)));
  return 0;
}

}  // extern "C"
