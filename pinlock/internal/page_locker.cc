#include "pinlock/internal/page_locker.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "pinlock/internal/diagnosis.h"

namespace pinlock::internal {
namespace {

// The next maximal run of pages whose segments satisfy `wanted`, from the front of `rest`, which is
// moved past it. nullopt: none is left.
template <typename Wanted>
std::optional<os::PageRange> NextRun(const LockTable& table, os::PageRange& rest, Wanted wanted) {
  std::optional<os::PageRange> run;
  while (!rest.empty()) {
    const LockTable::Segment segment = table.FirstSegment(rest);
    if (wanted(segment)) {
      run = run ? os::PageRange(run->begin(), segment.pages.end()) : segment.pages;
    } else if (run) {
      return run;
    }
    rest = os::PageRange(segment.pages.end(), rest.end());
  }
  return run;
}

bool IsUnlocked(const LockTable::Segment& segment) { return segment.count == 0; }
bool IsLockedOnce(const LockTable::Segment& segment) { return segment.count == 1; }
bool IsResidual(const LockTable::Segment& segment) {
  return segment.count == 0 && segment.residual;
}

// A piece of a range that is mapped, or is not.
struct Part {
  os::PageRange pages;
  bool mapped;
};

// The first part of `rest`, which is moved past it: what one mapping holds of it, or the hole
// before the next one. Where the mappings cannot be read, all of it counts as mapped. Precondition:
// not empty.
Part NextPart(const os::Memory& memory, os::PageRange& rest) {
  const os::Result<std::optional<os::Mapping>> found = memory.MappingAt(rest.begin());
  Part part{rest, true};
  if (found.ok()) {
    part.mapped = found->has_value() && (*found)->pages.contains(rest.begin());
    if (part.mapped) {
      part.pages = (*found)->pages.Intersection(rest);
    } else if (found->has_value()) {
      part.pages = os::PageRange(rest.begin(), std::min(rest.end(), (*found)->pages.begin()));
    }
  }
  rest = os::PageRange(part.pages.end(), rest.end());
  return part;
}

// The part of the table that can hold anything.
constexpr os::PageRange kWholeTable(os::PageNumber(0), os::PageNumber(LockTable::kPageNumbers));

// From this size on a range is looked at before the table grows for it: a mistaken length of 2^56
// bytes would cost 128 GiB of table.
constexpr os::PageCount kLargeRange(uint64_t{1} << 24);

}  // namespace

// Table memory: chunks that a forked child finds wiped, cut into blocks. Chunks are never unmapped.
class PageLocker::Blocks final : public BlockSource {
 public:
  Blocks(BlockPool& pool, os::Memory& memory) : pool_(pool), memory_(memory) {}

  void* Allocate(size_t bytes) override {
    BlockPool::FreeBlock*& list = ListOf(bytes);
    if (list == nullptr && !Refill(bytes)) return nullptr;
    BlockPool::FreeBlock* block = list;
    list = block->next;
    std::memset(static_cast<void*>(block), 0, bytes);
    return block;
  }

  void Free(void* block, size_t bytes) override {
    BlockPool::FreeBlock*& list = ListOf(bytes);
    list = new (block) BlockPool::FreeBlock{list};
  }

 private:
  static constexpr size_t kChunkBytes = 256 * 1024;

  BlockPool::FreeBlock*& ListOf(size_t bytes) {
    return bytes == kNodeBytes ? pool_.free_nodes : pool_.free_counts;
  }

  // Puts one node, or the blocks of counts that fit into one, on their list.
  bool Refill(size_t bytes) {
    if (pool_.chunk_next == pool_.chunk_end) {
      const size_t page_size = memory_.page_size();
      const os::PageCount pages(std::max(kChunkBytes, page_size) / page_size);
      const os::Result<os::PageRange> chunk =
          memory_.Map(pages, os::Memory::Access::kReadWrite, os::Memory::Fork::kWipe);
      if (!chunk.ok()) return false;
      pool_.chunk_next = static_cast<std::byte*>(chunk->address(page_size));
      pool_.chunk_end = pool_.chunk_next + chunk->bytes(page_size);
    }
    std::byte* node = pool_.chunk_next;
    pool_.chunk_next += kNodeBytes;
    for (size_t offset = 0; offset < kNodeBytes; offset += bytes) Free(node + offset, bytes);
    return true;
  }

  BlockPool& pool_;
  os::Memory& memory_;
};

os::Errno PageLocker::Fail(Cause cause, os::PageNumber where, Failure& failure) {
  failure.cause = cause;
  failure.error = ErrnoOf(cause);
  failure.where = where.address(memory_.page_size());
  ++state_.stats.failures;
  return failure.error;
}

os::Result<os::PageRange> PageLocker::PagesOf(uintptr_t address, size_t bytes, Operation operation,
                                              Failure& failure) {
  failure = Failure();
  failure.operation = operation;
  failure.address = address;
  failure.bytes = bytes;
  const os::Result<os::PageRange> range =
      os::PageRange::Covering(address, bytes, memory_.page_size());
  if (range.ok() && (range->empty() || LockTable::Covers(*range))) return range;
  return Fail(Cause::kRangeWraps, os::PageNumber(0), failure);
}

os::Errno PageLocker::KernelLock(os::PageRange run) {
  ++state_.stats.kernel_locks;
  return memory_.Lock(run);
}

os::Errno PageLocker::KernelUnlock(os::PageRange run) {
  ++state_.stats.kernel_unlocks;
  return memory_.Unlock(run);
}

bool PageLocker::Mapped(os::PageRange range) const {
  return FirstUnmapped(memory_, range) == range.end();
}

os::Errno PageLocker::Lock(uintptr_t address, size_t bytes, Failure& failure) {
  const os::LatchHolder holder(state_.latch);
  const os::Result<os::PageRange> range = PagesOf(address, bytes, Operation::kLock, failure);
  if (!range.ok()) return range.error();
  RetryResidual();
  os::PageRange rest = *range;
  const auto is_full = [](const LockTable::Segment& s) { return s.count == LockTable::kMaxCount; };
  if (const auto full = NextRun(state_.table, rest, is_full)) {
    return Fail(Cause::kCountFull, full->begin(), failure);
  }
  if (range->count() >= kLargeRange &&
      DiagnoseBeforehand(memory_, *range, CountUnlocked(*range), failure)) {
    ++state_.stats.failures;
    return failure.error;
  }
  Blocks blocks(state_.blocks, memory_);
  if (!state_.table.Prepare(*range, blocks).ok()) {
    return Fail(Cause::kNoTableMemory, range->begin(), failure);
  }
  if (const os::Errno error = LockRuns(*range, failure); !error.ok()) return error;
  state_.table.Increment(*range, blocks);
  ++state_.stats.pins;
  return os::kSuccess;
}

// Locks every run of the range that is at 0; all of them or, seen from outside, none.
os::Errno PageLocker::LockRuns(os::PageRange range, Failure& failure) {
  os::PageRange rest = range;
  while (const auto run = NextRun(state_.table, rest, IsUnlocked)) {
    const os::Errno error = KernelLock(*run);
    if (error.ok()) continue;
    // The kernel leaves the failed run half done, so that one is undone too.
    UndoLock(os::PageRange(range.begin(), run->end()));
    Diagnose(memory_, range, CountUnlocked(range), error, failure);
    ++state_.stats.failures;
    return failure.error;
  }
  return os::kSuccess;
}

// How many pages of the range are at 0.
os::PageCount PageLocker::CountUnlocked(os::PageRange range) const {
  os::PageCount pages;
  while (const auto run = NextRun(state_.table, range, IsUnlocked)) pages += run->count();
  return pages;
}

// Unlocks every run of the range that is at 0. Prepared.
void PageLocker::UndoLock(os::PageRange range) {
  while (const auto run = NextRun(state_.table, range, IsUnlocked)) UnlockUncounted(*run);
}

// Unlocks a maximal run of pages that are at 0. What the kernel refuses to unlock is residual
// afterwards, and the rest is not. Prepared.
void PageLocker::UnlockUncounted(os::PageRange run) {
  Blocks blocks(state_.blocks, memory_);
  const bool unlocked = KernelUnlock(run).ok();
  if (unlocked && state_.table.pages_residual() == 0) return;
  state_.table.SetResidual(run, !unlocked, blocks);
  if (unlocked) return;
  // A hole stops munlock(2), as a mapping does that it cannot split: go on with each part.
  while (!run.empty()) {
    const Part part = NextPart(memory_, run);
    if (part.mapped && !KernelUnlock(part.pages).ok()) continue;
    // Without memory for a finer mark the coarse one stays: a retry does no harm.
    if (!state_.table.Prepare(part.pages, blocks).ok()) continue;
    state_.table.SetResidual(part.pages, false, blocks);
  }
}

os::Errno PageLocker::Unlock(uintptr_t address, size_t bytes, Failure& failure) {
  const os::LatchHolder holder(state_.latch);
  const os::Result<os::PageRange> range = PagesOf(address, bytes, Operation::kUnlock, failure);
  if (!range.ok()) return range.error();
  RetryResidual();
  os::PageRange rest = *range;
  if (const auto unpinned = NextRun(state_.table, rest, IsUnlocked)) {
    return Fail(Cause::kNotPinned, unpinned->begin(), failure);
  }
  Blocks blocks(state_.blocks, memory_);
  if (!state_.table.Prepare(*range, blocks).ok()) {
    return Fail(Cause::kNoTableMemory, range->begin(), failure);
  }
  if (const os::Errno error = UnlockRuns(*range, failure); !error.ok()) return error;
  state_.table.Decrement(*range, blocks);
  ++state_.stats.unpins;
  return os::kSuccess;
}

// Unlocks every run of the range that is at 1. A run that the kernel cannot unlock is marked; the
// mark becomes residual with the decrement that follows.
os::Errno PageLocker::UnlockRuns(os::PageRange range, Failure& failure) {
  Blocks blocks(state_.blocks, memory_);
  os::PageRange rest = range;
  bool checked = false;
  while (const auto run = NextRun(state_.table, rest, IsLockedOnce)) {
    // munlock(2) would unlock the part before a hole, so the holes are looked for first.
    if (!std::exchange(checked, true) && !memory_.CheckMapped(range).ok() && !Mapped(range)) {
      return Fail(Cause::kHole, FirstUnmapped(memory_, range), failure);
    }
    if (KernelUnlock(*run).ok()) continue;
    if (Mapped(*run)) {
      state_.table.SetResidual(*run, true, blocks);
      continue;
    }
    UndoUnlock(os::PageRange(range.begin(), run->end()));
    return Fail(Cause::kHole, FirstUnmapped(memory_, *run), failure);
  }
  return os::kSuccess;
}

// Locks again what UnlockRuns has unlocked, but for what is no longer mapped. Only an munmap(2)
// that runs at the same time as the munpin leads here. Where the limit was lowered meanwhile, so
// that a page cannot be locked again, its count goes to 0: a count means a lock.
void PageLocker::UndoUnlock(os::PageRange range) {
  Blocks blocks(state_.blocks, memory_);
  state_.table.SetResidual(range, false, blocks);
  while (const auto run = NextRun(state_.table, range, IsLockedOnce)) {
    for (os::PageRange rest = *run; !rest.empty();) {
      const Part part = NextPart(memory_, rest);
      if (!part.mapped || KernelLock(part.pages).ok()) continue;
      if (!state_.table.Prepare(part.pages, blocks).ok()) continue;
      state_.table.Decrement(part.pages, blocks);
    }
  }
}

// Tries again to unlock what the kernel refused to unlock before.
void PageLocker::RetryResidual() {
  if (state_.table.pages_residual() == 0) return;
  os::PageRange rest = kWholeTable;
  while (const auto run = NextRun(state_.table, rest, IsResidual)) UnlockUncounted(*run);
}

os::Errno PageLocker::Query(uintptr_t address, size_t bytes, RangeInfo& info, Failure& failure) {
  // Looked up before the latch is taken: it may be a long range.
  const os::Result<os::PageRange> pages =
      os::PageRange::Covering(address, bytes, memory_.page_size());
  const os::Result<os::PageCount> present =
      pages.ok() ? memory_.CountPresent(*pages) : pages.error();
  const os::LatchHolder holder(state_.latch);
  const os::Result<os::PageRange> range = PagesOf(address, bytes, Operation::kQuery, failure);
  if (!range.ok()) return range.error();
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
  const os::LatchHolder holder(state_.latch);
  LockStats stats = state_.stats;
  stats.pages_locked = state_.table.pages_locked();
  stats.pages_residual = state_.table.pages_residual();
  return stats;
}

}  // namespace pinlock::internal
