// The part of PageLocker that follows what happens to the memory itself: it is unmapped, replaced,
// moved, or copied by a fork.

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <optional>

#include "pinlock/internal/diagnosis.h"
#include "pinlock/internal/page_locker.h"
#include "pinlock/internal/runs.h"

namespace pinlock::internal {
namespace {

// An empty range is mremap(2)'s way to map shared memory a second time, locked as the first.
os::PageRange SourceOf(os::PageRange from) {
  return from.empty() ? os::PageRange(from.begin(), os::PageCount(1)) : from;
}

// What `from`, moved to `to`, has grown by.
os::PageRange GrownPart(os::PageRange from, os::PageRange to) {
  return os::PageRange(to.begin() + std::min(from.count(), to.count()), to.end());
}

// While one thread moves memory to where the kernel chooses.
class Turn {
 public:
  explicit Turn(LockerState& state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.latch) : state_(state) {
    while (state.moving) Claim::Await(state);
    state.moving = true;
  }
  ~Turn() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    state_.moving = false;
    state_.claims_changed.NotifyAll();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  LockerState& state_;
};

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
    const uint64_t locked = state_.table.pages_locked();
    // Marked until it is unlocked, as at an unpin: what the kernel refuses is not forgotten.
    state_.table.SetCount(*run, 0, blocks,
                          unlock ? LockTable::Mark::kResidual : LockTable::Mark::kNone);
    state_.stats.forgotten += locked - state_.table.pages_locked();
    if (!unlock) continue;
    state_.pages_unlocking += run->count().value();
    UnlockRuns(*run, IsResidual);
  }
}

// Drops what is not mapped any more. Claimed.
void PageLocker::DropHoles(os::PageRange range) {
  while (!range.empty()) {
    Part part{};
    {
      const TableRelease release(state_);
      part = NextPart(memory_, range);
    }
    if (part.mapped) continue;
    state_.io.Forget(part.pages);
    DropHeld(part.pages);
  }
}

// Drops what is held in the range, as far as there is memory for it. Claimed.
void PageLocker::DropHeld(os::PageRange range) {
  TableBlocks blocks(state_.blocks, memory_);
  while (const auto run = NextRun(state_.table, range, IsHeld)) {
    if (state_.table.Prepare(*run, blocks).ok()) Drop(*run, false);
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
      state_.notes.ForgetPlain();
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
  done = call();
  error = errno;
  ForgetPlain();
  errno = error;
  return done;
}

// After a call that has changed mappings: another thread may have looked at one before it was made.
void PageLocker::ForgetPlain() {
  const TableHolder holder(state_);
  state_.notes.ForgetPlain();
}

// Makes sure of memory for the counts of `from` at another place, wherever that is, and for marks on
// pages that it grows by.
bool PageLocker::ReserveForMove(os::PageRange from, os::PageCount grown) {
  constexpr uint64_t kLeaf = LockTable::kPagesPerLeaf;
  // Elsewhere what is held can touch twice as many leaves, and nodes of each level.
  constexpr uint64_t kUnits[] = {kLeaf, kLeaf * kLeaf, kLeaf * kLeaf * kLeaf,
                                 kLeaf * kLeaf * kLeaf * kLeaf};
  uint64_t touched[std::size(kUnits)] = {}, next[std::size(kUnits)] = {};
  while (const auto run = NextRun(state_.table, from, IsHeld)) {
    for (size_t level = 0; level < std::size(kUnits); ++level) {
      const uint64_t first = std::max(next[level], run->begin().value() / kUnits[level]);
      next[level] = (run->end().value() - 1) / kUnits[level] + 1;
      touched[level] += next[level] - std::min(first, next[level]);
    }
  }
  // The edges of both ranges cut leaves.
  const uint64_t leaves = 2 * touched[0] + 4;
  uint64_t nodes = 1;
  for (size_t level = 1; level < std::size(kUnits); ++level) {
    if (touched[0] > 0) nodes += 2 * touched[level] + grown.value() / kUnits[level] + 2;
  }
  TableBlocks blocks(state_.blocks, memory_);
  return blocks.Reserve(nodes, leaves + 2);
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
  if (!ReserveForMove(*from, GrownPart(*from, *to).count())) {
    return Fail(Cause::kNoTableMemory, to->begin(), failure);
  }
  FollowMove(*from, *to, HoldsAny(SourceOf(*from)));
  return os::kSuccess;
}

// Claimed, memory reserved. `was_locked`: some of what was moved is locked in the kernel.
void PageLocker::FollowMove(os::PageRange from, os::PageRange to, bool was_locked) {
  TableBlocks blocks(state_.blocks, memory_);
  state_.notes.ForgetPlain();
  if (from.begin() != to.begin()) {
    state_.io.Forget(from);
    state_.io.Forget(to);
    MoveCounts(from, to);
  } else {
    // What was cut off, or what counts were left behind by what lay where it grew.
    const os::PageNumber changed = std::min(from.end(), to.end());
    const os::PageRange dropped(changed, std::max(from.end(), to.end()));
    state_.io.Forget(dropped);
    DropHeld(dropped);  // memory for it was reserved
  }
  // What a locked mapping grows by is locked by the kernel, and nobody has pinned it.
  if (!was_locked) return;
  for (os::PageRange rest = GrownPart(from, to); !rest.empty();) {
    Part part{};
    bool unlocked = false;
    {
      const TableRelease release(state_);
      part = NextPart(memory_, rest);
      unlocked = !part.mapped || memory_.Unlock(part.pages).ok();
    }
    if (part.mapped) ++state_.stats.kernel_unlocks;
    // What the kernel refuses to unlock is not forgotten; memory for the marks was reserved.
    if (!unlocked && state_.table.Prepare(part.pages, blocks).ok()) {
      state_.table.SetResidual(part.pages, true, blocks);
    }
  }
}

// mremap(2) of memory in which something is held, or to a place where something is: the counts go
// with it while nobody else is there. Where the kernel chooses the place, it is not known before
// which leaves it lies in, and their owner has to be waited for afterwards. A caller who waits with
// a claim of its own must not be waited for, so only one at a time does this.
uintptr_t PageLocker::RemappingHeld(os::PageRange from, os::PageCount pages,
                                    std::optional<os::PageNumber> place,
                                    absl::FunctionRef<uintptr_t()> call) {
  const os::PageRange source = SourceOf(from);
  std::optional<Turn> turn;
  if (!place) turn.emplace(state_);
  const os::PageRange known = place ? os::PageRange(*place, pages) : os::PageRange();
  const Claim claim(state_, memory_, source, known);
  const bool was_locked = HoldsAny(source);
  const os::PageCount grown = pages - std::min(pages, from.count());
  if (!ReserveForMove(from, grown)) {
    errno = ENOMEM;
    return 0;
  }
  // Held across the call, as in Replacing.
  const uintptr_t address = call();
  const int error = errno;
  state_.notes.ForgetPlain();
  if (address == 0) {
    if (was_locked) DropHoles(source);
    // With MREMAP_FIXED the kernel unmaps what is there before it finds out that it cannot move.
    if (!known.empty() && HoldsAny(known)) DropHoles(known);
    errno = error;
    return 0;
  }
  const os::PageRange to(os::PageNumber(address / memory_.page_size()), pages);
  while (Claim::IsClaimed(state_, to, &claim)) Claim::Await(state_);
  FollowMove(from, to, was_locked);
  errno = error;
  return address;
}

uintptr_t PageLocker::Remapping(ByteRange from_bytes, size_t new_bytes,
                                std::optional<uintptr_t> new_address,
                                absl::FunctionRef<uintptr_t()> call) {
  const size_t page_size = memory_.page_size();
  const os::Result<os::PageRange> from =
      os::PageRange::Covering(from_bytes.address, from_bytes.bytes, page_size);
  const os::Result<os::PageRange> to =
      os::PageRange::Covering(new_address.value_or(0), new_bytes, page_size);
  if (!from.ok() || !to.ok() || !LockTable::Covers(*from) || !LockTable::Covers(*to)) return call();
  {
    const TableHolder holder(state_);
    state_.notes.ForgetPlain();
    if (HoldsAny(SourceOf(*from)) || (new_address && HoldsAny(*to))) {
      const auto place = new_address ? std::optional(to->begin()) : std::nullopt;
      return RemappingHeld(*from, to->count(), place, call);
    }
  }
  const uintptr_t address = call();
  if (address == 0) return 0;
  // Nothing is held where it goes, either, unless what lay there was taken away behind our back.
  const int error = errno;
  const TableHolder holder(state_);
  state_.notes.ForgetPlain();
  const os::PageRange moved(os::PageNumber(address / page_size), to->count());
  const os::PageRange fresh = moved.begin() == from->begin() ? GrownPart(*from, moved) : moved;
  if (HoldsAny(fresh)) {
    const Claim claim(state_, memory_, fresh);
    DropHeld(fresh);
  }
  errno = error;
  return address;
}

// Whether the kernel holds all of the pages locked.
bool PageLocker::IsLocked(os::PageRange range) {
  const TableRelease release(state_);
  const os::Result<bool> locked = memory_.AllLocked(range);
  return locked.ok() && *locked;
}

os::Errno PageLocker::Refresh(uintptr_t address, size_t bytes, Failure& failure) {
  const os::Result<os::PageRange> range = PagesOf({address, bytes}, Operation::kRefresh, failure);
  if (!range.ok()) return range.error();
  const TableHolder holder(state_);
  const Claim claim(state_, memory_, *range);
  if (state_.table.SurveyOf(*range).unlocked()) {
    return FailAtFirst(Cause::kNotPinned, *range, 0, failure);
  }
  // Copies may be made, which needs memory as a first pin does.
  for (os::PageRange rest = *range; !rest.empty();) {
    const os::PageRange step = FirstStep(rest);
    bool touched = false;
    if (const os::Errno error = LockStep(step, touched, failure); !error.ok()) {
      // Where it is not the kernel that refuses: what is locked still is charged already.
      const bool charged = failure.cause != Cause::kNone && IsLocked(step);
      const os::PageCount more = charged ? os::PageCount(0) : step.count();
      (void)Explain(step, more, error, failure);
      failure.bytes_needed = step.bytes(memory_.page_size());
      return failure.error;
    }
    rest = os::PageRange(step.end(), rest.end());
  }
  return os::kSuccess;
}

}  // namespace pinlock::internal
