#include "pinlock/internal/page_locker.h"

#include <algorithm>

#include "os/coarse_clock.h"
#include "os/thread_id.h"
#include "pinlock/internal/diagnosis.h"
#include "pinlock/internal/probes.h"
#include "pinlock/internal/runs.h"

namespace pinlock::internal {
namespace {

// From this size on a range is looked at before the table grows for it: a mistaken length of 2^56
// bytes would cost 128 GiB of table.
constexpr os::PageCount kLargeRange(uint64_t{1} << 24);

bool IsLimit(Cause cause) {
  return cause == Cause::kLimit || cause == Cause::kLimitZero || cause == Cause::kPageLimit ||
         cause == Cause::kRssLimit;
}

bool TakesManySteps(os::PageCount pages) { return pages.value() > LockTable::kPagesPerLeaf; }

}  // namespace

os::Errno PageLocker::Fail(Cause cause, os::PageNumber where, Failure& failure) {
  failure.cause = cause;
  failure.error = ErrnoOf(cause);
  failure.where = where.address(memory_.page_size());
  CountFailure(failure);
  return failure.error;
}

void PageLocker::CountFailure(const Failure& failure) {
  probe::PinFailed(failure.where, failure.bytes_needed, failure.error);
  ++state_.stats.failures;
  if (IsLimit(failure.cause)) ++state_.stats.failures_limit;
  if (failure.cause == Cause::kNoHeadroom || failure.cause == Cause::kNoMemory) {
    ++state_.stats.failures_room;
  }
}

// Fails for the first page of the range that has the count.
os::Errno PageLocker::FailAtFirst(Cause cause, os::PageRange range, uint16_t count,
                                  Failure& failure) {
  const auto has_count = [count](const LockTable::Segment& s) { return s.count == count; };
  const auto run = NextRun(state_.table, range, has_count);
  return Fail(cause, run ? run->begin() : range.begin(), failure);
}

os::Result<os::PageRange> PageLocker::PagesOf(ByteRange bytes, Operation operation,
                                              Failure& failure) {
  failure.cause = Cause::kNone;
  failure.operation = operation;
  failure.address = bytes.address;
  failure.bytes = bytes.bytes;
  const os::Result<os::PageRange> range =
      os::PageRange::Covering(bytes.address, bytes.bytes, memory_.page_size());
  if (range.ok() && (range->empty() || LockTable::Covers(*range))) return range;
  const TableHolder holder(state_);
  return Fail(Cause::kRangeWraps, os::PageNumber(0), failure);
}

os::Errno PageLocker::Prepare(os::PageRange range, bool all_counted, Failure& failure) {
  TableBlocks blocks(state_.blocks, memory_);
  const os::Errno error =
      all_counted ? state_.table.PrepareEdges(range, blocks) : state_.table.Prepare(range, blocks);
  if (error.ok()) return error;
  return Fail(Cause::kNoTableMemory, range.begin(), failure);
}

os::Errno PageLocker::Lock(uintptr_t address, size_t bytes, Failure& failure) {
  const os::Result<os::PageRange> range = PagesOf({address, bytes}, Operation::kLock, failure);
  if (!range.ok()) return range.error();
  const TableHolder holder(state_);
  RetryResidual();
  const Claim claim(state_, memory_, *range);
  return LockClaimed(*range, failure);
}

os::Errno PageLocker::Check(uintptr_t address, size_t bytes, Failure& failure) {
  const os::Result<os::PageRange> range = PagesOf({address, bytes}, Operation::kCheck, failure);
  if (!range.ok()) return range.error();
  const TableHolder holder(state_);
  RetryResidual();
  if (state_.table.SurveyOf(*range).full()) {
    return FailAtFirst(Cause::kCountFull, *range, LockTable::kMaxCount, failure);
  }
  const os::PageCount more = CountUnlocked(*range);
  if (more == os::PageCount(0)) return os::kSuccess;
  if (const os::Errno error = FindObstacle(*range, os::PageCount(0), failure); !error.ok()) {
    return error;
  }
  const os::PageCount held(state_.table.pages_locked() + state_.pages_pending);
  const os::Errno error = CheckLimits(*range, held, more, failure);
  if (!error.ok() || TakesManySteps(more)) return error;
  return CheckAtOnce(*range, more, failure);
}

os::Errno PageLocker::LockClaimed(os::PageRange range, Failure& failure) {
  const LockTable::Survey survey = state_.table.SurveyOf(range);
  if (survey.full()) return FailAtFirst(Cause::kCountFull, range, LockTable::kMaxCount, failure);
  if (survey.unlocked() && range.count() >= kLargeRange) {
    const os::PageCount more = CountUnlocked(range);
    if (const os::Errno error = FindObstacle(range, more, failure); !error.ok()) return error;
  }
  if (const os::Errno error = Prepare(range, !survey.unlocked(), failure); !error.ok())
    return error;
  if (survey.unlocked()) {
    const os::Errno error = LockUncounted(range, survey.counted(), failure);
    if (!error.ok()) return error;
  } else if (state_.verify) {
    VerifyLocked(range, failure);
  }
  TableBlocks blocks(state_.blocks, memory_);
  state_.table.Increment(range, blocks);
  ++state_.stats.pins;
  return os::kSuccess;
}

// Locks what is at 0 of a range, some of which may be counted.
os::Errno PageLocker::LockUncounted(os::PageRange range, bool some_counted, Failure& failure) {
  if (some_counted) {
    if (const auto hole = FirstHole(range)) return Fail(Cause::kHole, *hole, failure);
  }
  const os::PageCount more = some_counted ? CountUnlocked(range) : range.count();
  // From now on they count for others, before the latch is let go: two calls that fit each for itself
  // must not pass together.
  const os::PageCount held(state_.table.pages_locked() + state_.pages_pending);
  state_.pages_pending += more.value();
  os::Errno error = CheckLimits(range, held, more, failure);
  if (error.ok()) error = LockRuns(range, !some_counted, failure);
  state_.pages_pending -= std::min(state_.pages_pending, more.value());
  if (!error.ok()) return error;
  // Nested pins of others have gone on meanwhile.
  if (!some_counted || !state_.table.SurveyOf(range).full()) return os::kSuccess;
  UnlockRuns(range, IsUnlocked);
  return FailAtFirst(Cause::kCountFull, range, LockTable::kMaxCount, failure);
}

// Whether something is bound to fail: a page that is not mapped or not accessible, or the kernel's
// limit for `more` pages. 0: nothing is.
os::Errno PageLocker::FindObstacle(os::PageRange range, os::PageCount more, Failure& failure) {
  bool found = false;
  {
    const TableRelease release(state_);
    found = DiagnoseBeforehand(memory_, limits_, range, more, failure);
  }
  if (!found) return os::kSuccess;
  CountFailure(failure);
  return failure.error;
}

// The limits that the kernel leaves to us, and its own where many steps would find out late.
os::Errno PageLocker::CheckLimits(os::PageRange range, os::PageCount held, os::PageCount more,
                                  Failure& failure) {
  const size_t page_size = memory_.page_size();
  const std::optional<uint64_t> rss = limits_.Rss();
  const bool over_pages = state_.pages_max != 0 && (held + more).value() > state_.pages_max;
  const bool over_rss = rss && (held + more).bytes(page_size) > *rss;
  if ((over_pages || over_rss) && !IsPrivileged()) {
    // A bad range comes first: no limit that is raised would cure it.
    if (const os::Errno error = FindObstacle(range, os::PageCount(0), failure); !error.ok()) {
      return error;
    }
    failure.limit_soft = over_pages ? os::PageCount(state_.pages_max).bytes(page_size) : *rss;
    failure.bytes_held = held.bytes(page_size);
    failure.bytes_needed = more.bytes(page_size);
    return Fail(over_pages ? Cause::kPageLimit : Cause::kRssLimit, range.begin(), failure);
  }
  return TakesManySteps(more) ? CheckAtOnce(range, more, failure) : os::kSuccess;
}

// What many steps would find out late: the kernel's own limit, and the room for all of them.
os::Errno PageLocker::CheckAtOnce(os::PageRange range, os::PageCount more, Failure& failure) {
  // Asking is an mlock(2), which waits for the address space.
  const auto allows = [this](os::PageCount pages) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const TableRelease release(state_);
    return memory_.CheckLockLimit(pages).ok();
  };
  if (!allows(more)) {
    // Pages that somebody has locked by mlock(2) are charged already.
    const os::PageCount uncharged = CountUncharged(range);
    if (!allows(uncharged)) return FindObstacle(range, uncharged, failure);
  }
  if (state_.notes.TakeRoom(more, os::CoarseNow())) return os::kSuccess;
  os::Errno error;
  {
    const TableRelease release(state_);
    Room room;
    error = Admission(memory_, limits_).CheckRoom(range, Supply::kUnknown, room, failure);
  }
  if (error.ok()) return error;
  const os::Errno obstacle = FindObstacle(range, more, failure);
  if (!obstacle.ok()) return obstacle;
  failure.bytes_needed = more.bytes(memory_.page_size());
  return Fail(Cause::kNoHeadroom, range.begin(), failure);
}

// How many pages of the range, at 0, are not locked in the kernel.
os::PageCount PageLocker::CountUncharged(os::PageRange range) {
  os::PageCount uncharged;
  while (auto run = NextRun(state_.table, range, IsUnlocked)) {
    const TableRelease release(state_);
    while (!run->empty()) {
      const Part part = NextPart(memory_, *run);
      const os::Result<bool> locked = memory_.AllLocked(part.pages);
      if (!locked.ok() || !*locked) uncharged += part.pages.count();
    }
  }
  return uncharged;
}

bool PageLocker::IsPrivileged() {
  const TableRelease release(state_);
  return limits_.Privileged();
}

// Locks every run of the range that is at 0 (`whole`: all of it is); all of them or, seen from
// outside, none.
os::Errno PageLocker::LockRuns(os::PageRange range, bool whole, Failure& failure) {
  os::PageRange rest = whole ? os::PageRange(range.end(), range.end()) : range;
  std::optional<os::PageRange> run =
      whole ? std::optional(range) : NextRun(state_.table, rest, IsUnlocked);
  std::optional<Pacer> pacer;  // for a run of many steps: reading the clock costs something
  for (; run; run = NextRun(state_.table, rest, IsUnlocked)) {
    if (!pacer && run->count().value() > LockTable::kPagesPerLeaf) pacer.emplace();
    while (!run->empty()) {
      const os::PageRange step = FirstStep(*run);
      bool touched = false;
      const os::Errno error = LockStep(step, touched, failure);
      if (error.ok()) {
        *run = os::PageRange(step.end(), run->end());
        if (pacer) BetweenSteps(*pacer);
        continue;
      }
      // The kernel leaves the failed step half done, so that one is undone too.
      UnlockRuns(os::PageRange(range.begin(), touched ? step.end() : step.begin()), IsUnlocked);
      return Explain(range, CountUnlocked(range), error, failure);
    }
  }
  return os::kSuccess;
}

// Finds out why `more` pages of the range could not be locked, after a LockStep that failed with
// the error.
os::Errno PageLocker::Explain(os::PageRange range, os::PageCount more, os::Errno error,
                              Failure& failure) {
  {
    const TableRelease release(state_);
    failure.bytes_needed = more.bytes(memory_.page_size());
    if (failure.cause == Cause::kNone) {
      Diagnose(memory_, limits_, range, more, error, failure);
    } else {
      // It was refused before the kernel could say what else is wrong.
      (void)DiagnoseBeforehand(memory_, limits_, range, more, failure);
    }
  }
  CountFailure(failure);
  return failure.error;
}

// Locks at most 2 MiB. `touched`: the kernel was asked to lock. `failure` is filled in where it is
// not the kernel that refuses.
os::Errno PageLocker::LockStep(os::PageRange step, bool& touched, Failure& failure) {
  const os::CoarseTime now = os::CoarseNow();
  const bool known_plain = state_.notes.AreKnownPlain(step, now);
  const uint64_t plain_epoch = state_.notes.plain_epoch();
  const bool has_room = state_.notes.TakeRoom(step.count(), now);
  const Supply supply = state_.notes.SupplyAt(now);
  os::PageRange plain;
  Room room;
  os::Errno error;
  {
    const TableRelease release(state_);
    Admission admission(memory_, limits_);
    const os::Errno blocks = known_plain ? os::kSuccess : admission.ReserveBlocks(step, plain);
    bool no_blocks = blocks == os::Errno(ENOSPC);
    if (blocks == os::Errno(EAGAIN)) error = blocks;  // no memory to find out
    if (!no_blocks && error.ok() && !has_room) {
      error = admission.CheckRoom(step, supply, room, failure);
    }
    if (!no_blocks && error.ok()) {
      touched = true;
      error = memory_.Lock(step);
      no_blocks = error.ok() && blocks == os::Errno(EFAULT);
    }
    if (no_blocks) {
      failure.cause = Cause::kFileSystemFull;
      failure.where = step.begin().address(memory_.page_size());
      error = failure.error = ErrnoOf(failure.cause);
    }
  }
  if (touched) ++state_.stats.kernel_locks;
  probe::Lock(step.begin().address(memory_.page_size()), step.count().value(), error);
  if (!error.ok()) return error;
  if (!known_plain) state_.notes.SetPlain(plain, now, plain_epoch);
  state_.notes.SetRoom(room, now);
  return os::kSuccess;
}

// How many pages of the range are at 0.
os::PageCount PageLocker::CountUnlocked(os::PageRange range) const {
  os::PageCount pages;
  while (const auto run = NextRun(state_.table, range, IsUnlocked)) pages += run->count();
  return pages;
}

os::Errno PageLocker::Unlock(uintptr_t address, size_t bytes, Failure& failure) {
  const os::Result<os::PageRange> range = PagesOf({address, bytes}, Operation::kUnlock, failure);
  if (!range.ok()) return range.error();
  const TableHolder holder(state_);
  RetryResidual();
  const Claim claim(state_, memory_, *range);
  return UnlockClaimed(*range, failure);
}

os::Errno PageLocker::UnlockClaimed(os::PageRange range, Failure& failure) {
  const LockTable::Survey survey = state_.table.SurveyOf(range);
  if (survey.unlocked()) return FailAtFirst(Cause::kNotPinned, range, 0, failure);
  if (!state_.io.empty()) {
    if (const auto user = state_.io.FindOther(range, os::CurrentThread(), os::IsAlive)) {
      failure.thread = user->thread;
      return Fail(Cause::kBusy, user->page, failure);
    }
  }
  if (const os::Errno error = Prepare(range, true, failure); !error.ok()) return error;
  if (!survey.last() && state_.verify) VerifyLocked(range, failure);
  if (survey.last() && range.count() == os::PageCount(1)) return UnlockLastOfPage(range, failure);
  // munlock(2) would unlock the part before a hole, so the holes are looked for first.
  if (survey.last()) {
    if (const auto hole = FirstHole(range)) return Fail(Cause::kHole, *hole, failure);
  }
  TableBlocks blocks(state_.blocks, memory_);
  const uint64_t residual_before = state_.table.pages_residual();
  state_.table.Decrement(range, blocks);
  state_.pages_unlocking += state_.table.pages_residual() - residual_before;
  if (survey.last()) UnlockRuns(range, IsResidual);
  ++state_.stats.unpins;
  return os::kSuccess;
}

// The same for one page at 1. Of one page munlock(2) unlocks no part, so it is itself asked whether
// the page is mapped.
os::Errno PageLocker::UnlockLastOfPage(os::PageRange page, Failure& failure) {
  TableBlocks blocks(state_.blocks, memory_);
  state_.table.Decrement(page, blocks);
  ++state_.pages_unlocking;
  ++state_.stats.kernel_unlocks;
  bool unlocked = false, mapped = true;
  {
    const TableRelease release(state_);
    unlocked = memory_.Unlock(page).ok();
    if (!unlocked) mapped = FirstUnmapped(memory_, page) == page.end();
  }
  state_.pages_unlocking -= std::min<uint64_t>(state_.pages_unlocking, 1);
  if (!mapped) {
    state_.table.SetCount(page, 1, blocks);
    return Fail(Cause::kHole, page.begin(), failure);
  }
  if (unlocked) state_.table.SetResidual(page, false, blocks);
  ++state_.stats.unpins;
  return os::kSuccess;
}

// Unlocks every run of the range whose pages, at 0, are as wanted. What the kernel refuses to
// unlock is residual afterwards, and the rest is not. Prepared; those that are residual already are
// among `pages_unlocking`.
void PageLocker::UnlockRuns(os::PageRange range, bool (*wanted)(const LockTable::Segment&)) {
  std::optional<Pacer> pacer;
  while (auto run = NextRun(state_.table, range, wanted)) {
    if (!pacer && run->count().value() > LockTable::kPagesPerLeaf) pacer.emplace();
    while (!run->empty()) {
      const os::PageRange step = FirstStep(*run);
      (void)UnlockUncounted(step);
      if (wanted == IsResidual) {
        state_.pages_unlocking -= std::min(state_.pages_unlocking, step.count().value());
      }
      *run = os::PageRange(step.end(), run->end());
      if (pacer) BetweenSteps(*pacer);
    }
  }
}

void PageLocker::BetweenSteps(Pacer& pacer) {
  const TableRelease release(state_);
  pacer.BetweenSteps();
}

// Unlocks pages at 0 and marks those that the kernel refuses to unlock. False: there are some.
bool PageLocker::UnlockUncounted(os::PageRange run) {
  TableBlocks blocks(state_.blocks, memory_);
  ++state_.stats.kernel_unlocks;
  bool unlocked = false;
  {
    const TableRelease release(state_);
    unlocked = memory_.Unlock(run).ok();
  }
  if (unlocked && state_.table.pages_residual() == 0) return true;
  state_.table.SetResidual(run, !unlocked, blocks);
  if (unlocked) return true;
  bool all = true;
  // A hole stops munlock(2), as a mapping does that it cannot split: go on with each part.
  while (!run.empty()) {
    Part part{};
    {
      const TableRelease release(state_);
      part = NextPart(memory_, run);
      if (part.mapped && !memory_.Unlock(part.pages).ok()) {
        all = false;
        continue;
      }
    }
    if (part.mapped) ++state_.stats.kernel_unlocks;
    // Without memory for a finer mark the coarse one stays: a retry does no harm.
    if (!state_.table.Prepare(part.pages, blocks).ok()) continue;
    state_.table.SetResidual(part.pages, false, blocks);
  }
  return all;
}

// The first page of the range that is not mapped. nullopt: all are.
std::optional<os::PageNumber> PageLocker::FirstHole(os::PageRange range) {
  const TableRelease release(state_);
  if (memory_.CheckMapped(range).ok()) return std::nullopt;
  const os::PageNumber hole = FirstUnmapped(memory_, range);
  return hole == range.end() ? std::nullopt : std::optional(hole);
}

// Tries again to unlock what the kernel refused to unlock before, where nobody else is at work: a
// few runs at each call, in turn, and no more once the kernel has refused again.
void PageLocker::RetryResidual() {
  constexpr int kRunsMax = 16;
  // What an ended thread has left keeps the gate closed, too.
  if (!state_.io.empty()) state_.io.DropDead(os::IsAlive);
  if (!state_.has_residual()) return;
  TableBlocks blocks(state_.blocks, memory_);
  const os::PageRange hull = state_.table.residual_hull();
  const os::PageNumber first = hull.contains(state_.next_retry) ? state_.next_retry : hull.begin();
  int runs = 0;
  for (os::PageRange rest :
       {os::PageRange(first, hull.end()), os::PageRange(hull.begin(), first)}) {
    while (const auto run = NextRun(state_.table, rest, IsResidual)) {
      state_.next_retry = run->end();
      if (Claim::IsClaimed(state_, *run)) continue;
      const Claim claim(state_, memory_, *run);
      // The first may be the rest of a longer one.
      if (!state_.table.Prepare(*run, blocks).ok()) continue;
      if (!UnlockUncounted(*run) || ++runs == kRunsMax) return;
    }
  }
}

}  // namespace pinlock::internal
