#include "mpool/internal/pool_memory.h"

#include <algorithm>
#include <bit>
#include <new>

#include "mpool/internal/kill_point.h"
#include "os/limits.h"

namespace mpool::internal {
namespace {

constexpr size_t kFirstStepBytes = size_t{64} << 10;
constexpr size_t kHugePageBytes = os::Memory::kHugePageBytes;
// Every frame is aligned as malloc(3) aligns; page sizes that are multiples of it are not padded.
constexpr size_t kFrameAlignment = alignof(std::max_align_t);

// For so many threads at a time, besides the first; others take the latch for each hit.
constexpr size_t kMoreLinesMax = 1024;

constexpr char kNoMemory[] =
    "no memory, or too many mappings (vm.max_map_count); free some and try again";
constexpr char kNoSharedMemory[] =
    "the file system of shared memory (/dev/shm) is full; make room there, or make it larger";
constexpr char kNoAddressSpace[] = "the address space reserved for frames is full";

constexpr size_t RoundUp(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

PoolMemory::PoolMemory(os::Memory& memory, Locker& locker, uint32_t page_size,
                       uint64_t ordinary_max, bool hugetlb, SharedRegion* region)
    : stride_(RoundUp(page_size, kFrameAlignment)),
      stride_shift_(std::has_single_bit(stride_) ? std::countr_zero(stride_) : -1),
      memory_(memory),
      locker_(locker),
      hugetlb_(hugetlb && region == nullptr),
      region_(region),
      state_(region == nullptr ? own_state_ : region->state().memory) {
  if (region == nullptr) {
    state_.ordinary_max = ordinary_max;
  } else {
    slot_limit_ = 0;
  }
}

os::Errno PoolMemory::Reserve() {
  if (region_ != nullptr) return UseRegion();
  const uint64_t wanted = state_.ordinary_max;
  // What is locked is in memory, so there can be no more frames than memory holds. Where a limit on
  // address space (RLIMIT_AS) refuses that, less has to do.
  uint64_t machine_max =
      std::min<uint64_t>(os::PhysicalMemoryBytes() / stride_ + 1, kFramesMax / 2);
  os::Errno error = TryReserve(wanted, machine_max);
  if (error.ok()) return os::kSuccess;
  while (!error.ok() && machine_max > 1) {
    machine_max /= 2;
    error = TryReserve(wanted, machine_max);
  }
  if (!error.ok() || machine_max == 1) return error;
  UnmapAll();  // what just fitted may be all that there is: half of it is the program's
  return TryReserve(wanted, machine_max / 2);
}

os::Errno PoolMemory::TryReserve(uint64_t wanted, uint64_t machine_max) {
  growth_base_ = state_.ordinary_max = std::clamp<uint64_t>(wanted, 1, machine_max);
  frames_max_ = growth_base_ + machine_max;
  const os::Errno error = MapAll();
  if (!error.ok()) UnmapAll();
  return error;
}

void PoolMemory::UnmapAll() {
  for (os::PageRange* pages :
       {&table_pages_, &ghost_pages_, &line_pages_, &header_pages_, &frame_pages_}) {
    // At vm.max_map_count the kernel may refuse, where it has merged this with a neighbour: lost
    // then.
    (void)memory_.Unmap(*pages);
    *pages = os::PageRange();
  }
}

os::Errno PoolMemory::MapAll() {
  const size_t mmu_page = memory_.page_size();
  // A table of n entries lies n entries from the start, behind all smaller ones. So does a ghost.
  const size_t table_bytes = 2 * PageTable::EntriesFor(frames_max_) * sizeof(PageTable::Entry);
  const size_t ghost_bytes = 2 * Ghost::EntriesFor(state_.ordinary_max) * sizeof(uint64_t);
  const struct {
    os::PageRange* pages;
    size_t bytes;
    os::Memory::Fork fork;
  } parts[] = {{&table_pages_, table_bytes, os::Memory::Fork::kOmit},
               {&ghost_pages_, ghost_bytes, os::Memory::Fork::kOmit},
               // A child may end a pin that it has a copy of: it finds memory there.
               {&line_pages_, kMoreLinesMax * sizeof(PinLine), os::Memory::Fork::kWipe},
               {&header_pages_, frames_max_ * sizeof(FrameHeader), os::Memory::Fork::kOmit},
               {&frame_pages_, frames_max_ * stride_, os::Memory::Fork::kOmit}};
  for (const auto& part : parts) {
    const os::PageCount count(RoundUp(part.bytes, mmu_page) / mmu_page);
    const uint64_t large = std::max<uint64_t>(kStepBytesMax / mmu_page, 1);
    const os::PageCount alignment(count.value() >= large ? large : 1);
    const os::Result<os::PageRange> mapped =
        memory_.Map(count, os::Memory::Access::kNone, part.fork, alignment);
    if (!mapped.ok()) return mapped.error();
    *part.pages = *mapped;
    (void)memory_.AdviseHugePages(*mapped, os::Memory::HugePages::kForbid);  // see Acquire
  }
  headers_ = static_cast<FrameHeader*>(header_pages_.address(mmu_page));
  frames_ = static_cast<std::byte*>(frame_pages_.address(mmu_page));
  frames_for_slots_ = reinterpret_cast<uintptr_t>(frames_) - SlotWord(0) * stride_;
  return os::kSuccess;
}

// A shared pool's region outlives it, and its state is not to be looked at any more.
PoolMemory::~PoolMemory() {
  for (const Step& step : steps_) {
    (void)Unlock(FrameBytes(step.first, step.count));
    (void)Unlock(HeaderBytes(step.first, step.count));
    if (region_ != nullptr) (void)Unlock(LedgerBytes(step.first, step.count));
  }
  if (region_ != nullptr) {
    if (!locked_table_.empty()) (void)Unlock(locked_table_);
    if (!locked_ghost_.empty()) (void)Unlock(locked_ghost_);
    return;
  }
  ForEachFrame([&](FrameIndex frame) {
    if (!IsGrowthFrame(frame) || headers_[frame].unlocked) return;
    (void)Unlock(FrameBytes(frame, 1));
    (void)Unlock(HeaderBytes(frame, 1));
  });
  if (table_locked_) (void)Unlock(std::as_writable_bytes(table_.entries()));
  if (!ghost_.entries().empty()) (void)Unlock(std::as_writable_bytes(ghost_.entries()));
  const size_t per_page = LinesPerPage();
  for (size_t first = 0; first < lines_.more(); first += per_page) {
    (void)Unlock(LineBytes(first, std::min(per_page, lines_.more() - first)));
  }
  // Counts that could not be taken back must not come to lie under other memory.
  if (!unlock_refused_) UnmapAll();
}

std::span<std::byte> PoolMemory::FrameBytes(FrameIndex first, uint64_t count) const {
  return {frames_ + first * stride_, count * stride_};
}

std::span<std::byte> PoolMemory::HeaderBytes(FrameIndex first, uint64_t count) const {
  return std::as_writable_bytes(std::span<FrameHeader>(headers_ + first, count));
}

os::PageRange PoolMemory::PagesOf(std::span<std::byte> bytes) const {
  const os::Result<os::PageRange> pages = os::PageRange::Covering(
      reinterpret_cast<uintptr_t>(bytes.data()), bytes.size(), memory_.page_size());
  return *pages;  // part of a mapping, so it cannot wrap
}

os::Errno PoolMemory::Acquire(std::span<std::byte> bytes, bool locked, bool to_stay) {
  if (const os::Errno error = Commit(bytes); !error.ok()) return error;
  if (!locked) return os::kSuccess;
  const os::PageRange huge = HugePagesIn(bytes);
  const bool reserved = to_stay && TakeReserved(huge);
  if (!reserved) (void)memory_.AdviseHugePages(huge, os::Memory::HugePages::kAllow);
  const os::Errno error = Lock(bytes);
  if (!error.ok()) {
    // First, as the kernel does not make parts of a huge page accessible, when a smaller step is
    // tried.
    if (reserved) (void)memory_.DecommitHugePages(huge);
    Unacquire(bytes, false);
    return error;
  }
  if (reserved) {
    state_.hugetlb_bytes += huge.bytes(memory_.page_size());
    return os::kSuccess;
  }
  // Now, while nobody uses it: later it would make hits fault. Where it fails, never.
  if (!memory_.AdviseHugePages(huge, os::Memory::HugePages::kMakeNow).ok()) {
    (void)memory_.AdviseHugePages(huge, os::Memory::HugePages::kForbid);
  }
  return os::kSuccess;
}

bool PoolMemory::TakeReserved(os::PageRange huge) {
  return hugetlb_ && !huge.empty() && memory_.CommitHugePages(huge).ok();
}

// The part of it that can be huge pages. Fewer of them take fewer entries of the TLB, which a hit
// on a large pool would else wait for.
os::PageRange PoolMemory::HugePagesIn(std::span<std::byte> bytes) const {
  const uintptr_t begin = RoundUp(reinterpret_cast<uintptr_t>(bytes.data()), kHugePageBytes);
  const uintptr_t end =
      reinterpret_cast<uintptr_t>(bytes.data() + bytes.size()) / kHugePageBytes * kHugePageBytes;
  const size_t mmu_page = memory_.page_size();
  const os::PageNumber first(begin / mmu_page);
  return begin < end ? os::PageRange(first, os::PageNumber(end / mmu_page))
                     : os::PageRange(first, first);
}

// The kernel says ENOMEM, which for the pool's callers means the lock limit.
os::Errno PoolMemory::Commit(std::span<std::byte> bytes) {
  if (region_ != nullptr) {
    const os::Errno error = region_->Allocate(bytes);
    if (!error.ok()) failure_text_ = kNoSharedMemory;
    return error;
  }
  if (memory_.Commit(PagesOf(bytes)).ok()) return os::kSuccess;
  failure_text_ = kNoMemory;
  return os::Errno(EAGAIN);
}

os::Errno PoolMemory::Lock(std::span<std::byte> bytes) {
  if (bytes.empty()) return os::kSuccess;
  const os::Errno error = locker_.Lock(bytes);
  if (!error.ok()) failure_text_ = locker_.ErrorText();
  return error;
}

// False where pinlock has no memory to count downwards: the bytes stay locked then, once too often.
bool PoolMemory::Unlock(std::span<std::byte> bytes) {
  if (bytes.empty()) return true;
  if (locker_.Unlock(bytes).ok()) return true;
  unlock_refused_ = true;
  return false;
}

// Memory goes back in whole pages that nothing else lies in.
void PoolMemory::Unacquire(std::span<std::byte> bytes, bool locked) {
  // What stays counted must stay locked, so it does not go back.
  if (locked && !Unlock(bytes)) return;
  if (region_ != nullptr) return;  // it is there for the next time
  const uintptr_t begin = reinterpret_cast<uintptr_t>(bytes.data());
  const size_t mmu_page = memory_.page_size();
  const os::PageNumber first(RoundUp(begin, mmu_page) / mmu_page);
  const os::PageNumber last((begin + bytes.size()) / mmu_page);
  // Where the kernel refuses, the pages stay as they are, which does no harm.
  if (first < last) (void)memory_.Decommit(os::PageRange(first, last));
}

os::Errno PoolMemory::AcquireFrames(FrameIndex first, uint64_t count, bool locked) {
  const std::span<std::byte> header_bytes = HeaderBytes(first, count);
  // Headers stay committed once they are, for FrameAt to look at.
  if (const os::Errno error = Commit(header_bytes); !error.ok()) return error;
  if (const os::Errno error = AllocateLedgers(first, count); !error.ok()) return error;
  const std::span<std::byte> ledger_bytes = LedgerBytes(first, count);
  if (locked) {
    if (const os::Errno error = Lock(header_bytes); !error.ok()) return error;
    if (const os::Errno error = Lock(ledger_bytes); !error.ok()) {
      (void)Unlock(header_bytes);
      return error;
    }
  }
  const os::Errno error = Acquire(FrameBytes(first, count), locked, !IsGrowthFrame(first));
  if (!error.ok()) {
    if (locked) {
      (void)Unlock(header_bytes);
      (void)Unlock(ledger_bytes);
    }
    return error;
  }
  for (FrameHeader& header : std::span(headers_ + first, count)) {
    header.Reset(FrameState::kFree);
    header.owner = 0;
    header.unlocked = !locked;
  }
  return os::kSuccess;
}

PageTable PoolMemory::TableOf(size_t entries) const {
  auto* first = static_cast<PageTable::Entry*>(table_pages_.address(memory_.page_size()));
  return PageTable(std::span(first + entries, entries));
}

os::Errno PoolMemory::GrowTable(uint64_t frames, bool locked) {
  if (frames <= table_.capacity()) return os::kSuccess;
  PageTable grown = TableOf(PageTable::EntriesFor(frames));
  const std::span<std::byte> bytes = std::as_writable_bytes(grown.entries());
  if (region_ != nullptr && table_.entries().empty()) {
    // What lies before the first table too: ClearTables does not ask which of them there were.
    const os::Errno no_room = Commit({bytes.data() - bytes.size(), bytes.size()});
    if (!no_room.ok()) return no_room;
  }
  const os::Errno error = Acquire(bytes, true, /*to_stay=*/true);
  if (!error.ok() && (locked || !Acquire(bytes, false).ok())) return error;
  if (region_ != nullptr) grown.Clear();  // who was killed here may have begun with it
  KILL_POINT("table.made");
  table_.CopyTo(grown);
  KILL_POINT("table.copied");
  state_.table_entries = grown.entries().size();
  KILL_POINT("table.replaced");
  shared_table_.store(grown.Pack(), std::memory_order_release);
  // A thread may still look at the old one for its hit. It stays mapped, so that this is no fault,
  // and is emptied, so that no page is found there after it has gone from the new one.
  table_.Clear();
  if (table_locked_) (void)Unlock(std::as_writable_bytes(table_.entries()));
  if (!locked_table_.empty()) (void)Unlock(locked_table_);
  if (region_ != nullptr) locked_table_ = bytes;
  table_ = grown;
  table_locked_ = region_ == nullptr && error.ok();
  return os::kSuccess;
}

void PoolMemory::GrowGhost(uint64_t frames) {
  // As many as the main queue holds, as the paper has it.
  const uint32_t capacity = static_cast<uint32_t>(frames - frames / 10);
  const size_t count = Ghost::EntriesFor(capacity);
  if (count <= ghost_.entries().size()) {
    state_.ghost.capacity = std::max(capacity, state_.ghost.capacity);
    return;
  }
  const std::span<uint64_t> entries(
      static_cast<uint64_t*>(ghost_pages_.address(memory_.page_size())) + count, count);
  const std::span<std::byte> bytes = std::as_writable_bytes(entries);
  if (!Acquire(bytes, true).ok()) return;
  if (region_ != nullptr) std::fill(entries.begin(), entries.end(), 0);
  Ghost grown(entries, state_.ghost);
  ghost_.CopyTo(grown);
  state_.ghost.capacity = capacity;
  if (region_ == nullptr) {
    if (!ghost_.entries().empty()) Unacquire(std::as_writable_bytes(ghost_.entries()), true);
  } else {
    if (!locked_ghost_.empty()) (void)Unlock(locked_ghost_);
    locked_ghost_ = bytes;
  }
  KILL_POINT("ghost.copied");
  state_.ghost_entries = count;
  ghost_ = grown;
}

std::span<std::byte> PoolMemory::LineBytes(size_t first, size_t count) const {
  auto* lines = static_cast<PinLine*>(line_pages_.address(memory_.page_size()));
  return std::as_writable_bytes(std::span(lines + first, count));
}

size_t PoolMemory::LinesPerPage() const { return memory_.page_size() / sizeof(PinLine); }

bool PoolMemory::AddPinLines() {
  if (region_ != nullptr) return false;  // it has all of them
  const size_t more = lines_.more();
  const size_t count = std::min(LinesPerPage(), kMoreLinesMax - more);
  if (count == 0 || !Acquire(LineBytes(more, count), true).ok()) return false;
  auto* lines = static_cast<PinLine*>(line_pages_.address(memory_.page_size()));
  lines_.SetMore({lines, more + count});
  return true;
}

uint64_t PoolMemory::NextStep() const {
  const size_t first = hugetlb_ ? kStepBytesMax : kFirstStepBytes;
  const size_t bytes = std::clamp(state_.ordinary * stride_, first, kStepBytesMax);
  const uint64_t left = state_.ordinary_max - std::min(state_.ordinary, state_.ordinary_max);
  const uint64_t count = std::min<uint64_t>(std::max<size_t>(bytes / stride_, 1), left);
  if (region_ == nullptr) return count;
  return std::min(count, frames_per_unit_ - state_.ordinary % frames_per_unit_);
}

// Noted before anything is locked, so that nothing is locked that could not be noted.
bool PoolMemory::AddStep(const Step& step) {
  try {
    steps_.push_back(step);
    return true;
  } catch (const std::bad_alloc&) {
    failure_text_ = kNoMemory;
    return false;
  }
}

os::Result<uint64_t> PoolMemory::Grow() {
  // What is locked of a unit has no gaps.
  if (region_ != nullptr && state_.ordinary % frames_per_unit_ != 0) {
    if (const os::Errno error = LockUnit(state_.ordinary / frames_per_unit_, 0); !error.ok()) {
      return error;
    }
  }
  for (uint64_t count = NextStep(); count > 0; count /= 2) {
    const FrameIndex first = static_cast<FrameIndex>(state_.ordinary);
    if (!AddStep({first, count})) return os::Errno(EAGAIN);
    os::Errno error = GrowTable(frames() + count, true);
    if (error.ok()) error = AcquireFrames(first, count, true);
    if (error.ok()) {
      KILL_POINT("grow.acquired");
      state_.ordinary += count;
      if (region_ != nullptr) NoteLocked(first, count);
      GrowGhost(state_.ordinary);
      return count;
    }
    steps_.pop_back();
    if (count == 1) return error;
  }
  return uint64_t{0};
}

os::Result<FrameIndex> PoolMemory::AddGrowthFrame(bool locked) {
  uint64_t offset = state_.growth_first_absent;
  while (offset < state_.growth_extent &&
         headers_[growth_base_ + offset].state != FrameState::kAbsent) {
    ++offset;
  }
  state_.growth_first_absent = offset;
  const uint64_t index = growth_base_ + offset;
  if (index >= frames_max_) {
    failure_text_ = kNoAddressSpace;
    return os::Errno(ENOMEM);
  }
  if (const os::Errno error = GrowTable(frames() + 1, locked); !error.ok()) return error;
  const FrameIndex frame = static_cast<FrameIndex>(index);
  if (region_ != nullptr && offset < state_.growth_extent) {
    if (const os::Errno error = EnsureLocked(frame); !error.ok()) return error;
    headers_[frame].Reset(FrameState::kFree);  // its memory has stayed
  } else {
    const bool noted = region_ == nullptr || AddStep({frame, 1});
    const os::Errno error = noted ? AcquireFrames(frame, 1, locked) : os::Errno(EAGAIN);
    if (!error.ok()) {
      if (noted && region_ != nullptr) steps_.pop_back();
      return error;
    }
    if (region_ != nullptr && locked_growth_ == offset) ++locked_growth_;
  }
  state_.growth_first_absent = offset + 1;
  state_.growth_extent = std::max(state_.growth_extent, offset + 1);
  ++state_.growth;
  if (!locked) ++state_.unlocked;
  return frame;
}

void PoolMemory::RemoveGrowthFrame(FrameIndex frame) {
  const bool locked = !headers_[frame].unlocked;
  headers_[frame].Reset(FrameState::kAbsent);
  KILL_POINT("overflow.absent");
  headers_[frame].unlocked = false;
  headers_[frame].owner = 0;
  if (region_ == nullptr) {
    Unacquire(FrameBytes(frame, 1), locked);
    if (locked) (void)Unlock(HeaderBytes(frame, 1));
  }
  state_.growth_first_absent = std::min(state_.growth_first_absent, frame - growth_base_);
  --state_.growth;
  if (!locked) --state_.unlocked;
}

FrameIndex PoolMemory::FrameAt(const void* address) const {
  const FrameIndex frame = FrameNear(address);
  if (frame == kNoFrame) return kNoFrame;
  const bool growth = frame >= growth_base_ && frame - growth_base_ < state_.growth_extent;
  if (frame >= state_.ordinary && !growth) return kNoFrame;
  return headers_[frame].state == FrameState::kAbsent ? kNoFrame : frame;
}

}  // namespace mpool::internal
