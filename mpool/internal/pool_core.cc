#include "mpool/internal/pool_core.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "mpool/internal/error_text.h"

namespace mpool::internal {
namespace {

// The handle and the pool, side by side in memory that fork wipes.
struct Home {
  MPOOL handle;
  alignas(PoolCore) std::byte pool[sizeof(PoolCore)];
};

// What a page number can count, and a file offset reach.
PageNumber LimitOfPages(uint32_t page_size) {
  constexpr uint64_t kOffsetMax = std::numeric_limits<int64_t>::max();
  return static_cast<PageNumber>(std::min<uint64_t>(kMaxPageNumber, kOffsetMax / page_size));
}

// The mirrors in the handle are read by callers without a latch.
template <typename T>
void Mirror(T& mirror, uint64_t value) {
  std::atomic_ref<T>(mirror).store(static_cast<T>(value), std::memory_order_relaxed);
}

}  // namespace

PoolCore* PoolCore::FromHandle(MPOOL* handle) {
  return handle == nullptr ? nullptr : reinterpret_cast<PoolCore*>(handle->mp_private);
}

os::Result<PoolCore*> PoolCore::Open(os::Memory& memory, Locker& locker,
                                     std::unique_ptr<os::File> file, const PoolConfig& config) {
  const size_t mmu_page = memory.page_size();
  const os::PageCount count((sizeof(Home) + mmu_page - 1) / mmu_page);
  const os::Result<os::PageRange> pages =
      memory.Map(count, os::Memory::Access::kReadWrite, os::Memory::Fork::kWipe);
  if (!pages.ok()) return Failed(pages.error(), "no address space for a pool");
  const std::span<std::byte> bytes(static_cast<std::byte*>(pages->address(mmu_page)),
                                   pages->bytes(mmu_page));
  if (const os::Errno error = locker.Lock(bytes); !error.ok()) {
    (void)memory.Unmap(*pages);
    return Failed(error, "no locked memory for a pool: %s", locker.ErrorText());
  }
  Home* home = new (bytes.data()) Home{};
  PoolCore* pool =
      new (home->pool) PoolCore(&home->handle, *pages, memory, locker, std::move(file), config);
  home->handle.mp_private = reinterpret_cast<mpool_private*>(pool);
  if (const os::Errno error = pool->Prepare(); !error.ok()) {
    Close(pool);
    return error;
  }
  return pool;
}

void PoolCore::Close(PoolCore* pool) {
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
                   std::unique_ptr<os::File> file, const PoolConfig& config)
    : handle_(handle),
      home_(home),
      memory_(memory),
      locker_(locker),
      io_(std::move(file), config.page_size),
      frames_(memory, locker, config.page_size, config.pages_max),
      page_limit_(LimitOfPages(config.page_size)),
      config_(config) {}

os::Errno PoolCore::Prepare() {
  const os::LatchHolder holder(latch_);
  const os::Result<uint64_t> bytes = io_.FileSize();
  if (!bytes.ok()) return Failed(bytes.error(), "the file's size cannot be read");
  const uint64_t pages = *bytes / config_.page_size;
  if (pages > kMaxPageNumber) {
    return Failed(os::Errno(EFBIG),
                  "the file has %llu pages of %u bytes, and a pool can number %u; use larger pages",
                  static_cast<unsigned long long>(pages), config_.page_size, kMaxPageNumber);
  }
  page_count_ = pages_in_file_ = static_cast<PageNumber>(pages);
  if (const os::Errno error = frames_.Reserve(); !error.ok()) {
    return Failed(error, "no address space for the frames; is RLIMIT_AS (ulimit -v) set?");
  }
  if (config_.prelock && frames_.ordinary_max() < config_.pages_max) {
    return Failed(os::Errno(ENOMEM), "no address space for %llu pages at once",
                  static_cast<unsigned long long>(config_.pages_max));
  }
  replacer_.emplace(frames_.headers());
  do {
    if (const os::Errno error = Grow(); !error.ok()) return error;
  } while (config_.prelock && frames_.frames() < frames_.ordinary_max());
  RefreshMirrors();
  return os::kSuccess;
}

void PoolCore::RefreshMirrors() {
  Mirror(handle_->npages, page_count_);
  Mirror(handle_->pagesize, config_.page_size);
  Mirror(handle_->curcache, cached_);
  Mirror(handle_->maxcache, config_.pages_max);
}

os::Result<std::byte*> PoolCore::Get(PageNumber page, Access access) {
  const os::LatchHolder holder(latch_);
  ++stats_.gets;
  const os::Result<FrameIndex> frame = Fetch(page, access);
  if (!frame.ok()) return frame.error();
  return frames_.frame(*frame);
}

// A page's frame, used as `access` says; loaded first, if it is not there.
os::Result<FrameIndex> PoolCore::Fetch(PageNumber page, Access access) {
  bool missed = false;
  for (;;) {
    const FrameIndex frame = frames_.table().Find(page);
    const bool there = frame != kNoFrame && header(frame).holds_page();
    if (!there && !std::exchange(missed, true)) ++stats_.misses;
    if (there) {
      if (!missed) ++stats_.hits;
      if (const os::Errno error = Pin(frame, access); !error.ok()) return error;
      return frame;
    }
    if (frame != kNoFrame) {
      changed_.Wait(latch_);  // another thread is loading it
      continue;
    }
    if (const os::Errno error = CheckExists(page); !error.ok()) return error;
    const os::Result<FrameIndex> taken = TakeFrame(Overflows::kAllowed);
    if (!taken.ok()) return taken.error();
    // Taking a frame may have let go of the latch, and another thread may have begun to load the
    // page.
    if (frames_.table().Find(page) == kNoFrame) return Load(page, *taken, access);
    GiveBack(*taken);
  }
}

os::Errno PoolCore::CheckExists(PageNumber page) {
  if (page < page_count_ || (config_.zero_past_end && page < page_limit_)) return os::kSuccess;
  return Failed(os::Errno(EINVAL),
                "page %u is past the end: the pool has %u pages, numbered from 0; make it with "
                "mpool_new, or let mpool_set_eof(mp, MPOOL_EOF_ZERO) read it as zeros",
                page, page_count_);
}

// Reads the page into the frame, which is the caller's.
os::Result<FrameIndex> PoolCore::Load(PageNumber page, FrameIndex frame, Access access) {
  const bool must_exist = page < pages_in_file_;
  const Filters filters = filters_;
  BeginLoading(page, frame, access);
  os::Errno error;
  {
    const os::LatchRelease release(latch_);
    error = io_.Read(page, frames_.frame(frame), must_exist, filters);
  }
  if (!error.ok()) {
    --io_in_flight_;
    Unpin(frame, access);
    DropPage(frame);
    GiveBack(frame);
    RefreshMirrors();
    changed_.NotifyAll();
    if (error == os::Errno(EINVAL) && must_exist) {
      return Failed(error, "page %u is gone: the file was truncated while it was in use", page);
    }
    return Failed(error, "page %u cannot be read: %s", page, std::strerror(error.code()));
  }
  ++stats_.page_ins;
  FinishLoading(frame);
  return frame;
}

// The page is in the table, and whoever asks for it waits, until FinishLoading or DropPage.
void PoolCore::BeginLoading(PageNumber page, FrameIndex frame, Access access) {
  FrameHeader& h = header(frame);
  h.page_number = page;
  h.state = FrameState::kLoading;
  frames_.table().Insert(page, frame);
  ++cached_;
  ++io_in_flight_;
  (void)Pin(frame, access);  // the first pin: neither waits nor fails
}

void PoolCore::FinishLoading(FrameIndex frame) {
  header(frame).state = FrameState::kValid;
  --io_in_flight_;
  if (header(frame).pins == 0) Queue(frame);
  RefreshMirrors();
  changed_.NotifyAll();
}

// Pins first, so that the page stays while this waits for an access to end.
os::Errno PoolCore::Pin(FrameIndex frame, Access access) {
  FrameHeader& h = header(frame);
  if (access == Access::kNone) {
    if (h.queued) {  // used just now
      Unqueue(frame);
      Queue(frame);
    }
    return os::kSuccess;
  }
  if (h.pins == kPinsMax) {
    return Failed(os::Errno(EAGAIN),
                  "page %u is pinned %u times, the most there can be; put it back", h.page_number,
                  kPinsMax);
  }
  if (h.queued) Unqueue(frame);
  ++h.pins;
  ++stats_.pins;
  if (access == Access::kShared) {
    while (h.write_latched) changed_.Wait(latch_);
    ++h.readers;
    ++owned_pins_;
  } else if (access == Access::kExclusive) {
    const auto in_use = [&h] {
      return h.write_latched || h.readers > 0 || h.state == FrameState::kWriteback;
    };
    while (in_use()) changed_.Wait(latch_);
    h.write_latched = true;
    ++owned_pins_;
  }
  return os::kSuccess;
}

void PoolCore::Unpin(FrameIndex frame, Access access) {
  FrameHeader& h = header(frame);
  if (access == Access::kNone) return;
  --h.pins;
  --stats_.pins;
  if (access == Access::kShared) --h.readers;
  if (access == Access::kExclusive) h.write_latched = false;
  if (access != Access::kPinned) {
    --owned_pins_;
    if (h.pins > 0) changed_.NotifyAll();
  }
  if (h.pins == 0 && h.state == FrameState::kValid) Queue(frame);
}

os::Result<PageNumber> PoolCore::ChooseNumber(const PageNumber* requested) {
  if (requested == nullptr) {
    // A page past the end may have been read as zeros, and has its number then.
    PageNumber page = page_count_;
    while (page < page_limit_ && frames_.table().Find(page) != kNoFrame) ++page;
    if (page < page_limit_) return page;
  } else if (*requested < page_limit_) {
    if (*requested >= pages_in_file_ && frames_.table().Find(*requested) == kNoFrame) {
      return *requested;
    }
    return Failed(os::Errno(EEXIST), "page %u exists already; get it with mpool_get", *requested);
  }
  return Failed(os::Errno(EFBIG), "there is no page after page %u", page_limit_ - 1);
}

os::Result<std::byte*> PoolCore::New(const PageNumber* requested, Access access, PageNumber* made) {
  const os::LatchHolder holder(latch_);
  os::Result<PageNumber> page = ChooseNumber(requested);
  if (!page.ok()) return page.error();
  const os::Result<FrameIndex> frame = TakeFrame(Overflows::kAllowed);
  if (!frame.ok()) return frame.error();
  page = ChooseNumber(requested);  // again, as taking a frame may have let go of the latch
  if (!page.ok()) {
    GiveBack(*frame);
    return page.error();
  }
  BeginLoading(*page, *frame, access);
  if (*page >= page_count_) page_count_ = *page + 1;
  std::byte* bytes = frames_.frame(*frame);
  {
    const os::LatchRelease release(latch_);
    std::memset(bytes, 0, page_size());
  }
  ++stats_.news;
  FinishLoading(*frame);
  *made = *page;
  return bytes;
}

os::Result<FrameIndex> PoolCore::PinnedFrameAt(const void* address) {
  const FrameIndex frame = frames_.FrameAt(address);
  if (frame == kNoFrame) {
    return Failed(os::Errno(EINVAL), "%p is not the address of a page in this pool", address);
  }
  if (!header(frame).holds_page() || header(frame).pins == 0) {
    return Failed(os::Errno(EINVAL), "the page at %p is not pinned; each put needs a get or new",
                  address);
  }
  return frame;
}

os::Errno PoolCore::Put(const void* address, Access access, bool dirty) {
  const os::LatchHolder holder(latch_);
  const os::Result<FrameIndex> frame = PinnedFrameAt(address);
  if (!frame.ok()) return frame.error();
  if (dirty) SetDirty(header(*frame), true);
  Unpin(*frame, access);
  last_puts_.Record(*frame);
  ++stats_.puts;
  return os::kSuccess;
}

os::Errno PoolCore::Delete(const void* address, Access access) {
  const os::LatchHolder holder(latch_);
  os::Result<FrameIndex> frame = PinnedFrameAt(address);
  while (frame.ok() && header(*frame).state == FrameState::kWriteback && header(*frame).pins == 1) {
    if (PageIo::InFilter()) {
      return Failed(os::Errno(EBUSY), "page %u is being written, and a filter cannot wait for that",
                    header(*frame).page_number);
    }
    changed_.Wait(latch_);
    frame = PinnedFrameAt(address);  // others may have come meanwhile, or put this very pin
  }
  if (!frame.ok()) return frame.error();
  const FrameHeader& h = header(*frame);
  if (h.pins > 1) {
    return Failed(os::Errno(EBUSY), "page %u is pinned %u times; only its last user can delete it",
                  h.page_number, h.pins);
  }
  Unpin(*frame, access);
  Unqueue(*frame);
  DropPage(*frame);
  GiveBack(*frame);
  ++stats_.deletes;
  RefreshMirrors();
  return os::kSuccess;
}

size_t PoolCore::Prefetch(std::span<const PageNumber> pages) {
  const os::LatchHolder holder(latch_);
  size_t read = 0;
  for (const PageNumber page : pages) {
    if (page >= page_count_ || frames_.table().Find(page) != kNoFrame) continue;
    // More than the pool can hold would only drive out what was read before.
    const bool may_grow = frames_taken_ >= grow_again_at_;
    if (read == (may_grow ? frames_.ordinary_max() : frames_.frames())) break;
    const os::Result<FrameIndex> frame = TakeFrame(Overflows::kForbidden);
    if (!frame.ok()) break;
    if (frames_.table().Find(page) != kNoFrame) {
      GiveBack(*frame);  // another thread was first
    } else if (Load(page, *frame, Access::kNone).ok()) {
      ++read;
    }
  }
  return read;
}

void PoolCore::SetFilters(const Filters& filters) {
  const os::LatchHolder holder(latch_);
  filters_ = filters;
}

void PoolCore::SetZeroPastEnd(bool zero) {
  const os::LatchHolder holder(latch_);
  config_.zero_past_end = zero;
}

void PoolCore::SetAllowUnlocked(bool allow) {
  const os::LatchHolder holder(latch_);
  config_.allow_unlocked = allow;
}

struct mpool_stat PoolCore::Stats() {
  const os::LatchHolder holder(latch_);
  struct mpool_stat stats = stats_;
  stats.frames = frames_.frames();
  stats.frames_locked = frames_.frames() - frames_.unlocked_frames();
  stats.frames_overflow = frames_.growth_frames();
  return stats;
}

uint64_t PoolCore::OwnedPins() {
  const os::LatchHolder holder(latch_);
  return owned_pins_;
}

PageNumber PoolCore::page_count() {
  const os::LatchHolder holder(latch_);
  return page_count_;
}

size_t PoolCore::ListPages(std::span<CachedPage> pages) {
  const os::LatchHolder holder(latch_);
  size_t count = 0;
  frames_.ForEachFrame([&](FrameIndex frame) {
    const FrameHeader& h = header(frame);
    if (h.holds_page() && count < pages.size()) {
      pages[count++] = {h.page_number, h.dirty, h.pins > 0};
    }
  });
  return count;
}

}  // namespace mpool::internal
