// The part of PageLocker that tells, and the settings.

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>

#include "os/thread_id.h"
#include "pinlock/internal/page_locker.h"
#include "pinlock/internal/runs.h"

namespace pinlock::internal {

os::Errno PageLocker::Query(uintptr_t address, size_t bytes, RangeInfo& info, Failure& failure) {
  const os::Result<os::PageRange> range = PagesOf({address, bytes}, Operation::kQuery, failure);
  if (!range.ok()) return range.error();
  const os::Result<os::PageCount> present = memory_.CountPresent(*range);
  const TableHolder holder(state_);
  if (!present.ok()) {
    // What pagemap does not know is beyond the address space.
    const bool beyond = present.error() == os::Errno(EINVAL);
    (void)Fail(beyond ? Cause::kRangeWraps : Cause::kNoPagemap, range->begin(), failure);
    return failure.error = present.error();
  }
  info = RangeInfo();
  info.pages = range->count().value();
  info.pages_resident = present->value();
  info.count_min = range->empty() ? uint16_t{0} : LockTable::kMaxCount;
  for (os::PageRange rest = *range; !rest.empty();) {
    const LockTable::Segment segment = state_.table.FirstSegment(rest);
    info.count_min = std::min(info.count_min, segment.count);
    info.count_max = std::max(info.count_max, segment.count);
    if (segment.count > 0) info.pages_locked += segment.pages.count().value();
    rest = os::PageRange(segment.pages.end(), rest.end());
  }
  return os::kSuccess;
}

LockStats PageLocker::Stats() {
  const TableHolder holder(state_);
  LockStats stats = state_.stats;
  const LockTable::NestedChanges nested = state_.table.CountNestedChanges();
  stats.pages_locked = state_.table.pages_locked();
  const uint64_t residual = state_.table.pages_residual();
  stats.pages_residual = residual - std::min(residual, state_.pages_unlocking);
  stats.pages_max = state_.pages_max;
  stats.pins += nested.pins;
  stats.unpins += nested.unpins;
  return stats;
}

void PageLocker::SetMaxPages(const std::atomic<uint64_t>& pages) {
  const TableHolder holder(state_);
  state_.pages_max = pages;
}

void PageLocker::SetVerify(bool verify) {
  const TableHolder holder(state_);
  state_.verify = verify;
}

os::Errno PageLocker::IoBegin(uintptr_t address, size_t bytes, Failure& failure) {
  const os::Result<os::PageRange> range = PagesOf({address, bytes}, Operation::kIoBegin, failure);
  if (!range.ok()) return range.error();
  if (range->empty()) return os::kSuccess;
  const TableHolder holder(state_);
  const Claim claim(state_, memory_, *range);
  if (state_.table.SurveyOf(*range).unlocked()) {
    return FailAtFirst(Cause::kNotPinned, *range, 0, failure);
  }
  TableBlocks blocks(state_.blocks, memory_);
  if (state_.io.Begin(*range, os::CurrentThread(), blocks).ok()) return os::kSuccess;
  return Fail(Cause::kNoTableMemory, range->begin(), failure);
}

os::Errno PageLocker::IoEnd(uintptr_t address, size_t bytes, Failure& failure) {
  const os::Result<os::PageRange> range = PagesOf({address, bytes}, Operation::kIoEnd, failure);
  if (!range.ok()) return range.error();
  if (range->empty()) return os::kSuccess;
  const TableHolder holder(state_);
  if (state_.io.End(*range, os::CurrentThread())) return os::kSuccess;
  return Fail(Cause::kNoIo, range->begin(), failure);
}

// Aborts where pages that have counts are not locked in the kernel.
void PageLocker::VerifyLocked(os::PageRange range, const Failure& call) {
  os::PageNumber lost = range.end();
  bool mapped = true;
  {
    const TableRelease release(state_);
    const os::Result<bool> all = memory_.AllLocked(range);
    if (!all.ok() || *all) return;
    const auto is_locked = [this](os::PageNumber page) {
      const os::Result<bool> locked = memory_.AllLocked(os::PageRange(page, os::PageCount(1)));
      return !locked.ok() || *locked;
    };
    for (lost = range.begin(); lost < range.end() && is_locked(lost);) {
      lost = lost + os::PageCount(1);
    }
    if (lost == range.end()) return;  // another thread's doing, and undone
    // Memory that the kernel accepts without ever locking it (vdso, hugetlbfs) is not lost.
    const os::PageRange page(lost, os::PageCount(1));
    if (memory_.Lock(page).ok() && !is_locked(lost)) return;
    mapped = memory_.CheckMapped(os::PageRange(lost, os::PageCount(1))).ok();
  }
  const LockTable::Segment segment =
      state_.table.FirstSegment(os::PageRange(lost, os::PageCount(1)));
  std::fprintf(stderr,
               "PINLOCK_VERIFY: %s of %zu bytes at %#" PRIxPTR ": the page at %#" PRIxPTR
               " is counted as pinned %u times, but in the kernel it is %s. Somebody has called %s "
               "on it while it was pinned; see pinlock(7).\n",
               call.operation == Operation::kLock ? "mpin" : "munpin", call.bytes, call.address,
               lost.address(memory_.page_size()), segment.count,
               mapped ? "mapped but not locked" : "not mapped",
               mapped ? "munlock(2), munlockall(2), or munmap(2) and mmap(2)" : "munmap(2)");
  std::abort();
}

}  // namespace pinlock::internal
