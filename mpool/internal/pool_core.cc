#include "mpool/internal/pool_core.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "mpool/internal/error_text.h"
#include "mpool/internal/kill_point.h"
#include "mpool/internal/pool_hits.h"
#include "mpool/internal/pool_statistics.h"
#include "mpool/internal/probes.h"
#include "os/process_barrier.h"

namespace mpool::internal {
namespace {

// What a page number can count, and a file offset reach.
PageNumber LimitOfPages(uint32_t page_size) {
  constexpr uint64_t kOffsetMax = std::numeric_limits<int64_t>::max();
  return static_cast<PageNumber>(std::min<uint64_t>(kMaxPageNumber, kOffsetMax / page_size));
}

// Not 0, which is what a thread remembers that has used no pool.
uint64_t NextPoolId() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

// The mirrors in the handle are read by callers without a latch.
template <typename T>
void Mirror(T& mirror, uint64_t value) {
  std::atomic_ref<T>(mirror).store(static_cast<T>(value), std::memory_order_relaxed);
}

}  // namespace

os::Result<PoolCore*> PoolCore::OpenIn(os::Memory& memory, Locker& locker,
                                       std::unique_ptr<os::File> file, const PoolConfig& config,
                                       std::unique_ptr<SharedRegion> region) {
  const size_t mmu_page = memory.page_size();
  const os::PageCount count((sizeof(PoolHome) + mmu_page - 1) / mmu_page);
  const os::Result<os::PageRange> pages =
      memory.Map(count, os::Memory::Access::kReadWrite, os::Memory::Fork::kWipe);
  if (!pages.ok()) return Failed(pages.error(), "no address space for a pool");
  const std::span<std::byte> bytes(static_cast<std::byte*>(pages->address(mmu_page)),
                                   pages->bytes(mmu_page));
  if (const os::Errno error = locker.Lock(bytes); !error.ok()) {
    (void)memory.Unmap(*pages);
    return Failed(error, "no locked memory for a pool: %s", locker.ErrorText());
  }
  PoolHome* home = new (bytes.data()) PoolHome{};
  PoolCore* pool = new (home->pool)
      PoolCore(&home->handle, *pages, memory, locker, std::move(file), config, std::move(region));
  if (pool->region_ == nullptr) pool->frames_.lines().SetFirst(home->lines);
  home->handle.mp_private = reinterpret_cast<mpool_private*>(pool);
  if (const os::Errno error = pool->Prepare(); !error.ok()) {
    Close(pool);
    return error;
  }
  return pool;
}

void PoolCore::Close(PoolCore* pool) {
  pool->StopWriter();
  if (pool->region_ != nullptr) pool->Leave();
  os::Memory& memory = pool->memory_;
  Locker& locker = pool->locker_;
  const os::PageRange home = pool->home_;
  pool->~PoolCore();
  const os::Errno unlocked = locker.Unlock(
      {static_cast<std::byte*>(home.address(memory.page_size())), home.bytes(memory.page_size())});
  // A count that could not be taken back must not come to lie under other memory.
  if (unlocked.ok()) (void)memory.Unmap(home);
}

PoolCore::PoolCore(MPOOL* handle, os::PageRange home, os::Memory& memory, Locker& locker,
                   std::unique_ptr<os::File> file, const PoolConfig& config,
                   std::unique_ptr<SharedRegion> region)
    : handle_(handle),
      id_(NextPoolId()),
      region_(std::move(region)),
      frames_(memory, locker, config.page_size, config.pages_max, config.hugetlb, region_.get()),
      state_(region_ == nullptr ? &own_state_ : &region_->state()),
      latch_(region_ == nullptr ? own_state_.latch : region_->state().latch),
      changed_(region_ == nullptr ? own_state_.changed : region_->state().changed),
      home_(home),
      memory_(memory),
      locker_(locker),
      io_(std::move(file), config.page_size),
      page_limit_(LimitOfPages(config.page_size)),
      config_(config) {}

void PoolCore::MakeReplacer() {
  if (config_.least_recently_used) {
    replacer_ = &lru_.emplace(frames_.headers());
  } else {
    replacer_ = &s3_fifo_.emplace(frames_.headers(), usage_, frames_.ghost(), state_->queues);
  }
}

os::Errno PoolCore::Prepare() {
  if (const os::Errno error = frames_.Reserve(); !error.ok()) {
    return Failed(error, "no address space for the frames; is RLIMIT_AS (ulimit -v) set?");
  }
  MakeReplacer();
  // Before the latch: whose last holder has died, what it has left is made good, which takes these.
  if (region_ != nullptr) {
    if (const os::Errno error = PrepareToShare(); !error.ok()) return error;
  }
  const Holder holder(*this);
  if (region_ == nullptr) {
    const bool may_hit = !config_.latched_hits && !config_.least_recently_used;
    hits_without_latch_ = may_hit && os::PrepareProcessBarrier();
    if (const os::Errno error = PrepareState(); !error.ok()) return error;
  } else if (const os::Errno error = JoinOthers(); !error.ok()) {
    return error;
  }
  if (config_.prelock && frames_.ordinary_max() < config_.pages_max) {
    return Failed(os::Errno(ENOMEM), "no address space for %llu pages at once",
                  static_cast<unsigned long long>(config_.pages_max));
  }
  while (frames_.frames() == 0 || (config_.prelock && MayGrow())) {
    if (const os::Errno error = Grow(); !error.ok()) return error;
  }
  for (bool more = config_.prelock; more;) {
    const os::Result<bool> locked = frames_.LockMore();
    if (!locked.ok()) return CannotLock(locked.error());
    more = *locked;
  }
  RefreshMirrors();
  if (region_ != nullptr) region_->Ready();
  return os::kSuccess;
}

// Of a pool that nobody has used yet.
os::Errno PoolCore::PrepareState() {
  const os::Result<uint64_t> bytes = io_.FileSize();
  if (!bytes.ok()) return Failed(bytes.error(), "the file's size cannot be read");
  const uint64_t pages = *bytes / config_.page_size;
  if (pages > kMaxPageNumber) {
    return Failed(os::Errno(EFBIG),
                  "the file has %llu pages of %u bytes, and a pool can number %u; use larger pages",
                  static_cast<unsigned long long>(pages), config_.page_size, kMaxPageNumber);
  }
  state_->page_count = state_->pages_in_file = static_cast<PageNumber>(pages);
  state_->pages_max = config_.pages_max;
  return os::kSuccess;
}

void PoolCore::RefreshMirrors() {
  Mirror(handle_->npages, state_->page_count);
  Mirror(handle_->pagesize, config_.page_size);
  Mirror(handle_->curcache, state_->cached);
  Mirror(handle_->maxcache, state_->pages_max);
}

os::Result<Pinned> PoolCore::Get(PageNumber page, Access access, Deadline deadline) {
  Pinned pinned;
  const bool may_hit = access == Access::kPinned || access == Access::kShared;
  if (may_hit && TryHit(page, pinned)) return pinned;
  return GetLatched(page, access, deadline, pinned.slot);
}

os::Result<Pinned> PoolCore::GetLatched(PageNumber page, Access access, Deadline deadline,
                                        PinSlot* retreat) {
  // A thread that uses several pools in turn: the line is known, but was not the last one.
  const bool may_hit = access == Access::kPinned || access == Access::kShared;
  if (may_hit && FindLine()) {
    Pinned pinned;
    if (TryHit(page, pinned)) return pinned;
    retreat = pinned.slot;
  }
  // Somebody may have seen it for a moment, and be waiting.
  if (retreat != nullptr && EndPin(*retreat)) WakeWriters();
  const Holder holder(*this);
  StartWriter();
  ++state_->stats.gets;
  return Fetch(page, access, deadline);
}

// The page, used as `access` says; loaded first, if it is not there.
os::Result<Pinned> PoolCore::Fetch(PageNumber page, Access access, Deadline deadline) {
  bool missed = false, counted = false;
  for (;;) {
    if (const os::Errno error = CatchUp(); !error.ok()) return error;
    const PageTable::Found found = frames_.table().Look(page);
    const bool known = found.entry != nullptr;
    const bool there = known && header(found.frame()).holds_page();
    if (!there && !std::exchange(missed, true)) ++state_->stats.misses;
    if (there && header(found.frame()).suspect) {
      const os::Result<bool> stays = MeetSuspect(found.frame());
      if (!stays.ok()) return stays.error();
      if (!*stays) continue;
    }
    if (there) {
      if (!std::exchange(counted, true) && !missed) ++state_->stats.hits;
      found.Use();
      if (access != Access::kNone) {
        const os::Errno error = EnsureLocked(found.frame());
        if (!error.ok()) return NoFrameFor(page, error);
      }
      const os::Result<Pinned> pinned = Pin(found.frame(), access, deadline);
      // Whom it has waited for may have died.
      const bool suspect = pinned.ok() && access != Access::kNone && pinned->slot == nullptr &&
                           header(found.frame()).suspect;
      if (!suspect) return pinned;
      EndCountedPin(found.frame(), access);
      continue;
    }
    if (known) {
      if (Await(deadline)) continue;  // another thread is loading it
      return Failed(os::Errno(ETIMEDOUT), "page %u is still being read by another thread", page);
    }
    if (const os::Errno error = CheckExists(page); !error.ok()) return error;
    const os::Result<FrameIndex> taken = TakeFrame(Overflows::kAllowed, deadline);
    if (!taken.ok()) return NoFrameFor(page, taken.error());
    // Taking a frame may have let go of the latch, and another thread may have begun to load the
    // page.
    if (frames_.table().Find(page) == kNoFrame) {
      const os::Errno error = EnsureLocked(*taken);
      if (error.ok()) return Load(page, *taken, access);
      GiveBack(*taken);
      return NoFrameFor(page, error);
    }
    GiveBack(*taken);
  }
}

os::Errno PoolCore::NoFrameFor(PageNumber page, os::Errno error) {
  probe::PinFailed(page, error);
  ++state_->stats.pin_failures;
  return error;
}

os::Errno PoolCore::CheckExists(PageNumber page) {
  if (page < state_->page_count || (config_.zero_past_end && page < page_limit_))
    return os::kSuccess;
  return Failed(os::Errno(EINVAL),
                "page %u is past the end: the pool has %u pages, numbered from 0; make it with "
                "mpool_new, or let mpool_set_eof(mp, MPOOL_EOF_ZERO) read it as zeros",
                page, state_->page_count);
}

// Reads the page into the frame, which is the caller's.
os::Result<Pinned> PoolCore::Load(PageNumber page, FrameIndex frame, Access access) {
  const bool must_exist = page < state_->pages_in_file;
  const Filters filters = filters_;
  const Pinned pinned = BeginLoading(page, frame, access);
  os::Errno error;
  {
    const Unlatched unlatched(*this);
    KILL_POINT("load.unlatched");
    error = io_.Read(page, pinned.bytes, must_exist, filters);
  }
  probe::PageIn(page, error);
  if (!error.ok()) {
    ++state_->stats.read_errors;
    if (pinned.slot != nullptr) {
      pinned.slot->store(0, kSlotStore);
      --state_->line_pins;
    } else if (access != Access::kNone) {
      UncountPin(frame);
    }
    AbandonLoading(frame);
    if (error == os::Errno(EINVAL) && must_exist) {
      return Failed(error, "page %u is gone: the file was truncated while it was in use", page);
    }
    return Failed(error, "page %u cannot be read: %s", page, std::strerror(error.code()));
  }
  ++state_->stats.page_ins;
  FinishLoading(frame);
  return pinned;
}

// The page is in the table, and whoever asks for it waits, until FinishLoading or DropPage.
Pinned PoolCore::BeginLoading(PageNumber page, FrameIndex frame, Access access) {
  FrameHeader& h = header(frame);
  h.page_number = page;
  h.owner = Owner();
  InOrder();
  h.state = FrameState::kLoading;
  InOrder();
  KILL_POINT("load.stated");
  frames_.table().Insert(page, frame);
  KILL_POINT("load.entered");
  ++state_->cached;
  ++state_->io_in_flight;
  ++state_->loading;
  Pinned pinned{.bytes = frames_.frame(frame)};
  if (access == Access::kNone) return pinned;
  if (access != Access::kExclusive) pinned.slot = PinInLine(frame);
  if (pinned.slot != nullptr) return pinned;
  CountPin(frame);
  if (access == Access::kShared) AddReader(frame);
  if (access == Access::kExclusive) SetWriter(frame);
  return pinned;
}

// The page cannot be had. Its pin, if it has one, has ended.
void PoolCore::AbandonLoading(FrameIndex frame) {
  --state_->io_in_flight;
  --state_->loading;
  DropPage(frame);
  GiveBack(frame);
  RefreshMirrors();
  changed_.NotifyAll();
}

void PoolCore::FinishLoading(FrameIndex frame) {
  FrameHeader& h = header(frame);
  KILL_POINT("load.read");
  h.state = FrameState::kValid;
  InOrder();
  KILL_POINT("load.valid");
  h.owner = 0;
  --state_->io_in_flight;
  --state_->loading;
  if (!frames_.IsGrowthFrame(frame)) {
    replacer_->Insert(frame);
    KILL_POINT("load.queued");
  } else if (h.pins == 0) {
    state_->idle_growth.PushBack(frames_.headers(), frame);
  }
  Reopen(frame);
  RefreshMirrors();
  changed_.NotifyAll();
}

os::Result<PageNumber> PoolCore::ChooseNumber(const PageNumber* requested) {
  if (requested == nullptr) {
    // A page past the end may have been read as zeros, and has its number then.
    PageNumber page = state_->page_count;
    while (page < page_limit_ && frames_.table().Find(page) != kNoFrame) ++page;
    if (page < page_limit_) return page;
  } else if (*requested < page_limit_) {
    if (*requested >= state_->pages_in_file && frames_.table().Find(*requested) == kNoFrame) {
      return *requested;
    }
    return Failed(os::Errno(EEXIST), "page %u exists already; get it with mpool_get", *requested);
  }
  return Failed(os::Errno(EFBIG), "there is no page after page %u", page_limit_ - 1);
}

os::Result<Pinned> PoolCore::New(const PageNumber* requested, Access access, PageNumber* made) {
  const Holder holder(*this);
  StartWriter();
  if (const os::Errno error = CatchUp(); !error.ok()) return error;
  os::Result<PageNumber> page = ChooseNumber(requested);
  if (!page.ok()) return page.error();
  const os::Result<FrameIndex> frame = TakeFrame(Overflows::kAllowed);
  if (!frame.ok()) return NoFrameFor(*page, frame.error());
  if (const os::Errno error = EnsureLocked(*frame); !error.ok()) {
    GiveBack(*frame);
    return NoFrameFor(*page, error);
  }
  page = ChooseNumber(requested);  // again, as taking a frame may have let go of the latch
  if (!page.ok()) {
    GiveBack(*frame);
    return page.error();
  }
  const Pinned pinned = BeginLoading(*page, *frame, access);
  KILL_POINT("new.entered");
  if (*page >= state_->page_count) state_->page_count = *page + 1;
  {
    const Unlatched unlatched(*this);
    std::memset(pinned.bytes, 0, page_size());
  }
  ++state_->stats.news;
  FinishLoading(*frame);
  *made = *page;
  return pinned;
}

os::Errno PoolCore::Delete(const Pinned& pinned, Access access) {
  const Holder holder(*this);
  os::Result<FrameIndex> frame = PinnedFrameAt(pinned.bytes);
  if (!frame.ok()) return frame.error();
  const FrameIndex index = *frame;
  const PageNumber page = header(index).page_number;
  Close(*frame);
  while (frame.ok() && header(*frame).state == FrameState::kWriteback && PinsOf(*frame) == 1) {
    if (PageIo::InFilter()) {
      Reopen(*frame);
      return Failed(os::Errno(EBUSY), "page %u is being written, and a filter cannot wait for that",
                    header(*frame).page_number);
    }
    (void)Await(kNoDeadline);
    frame = PinnedFrameAt(pinned.bytes);  // others may have come meanwhile, or put this very pin
    if (frame.ok()) Close(*frame);
  }
  if (!frame.ok()) {
    if (frames_.table().Find(page) == index) Reopen(index);
    return frame.error();
  }
  const FrameHeader& h = header(*frame);
  if (const uint32_t pins = PinsOf(*frame); pins > 1) {
    Reopen(*frame);
    return Failed(os::Errno(EBUSY), "page %u is pinned %u times; only its last user can delete it",
                  h.page_number, pins);
  }
  EndOnlyPin(*frame, pinned, access);
  KILL_POINT("delete.unpinned");
  DropPage(*frame);
  GiveBack(*frame);
  ++state_->stats.deletes;
  RefreshMirrors();
  return os::kSuccess;
}

void PoolCore::SetFilters(const Filters& filters) {
  const Holder holder(*this);
  filters_ = filters;
}

void PoolCore::SetZeroPastEnd(bool zero) {
  const Holder holder(*this);
  config_.zero_past_end = zero;
}

os::Errno PoolCore::SetAllowUnlocked(bool allow) {
  const Holder holder(*this);
  if (allow && region_ != nullptr) {
    return Failed(os::Errno(ENOTSUP), "a shared pool hands out no page that is not locked");
  }
  config_.allow_unlocked = allow;
  return os::kSuccess;
}

void PoolCore::SetSuspects(SuspectMode mode) {
  const Holder holder(*this);
  config_.suspects = mode;
}

struct mpool_stat PoolCore::Stats() {
  const Holder holder(*this);
  struct mpool_stat stats = StatsOf(*state_, frames_.state(), frames_.lines().Sum());
  frames_.ForEachFrame([&](FrameIndex frame) {
    if (header(frame).dirty.load(std::memory_order_relaxed)) ++stats.dirty;
  });
  return stats;
}

uint64_t PoolCore::Pins() {
  const Holder holder(*this);
  if (region_ != nullptr) return OwnPins();
  return StatsOf(*state_, frames_.state(), frames_.lines().Sum()).pins;
}

PageNumber PoolCore::page_count() {
  const Holder holder(*this);
  return state_->page_count;
}

size_t PoolCore::ListPages(std::span<CachedPage> pages) {
  const Holder holder(*this);
  size_t count = 0;
  frames_.ForEachFrame([&](FrameIndex frame) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const FrameHeader& h = header(frame);
    if (h.holds_page() && count < pages.size()) {
      pages[count++] = {h.page_number, h.dirty.load(std::memory_order_relaxed), PinsOf(frame) > 0};
    }
  });
  return count;
}

}  // namespace mpool::internal
