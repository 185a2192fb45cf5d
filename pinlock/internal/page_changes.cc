// The part of PageLocker that follows what happens to the memory itself: it is unmapped, replaced,
// moved, or copied by a fork.

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "pinlock/internal/diagnosis.h"
#include "pinlock/internal/page_locker.h"
#include "pinlock/internal/runs.h"

namespace pinlock::internal {
namespace {

constexpr os::PageRange kWholeTable(os::PageNumber(0), os::PageNumber(LockTable::kPageNumbers));

bool IsHeld(const LockTable::Segment& segment) { return segment.count > 0 || segment.residual; }

}  // namespace

bool PageLocker::HoldsAny(os::PageRange range) const {
  if (state_.table.pages_locked() + state_.table.pages_residual() == 0) return false;
  return NextRun(state_.table, range, IsHeld).has_value();
}

// Takes the counts and marks of the pages away. With `unlock`, unlocks what of it is mapped.
// Prepared; claimed where it unlocks.
void PageLocker::Drop(os::PageRange range, bool unlock) {
  TableBlocks blocks(state_.blocks, memory_);
  state_.notes.ForgetPlain();
  state_.io.Forget(range);
  while (const auto run = NextRun(state_.table, range, IsHeld)) {
    state_.stats.forgotten += run->count().value();
    if (unlock) {
      // Marked until it is unlocked, as at an unpin: what the kernel refuses is not forgotten.
      state_.table.SetCount(*run, 0, blocks, LockTable::Mark::kResidual);
      state_.pages_unlocking += run->count().value();
      UnlockRuns(*run, IsResidual);
      state_.pages_unlocking -= std::min<uint64_t>(state_.pages_unlocking, run->count().value());
    } else {
      state_.table.SetCount(*run, 0, blocks);
    }
  }
}

// Drops what is not mapped any more. Claimed.
void PageLocker::DropHoles(os::PageRange range) {
  TableBlocks blocks(state_.blocks, memory_);
  while (!range.empty()) {
    Part part{};
    {
      const TableRelease release(state_);
      part = NextPart(memory_, range);
    }
    if (!part.mapped && state_.table.Prepare(part.pages, blocks).ok()) Drop(part.pages, false);
  }
}

os::Errno PageLocker::Forget(uintptr_t address, size_t bytes, Failure& failure) {
  const os::Result<os::PageRange> range = PagesOf({address, bytes}, Operation::kForget, failure);
  if (!range.ok()) return range.error();
  const TableHolder holder(state_);
  state_.io.Forget(*range);
  state_.notes.ForgetPlain();  // whatever was held there: it is other memory now
  if (!HoldsAny(*range)) return os::kSuccess;
  const Claim claim(state_, memory_, *range);
  for (os::PageRange rest = *range; const auto run = NextRun(state_.table, rest, IsHeld);) {
    if (const os::Errno error = Prepare(*run, false, failure); !error.ok()) return error;
  }
  Drop(*range, true);
  return os::kSuccess;
}

bool PageLocker::Replacing(ByteRange bytes, bool unlock, absl::FunctionRef<bool()> call) {
  const os::Result<os::PageRange> range =
      os::PageRange::Covering(bytes.address, bytes.bytes, memory_.page_size());
  if (!range.ok() || range->empty() || !LockTable::Covers(*range)) return call();
  bool done = false;
  int error = 0;
  {
    const TableHolder holder(state_);
    if (HoldsAny(*range)) {
      const Claim claim(state_, memory_, *range);
      TableBlocks blocks(state_.blocks, memory_);
      for (os::PageRange rest = *range; const auto run = NextRun(state_.table, rest, IsHeld);) {
        if (state_.table.Prepare(*run, blocks).ok()) continue;
        errno = ENOMEM;
        return false;
      }
      // Held across the call: memory that is gone must not be found pinned by whoever gets the
      // addresses next.
      done = call();
      error = errno;
      // madvise(2) over a hole says ENOMEM and has dropped all the rest. A count too few can be seen,
      // a lock that is not there cannot.
      if (done || (unlock && error == ENOMEM)) {
        Drop(*range, unlock);
      } else {
        DropHoles(*range);
      }
      errno = error;
      return done;
    }
    state_.notes.ForgetPlain();
    state_.io.Forget(*range);
  }
  return call();
}

// Makes sure of memory for the counts of so many pages at another place, cut up in whatever way.
bool PageLocker::ReserveForMove(os::PageCount pages) {
  TableBlocks blocks(state_.blocks, memory_);
  const uint64_t leaves = pages.value() / LockTable::kPagesPerLeaf + 4;
  const uint64_t nodes = 8 + leaves / LockTable::kPagesPerLeaf;
  return blocks.Reserve(nodes, leaves);
}

// Moves the counts of `from` to the front of `to`; those that `to` had are gone. Memory has been
// reserved. The ranges do not overlap.
void PageLocker::MoveCounts(os::PageRange from, os::PageRange to) {
  TableBlocks blocks(state_.blocks, memory_);
  using Mark = LockTable::Mark;
  const auto set = [&](os::PageRange pages, uint16_t count, Mark mark)
                       ABSL_NO_THREAD_SAFETY_ANALYSIS {
                         if (!state_.table.Prepare(pages, blocks).ok()) std::abort();  // reserved
                         state_.table.SetCount(pages, count, blocks, mark);
                       };
  for (os::PageRange rest = to; const auto run = NextRun(state_.table, rest, IsHeld);) {
    state_.stats.forgotten += run->count().value();
    set(*run, 0, Mark::kNone);
  }
  const os::PageCount common = std::min(from.count(), to.count());
  for (os::PageRange rest = from; !rest.empty();) {
    const LockTable::Segment segment = state_.table.FirstSegment(rest);
    rest = os::PageRange(segment.pages.end(), rest.end());
    if (!IsHeld(segment)) continue;
    const os::PageCount before = segment.pages.begin() - from.begin();
    if (before < common) {
      const os::PageCount moved = std::min(segment.pages.count(), common - before);
      // A page that is still locked because the kernel refused to unlock it is so at its new place.
      set(os::PageRange(to.begin() + before, moved), segment.count,
          segment.residual ? Mark::kResidual : Mark::kNone);
    }
    set(segment.pages, 0, Mark::kNone);
  }
}

os::Errno PageLocker::Moved(ByteRange from_bytes, ByteRange to_bytes, Failure& failure) {
  const os::Result<os::PageRange> from = PagesOf(from_bytes, Operation::kMoved, failure);
  if (!from.ok()) return from.error();
  Failure other;
  const os::Result<os::PageRange> to = PagesOf(to_bytes, Operation::kMoved, other);
  if (!to.ok()) {
    failure = other;
    return to.error();
  }
  const TableHolder holder(state_);
  const bool in_place = from->begin() == to->begin();
  if (!in_place && !from->Intersection(*to).empty()) {
    return Fail(Cause::kOverlap, to->begin(), failure);
  }
  const Claim claim(state_, memory_, *from, *to);
  if (!ReserveForMove(std::max(from->count(), to->count()))) {
    return Fail(Cause::kNoTableMemory, to->begin(), failure);
  }
  FollowMove(*from, *to);
  return os::kSuccess;
}

// Claimed, memory reserved.
void PageLocker::FollowMove(os::PageRange from, os::PageRange to) {
  TableBlocks blocks(state_.blocks, memory_);
  // An empty range is mremap(2)'s way to map shared memory a second time.
  const os::PageRange source = from.empty() ? os::PageRange(from.begin(), os::PageCount(1)) : from;
  const bool was_locked = HoldsAny(source);
  state_.notes.ForgetPlain();
  if (from.begin() != to.begin()) {
    state_.io.Forget(from);
    state_.io.Forget(to);
    MoveCounts(from, to);
  } else {
    // What was cut off, or what counts were left behind by what lay where it grew.
    const os::PageNumber changed = std::min(from.end(), to.end());
    const os::PageRange dropped(changed, std::max(from.end(), to.end()));
    for (os::PageRange rest = dropped; const auto run = NextRun(state_.table, rest, IsHeld);) {
      if (!state_.table.Prepare(*run, blocks).ok()) std::abort();  // reserved
    }
    Drop(dropped, false);
  }
  // What a locked mapping grows by is locked by the kernel, and nobody has pinned it.
  if (was_locked && to.count() > from.count()) {
    const os::PageRange grown(to.begin() + from.count(), to.end());
    ++state_.stats.kernel_unlocks;
    bool unlocked = false;
    {
      const TableRelease release(state_);
      unlocked = memory_.Unlock(grown).ok();
    }
    // What the kernel refuses to unlock is not forgotten; memory for the marks was reserved.
    if (!unlocked && state_.table.Prepare(grown, blocks).ok()) {
      state_.table.SetResidual(grown, true, blocks);
    }
  }
}

uintptr_t PageLocker::Remapping(ByteRange from_bytes, size_t new_bytes,
                                absl::FunctionRef<uintptr_t()> call) {
  const size_t page_size = memory_.page_size();
  const os::Result<os::PageRange> from =
      os::PageRange::Covering(from_bytes.address, from_bytes.bytes, page_size);
  const os::Result<os::PageRange> size = os::PageRange::Covering(0, new_bytes, page_size);
  if (!from.ok() || !size.ok() || !LockTable::Covers(*from)) return call();
  {
    const TableHolder holder(state_);
    // Where it goes is not known before; it may be to where something is pinned (MREMAP_FIXED).
    if (state_.table.pages_locked() + state_.table.pages_residual() > 0) {
      const Claim claim(state_, memory_, kWholeTable);
      if (!ReserveForMove(std::max(from->count(), size->count()))) {
        errno = ENOMEM;
        return 0;
      }
      const uintptr_t address = call();
      const int error = errno;
      if (address != 0) {
        const os::PageNumber begin(address / page_size);
        FollowMove(*from, os::PageRange(begin, size->count()));
      } else if (HoldsAny(*from)) {
        DropHoles(*from);
      }
      errno = error;
      return address;
    }
    state_.notes.ForgetPlain();
  }
  return call();
}

os::Errno PageLocker::Refresh(uintptr_t address, size_t bytes, Failure& failure) {
  const os::Result<os::PageRange> range = PagesOf({address, bytes}, Operation::kRefresh, failure);
  if (!range.ok()) return range.error();
  const TableHolder holder(state_);
  const Claim claim(state_, memory_, *range);
  if (state_.table.SurveyOf(*range).unlocked()) {
    return FailAtFirst(Cause::kNotPinned, *range, 0, failure);
  }
  for (os::PageRange rest = *range; !rest.empty();) {
    const os::PageRange step = FirstStep(rest);
    ++state_.stats.kernel_locks;
    os::Errno error;
    {
      const TableRelease release(state_);
      error = memory_.Lock(step);
      if (!error.ok()) Diagnose(memory_, limits_, step, step.count(), error, failure);
    }
    if (!error.ok()) {
      ++state_.stats.failures;
      return failure.error;
    }
    rest = os::PageRange(step.end(), rest.end());
  }
  return os::kSuccess;
}

}  // namespace pinlock::internal
