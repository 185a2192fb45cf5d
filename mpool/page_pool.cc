#include "mpool/page_pool.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <utility>

#include "mpool/internal/error_text.h"
#include "mpool/internal/locker.h"
#include "mpool/internal/open_pool.h"
#include "mpool/internal/pool_core.h"
#include "mpool/internal/pool_hits.h"

namespace mpool {
namespace {

using internal::Access;
using internal::PoolCore;

absl::Status ToStatus(os::Errno error) {
  if (error.ok()) return absl::OkStatus();
  if (error == os::Errno(EOWNERDEAD)) return absl::DataLossError(internal::ErrorText());
  return absl::Status(absl::ErrnoToStatusCode(error.code()), internal::ErrorText());
}

// A timeout that the clock cannot count is none.
internal::Deadline DeadlineIn(std::chrono::nanoseconds timeout) {
  const internal::Deadline now = std::chrono::steady_clock::now();
  return timeout > internal::kNoDeadline - now ? internal::kNoDeadline : now + timeout;
}

os::Result<PoolCore*> OpenCore(internal::Locker& locker, int fd, std::string_view key,
                               const internal::PoolConfig& config) {
  if (!key.empty()) {
    return PoolCore::OpenShared(os::RealMemory(), locker, std::as_bytes(std::span(key)), fd,
                                config);
  }
  return internal::OpenPool(locker, fd, config);
}

template <typename T>
std::span<std::byte> BytesOf(T& object) {
  return std::as_writable_bytes(std::span(&object, 1));
}

}  // namespace

// Two results in registers, and nothing called but at the end: see PoolCore::TryHit.
internal::PoolHit internal::TryHit(PoolCore& pool, uint32_t page) {
  Pinned pinned;
  return pool.TryHit(page, pinned) ? PoolHit{pinned.bytes, pinned.slot}
                                   : PoolHit{nullptr, pinned.slot};
}

namespace {

// A hit that failed may have been seen for a moment. And the thread may only have used another pool
// last.
[[gnu::noinline]] internal::PoolHit TryGetAgain(PoolCore& pool, uint32_t page,
                                                internal::PinSlot* slot) {
  if (slot != nullptr) {
    if (pool.EndPin(*slot)) pool.WakeWriters();
    return {nullptr, nullptr};
  }
  internal::Pinned pinned;
  if (pool.FindLine() && pool.TryHit(page, pinned)) return {pinned.bytes, pinned.slot};
  if (pinned.slot != nullptr && pool.EndPin(*pinned.slot)) pool.WakeWriters();
  return {nullptr, nullptr};
}

}  // namespace

internal::PoolHit internal::TryGet(PoolCore& pool, uint32_t page) {
  Pinned pinned;
  if (!pool.TryHit(page, pinned)) return TryGetAgain(pool, page, pinned.slot);
  return {pinned.bytes, pinned.slot};
}

void internal::EndPin(PoolCore& pool, void* slot, std::byte* data, bool exclusive, bool dirty) {
  // In a forked child the pool's memory is wiped: there is no pin.
  if (!pool.InOwningProcess()) return;
  pool.Release({data, static_cast<PinSlot*>(slot)},
               exclusive ? Access::kExclusive : Access::kShared, dirty);
}

// In a forked child there is no pin, and the slot is in memory that was wiped, as the pool is: to
// store
// 0 there changes nothing.
void internal::EndHit(PoolCore& pool, void* slot) {
  if (pool.EndPin(*static_cast<PinSlot*>(slot))) pool.WakeWriters();
}

struct PagePool::Filters {
  Filter page_in;
  Filter page_out;
  uint32_t page_size = 0;

  static void CallIn(void* cookie, PageNumber page, void* bytes) {
    const auto* filters = static_cast<const Filters*>(cookie);
    filters->page_in(page, {static_cast<std::byte*>(bytes), filters->page_size});
  }
  static void CallOut(void* cookie, PageNumber page, void* bytes) {
    const auto* filters = static_cast<const Filters*>(cookie);
    filters->page_out(page, {static_cast<std::byte*>(bytes), filters->page_size});
  }
};

PagePin::PagePin(PagePin&& other) noexcept { *this = std::move(other); }

PagePin& PagePin::operator=(PagePin&& other) noexcept {
  if (this == &other) return *this;
  Release();
  pool_ = other.pool_;
  slot_ = std::exchange(other.slot_, nullptr);
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  page_number_ = other.page_number_;
  mode_ = std::exchange(other.mode_, Mode::kNone);
  dirty_ = std::exchange(other.dirty_, false);
  return *this;
}

void PagePin::Release() {
  if (mode_ == Mode::kNone) return;
  End();
  mode_ = Mode::kNone;
  slot_ = nullptr;
  data_ = nullptr;
  size_ = 0;
  dirty_ = false;
}

absl::StatusOr<std::unique_ptr<PagePool>> PagePool::Open(int fd, const Options& options) {
  internal::PoolConfig config;
  config.page_size = options.page_size;
  config.pages_max = std::max<uint32_t>(options.pages_max, 1);
  config.prelock = options.prelock;
  config.hugetlb = options.hugetlb;
  config.zero_past_end = options.zero_past_end;
  config.allow_unlocked = options.allow_unlocked;
  config.background_writer = options.background_writer;
  config.publish = options.publish;
  config.suspects = options.suspect_pages == SuspectPages::kReport ? internal::SuspectMode::kReport
                    : options.suspect_pages == SuspectPages::kKeep ? internal::SuspectMode::kKeep
                                                                   : internal::SuspectMode::kDrop;
  if (!options.key.empty() && options.allow_unlocked) {
    return absl::InvalidArgumentError("a shared pool hands out no page that is not locked");
  }
  // A hit reads this object too, so it is to be as resident as the rest.
  std::unique_ptr<PagePool> pool(new PagePool());
  internal::Locker& locker = internal::PinLocker();
  if (const os::Errno error = locker.Lock(BytesOf(*pool)); !error.ok()) {
    return absl::Status(absl::ErrnoToStatusCode(error.code()), locker.ErrorText());
  }
  const os::Result<PoolCore*> core = OpenCore(locker, fd, options.key, config);
  if (!core.ok()) {
    const absl::Status status = ToStatus(core.error());
    (void)locker.Unlock(BytesOf(*pool));  // locked a moment ago
    return status;
  }
  pool->core_ = *core;
  pool->handle_ = (*core)->handle();
  pool->page_size_ = options.page_size;
  return pool;
}

PagePool::~PagePool() {
  const absl::StatusOr<PoolCore*> pool = core();
  if (!pool.ok()) return;  // a forked child's copy
  (*pool)->StopWriter();   // its filters may have pages
  if (const uint64_t pins = (*pool)->Pins(); pins > 0) {
    std::fprintf(stderr, "mpool: a PagePool ends while %llu PagePins on it are left\n",
                 static_cast<unsigned long long>(pins));
    std::abort();
  }
  (void)internal::PinLocker().Unlock(BytesOf(*this));  // locked since Open
  internal::ClosePool(*pool);
}

absl::StatusOr<PoolCore*> PagePool::core() const {
  PoolCore* pool = PoolCore::FromHandle(static_cast<MPOOL*>(handle_));  // null before Open is done
  if (pool != nullptr) return pool;
  return absl::FailedPreconditionError(
      "this pool was opened before fork(2), by the parent process; open it again in the child");
}

absl::StatusOr<PagePin> PagePool::Pin(PageNumber page, bool exclusive,
                                      std::chrono::steady_clock::time_point deadline,
                                      void* retreat) {
  const absl::StatusOr<PoolCore*> pool = core();
  if (!pool.ok()) return pool.status();
  const Access access = exclusive ? Access::kExclusive : Access::kShared;
  const os::Result<internal::Pinned> pinned =
      (*pool)->GetLatched(page, access, deadline, static_cast<internal::PinSlot*>(retreat));
  if (!pinned.ok()) return ToStatus(pinned.error());
  return absl::StatusOr<PagePin>(absl::in_place, PagePin::Key(), *pool, pinned->slot, pinned->bytes,
                                 page_size_, page, exclusive);
}

absl::StatusOr<PagePin> PagePool::GetSlowly(PageNumber page, void* retreat) {
  return Pin(page, /*exclusive=*/false, internal::kNoDeadline, retreat);
}

absl::StatusOr<PagePin> PagePool::GetForWrite(PageNumber page) {
  return Pin(page, /*exclusive=*/true, internal::kNoDeadline);
}

absl::StatusOr<PagePin> PagePool::Get(PageNumber page, std::chrono::nanoseconds timeout) {
  return Pin(page, /*exclusive=*/false, DeadlineIn(timeout));
}

absl::StatusOr<PagePin> PagePool::GetForWrite(PageNumber page, std::chrono::nanoseconds timeout) {
  return Pin(page, /*exclusive=*/true, DeadlineIn(timeout));
}

absl::StatusOr<PagePin> PagePool::MakePage(const PageNumber* requested) {
  const absl::StatusOr<PoolCore*> pool = core();
  if (!pool.ok()) return pool.status();
  PageNumber made = 0;
  const os::Result<internal::Pinned> pinned = (*pool)->New(requested, Access::kExclusive, &made);
  if (!pinned.ok()) return ToStatus(pinned.error());
  return absl::StatusOr<PagePin>(absl::in_place, PagePin::Key(), *pool, pinned->slot, pinned->bytes,
                                 page_size_, made, /*exclusive=*/true);
}

absl::StatusOr<PagePin> PagePool::New() { return MakePage(nullptr); }
absl::StatusOr<PagePin> PagePool::New(PageNumber page) { return MakePage(&page); }

absl::Status PagePool::Delete(PagePin& pin) {
  const absl::StatusOr<PoolCore*> pool = core();
  if (!pool.ok()) return pool.status();
  if (pin.mode_ == PagePin::Mode::kNone || pin.pool_ != *pool) {
    return absl::InvalidArgumentError("the pin holds no page of this pool");
  }
  const Access access = pin.mode_ == PagePin::Mode::kShared ? Access::kShared : Access::kExclusive;
  const os::Errno error =
      (*pool)->Delete({pin.data_, static_cast<internal::PinSlot*>(pin.slot_)}, access);
  if (!error.ok()) {
    // EBUSY would translate to Unavailable; but waiting does not help, the other pins must go.
    return absl::FailedPreconditionError(internal::ErrorText());
  }
  pin.mode_ = PagePin::Mode::kNone;
  pin.slot_ = nullptr;
  pin.data_ = nullptr;
  pin.size_ = 0;
  return absl::OkStatus();
}

absl::StatusOr<size_t> PagePool::Prefetch(absl::Span<const PageNumber> pages) {
  const absl::StatusOr<PoolCore*> pool = core();
  if (!pool.ok()) return pool.status();
  return (*pool)->Prefetch(std::span(pages.data(), pages.size()));
}

absl::Status PagePool::Sync() {
  const absl::StatusOr<PoolCore*> pool = core();
  return pool.ok() ? ToStatus((*pool)->Sync()) : pool.status();
}

absl::Status PagePool::SetFilters(Filter page_in, Filter page_out) {
  const absl::StatusOr<PoolCore*> pool = core();
  if (!pool.ok()) return pool.status();
  auto filters = std::make_unique<Filters>();
  filters->page_in = std::move(page_in);
  filters->page_out = std::move(page_out);
  filters->page_size = page_size_;
  (*pool)->SetFilters({filters->page_in ? &Filters::CallIn : nullptr,
                       filters->page_out ? &Filters::CallOut : nullptr, filters.get()});
  filters_ = std::move(filters);
  return absl::OkStatus();
}

absl::StatusOr<struct mpool_stat> PagePool::stats() const {
  const absl::StatusOr<PoolCore*> pool = core();
  if (!pool.ok()) return pool.status();
  return (*pool)->Stats();
}

absl::StatusOr<PageNumber> PagePool::page_count() const {
  const absl::StatusOr<PoolCore*> pool = core();
  if (!pool.ok()) return pool.status();
  return (*pool)->page_count();
}

}  // namespace mpool
