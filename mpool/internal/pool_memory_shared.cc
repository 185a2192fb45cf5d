// The memory of a shared pool: what others have added, and how it comes to be locked here.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <new>
#include <span>

#include "mpool/internal/kill_point.h"
#include "mpool/internal/pool_memory.h"

namespace mpool::internal {

os::Errno PoolMemory::UseRegion() {
  const size_t mmu_page = memory_.page_size();
  const auto page_of = [mmu_page](const void* address) {
    return os::PageNumber(reinterpret_cast<uintptr_t>(address) / mmu_page);
  };
  table_pages_ = os::PageRange(page_of(region_->tables()), page_of(region_->ghosts()));
  ghost_pages_ = os::PageRange(page_of(region_->ghosts()), page_of(region_->headers()));
  headers_ = region_->headers();
  frames_ = region_->frames();
  frames_max_ = region_->frames_max();
  growth_base_ = region_->ordinary_max();
  frames_for_slots_ = reinterpret_cast<uintptr_t>(frames_) - SlotWord(0) * stride_;
  frames_per_unit_ = std::max<uint64_t>(kStepBytesMax / stride_, 1);
  locked_in_unit_.reset(new (std::nothrow) uint32_t[growth_base_ / frames_per_unit_ + 1]());
  if (locked_in_unit_ == nullptr) return os::Errno(EAGAIN);
  (void)memory_.AdviseHugePages(table_pages_, os::Memory::HugePages::kForbid);  // see Acquire
  return os::kSuccess;
}

std::span<std::byte> PoolMemory::LedgerBytes(FrameIndex first, uint64_t count) const {
  if (region_ == nullptr) return {};
  return std::as_writable_bytes(std::span(region_->ledger(region_->self()) + first, count));
}

// Of all participants: any may pin the frames. Those who come later have theirs when they have a
// place (SharedRegion::TakePlace).
os::Errno PoolMemory::AllocateLedgers(FrameIndex first, uint64_t count) {
  if (region_ == nullptr) return os::kSuccess;
  const Superblock& superblock = region_->superblock();
  for (uint32_t i = 0; i < superblock.participants_used; ++i) {
    if (superblock.participants[i].in_use == 0) continue;
    const std::span<LedgerWord> words(region_->ledger(i) + first, count);
    if (const os::Errno error = Commit(std::as_writable_bytes(words)); !error.ok()) return error;
  }
  return os::kSuccess;
}

void PoolMemory::Refresh() {
  if (table_.entries().size() != state_.table_entries) table_ = TableOf(state_.table_entries);
  if (ghost_.entries().size() != state_.ghost_entries) {
    auto* first = static_cast<uint64_t*>(ghost_pages_.address(memory_.page_size()));
    ghost_ = Ghost({first + state_.ghost_entries, state_.ghost_entries}, state_.ghost);
  }
}

// Frames that another process has added, with what belongs to them.
os::Errno PoolMemory::LockStep(FrameIndex first, uint64_t count) {
  if (!AddStep({first, count})) return os::Errno(EAGAIN);
  const std::span<std::byte> parts[] = {HeaderBytes(first, count), LedgerBytes(first, count),
                                        FrameBytes(first, count)};
  (void)memory_.AdviseHugePages(HugePagesIn(parts[2]), os::Memory::HugePages::kAllow);
  os::Errno error;
  size_t locked = 0;
  while (locked < std::size(parts) && error.ok()) {
    error = Lock(parts[locked]);
    if (error.ok()) ++locked;
  }
  if (error.ok()) return error;
  while (locked > 0) (void)Unlock(parts[--locked]);
  steps_.pop_back();
  return error;
}

os::Errno PoolMemory::LockTable() {
  const std::span<std::byte> bytes = std::as_writable_bytes(table_.entries());
  if (bytes.empty() || bytes.data() == locked_table_.data()) return os::kSuccess;
  (void)memory_.AdviseHugePages(HugePagesIn(bytes), os::Memory::HugePages::kAllow);
  if (const os::Errno error = Lock(bytes); !error.ok()) return error;
  if (!locked_table_.empty()) (void)Unlock(locked_table_);
  locked_table_ = bytes;
  shared_table_.store(table_.Pack(), std::memory_order_release);
  return os::kSuccess;
}

// Hits do not read it, so it may stay unlocked where it must.
void PoolMemory::LockGhost() {
  const std::span<std::byte> bytes = std::as_writable_bytes(ghost_.entries());
  if (bytes.empty() || bytes.data() == locked_ghost_.data() || !Lock(bytes).ok()) return;
  if (!locked_ghost_.empty()) (void)Unlock(locked_ghost_);
  locked_ghost_ = bytes;
}

os::Errno PoolMemory::CatchUp() {
  if (region_ == nullptr) return os::kSuccess;
  (void)LockMore();
  if (std::as_writable_bytes(table_.entries()).data() == locked_table_.data()) return os::kSuccess;
  LockGhost();
  return LockTable();
}

// The part of a unit of frames that there is by now and that is not locked here; where that is too
// much, all before `needed`.
os::Errno PoolMemory::LockUnit(uint64_t unit, uint64_t needed) {
  const uint64_t first = unit * frames_per_unit_ + locked_in_unit_[unit];
  uint64_t end = std::min((unit + 1) * frames_per_unit_, state_.ordinary);
  if (first >= end) return os::kSuccess;
  os::Errno error = LockStep(static_cast<FrameIndex>(first), end - first);
  if (!error.ok() && first < needed && needed < end) {
    end = needed;
    error = LockStep(static_cast<FrameIndex>(first), end - first);
  }
  if (!error.ok()) return error;
  NoteLocked(first, end - first);
  KILL_POINT("catch_up.locked");
  return os::kSuccess;
}

// Frames of one unit, of which all before them are locked.
void PoolMemory::NoteLocked(uint64_t first, uint64_t count) {
  const uint64_t unit = first / frames_per_unit_;
  locked_in_unit_[unit] += static_cast<uint32_t>(count);
  // Hits may use all frames from the first one on that are locked.
  uint64_t prefix = slot_limit_.load(std::memory_order_relaxed);
  while (prefix < state_.ordinary &&
         locked_in_unit_[prefix / frames_per_unit_] > prefix % frames_per_unit_) {
    prefix += locked_in_unit_[prefix / frames_per_unit_] - prefix % frames_per_unit_;
  }
  slot_limit_.store(static_cast<uint32_t>(prefix), std::memory_order_relaxed);
}

os::Result<bool> PoolMemory::LockMore() {
  if (region_ == nullptr) return false;
  const uint64_t prefix = slot_limit_.load(std::memory_order_relaxed);
  if (prefix >= state_.ordinary) return false;
  const os::Errno error = LockUnit(prefix / frames_per_unit_, prefix);
  if (!error.ok()) return error;
  return true;
}

os::Errno PoolMemory::EnsureLocked(FrameIndex frame) {
  if (region_ == nullptr || frame < slot_limit_.load(std::memory_order_relaxed)) {
    return os::kSuccess;
  }
  if (!IsGrowthFrame(frame)) {
    const uint64_t unit = frame / frames_per_unit_;
    return frame % frames_per_unit_ < locked_in_unit_[unit] ? os::kSuccess
                                                            : LockUnit(unit, frame + uint64_t{1});
  }
  // There are seldom any, and they come in order.
  while (growth_base_ + locked_growth_ <= frame) {
    const os::Errno error = LockStep(static_cast<FrameIndex>(growth_base_ + locked_growth_), 1);
    if (!error.ok()) return error;
    ++locked_growth_;
  }
  return os::kSuccess;
}

// Of whoever was killed while the table was being replaced, all of them may have entries.
void PoolMemory::ClearTables() {
  if (state_.table_entries == 0) return;
  auto* first = static_cast<PageTable::Entry*>(table_pages_.address(memory_.page_size()));
  const std::span<PageTable::Entry> all(first, 2 * state_.table_entries);
  for (PageTable::Entry& entry : all) entry.store(0, std::memory_order_release);
}

void PoolMemory::CountGrowthFrames() {
  state_.growth = 0;
  state_.growth_first_absent = 0;
  for (uint64_t i = 0; i < state_.growth_extent; ++i) {
    if (headers_[growth_base_ + i].state != FrameState::kAbsent) ++state_.growth;
  }
}

}  // namespace mpool::internal
