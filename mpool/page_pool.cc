#include "mpool/page_pool.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <utility>

#include "mpool/internal/error_text.h"
#include "mpool/internal/locker.h"
#include "mpool/internal/open_file.h"
#include "mpool/internal/pool_core.h"

namespace mpool {
namespace {

using internal::Access;
using internal::PoolCore;

absl::Status ToStatus(os::Errno error) {
  if (error.ok()) return absl::OkStatus();
  return absl::Status(absl::ErrnoToStatusCode(error.code()), internal::ErrorText());
}

template <typename T>
std::span<std::byte> BytesOf(T& object) {
  return std::as_writable_bytes(std::span(&object, 1));
}

}  // namespace

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
  bytes_ = std::exchange(other.bytes_, {});
  page_number_ = other.page_number_;
  mode_ = std::exchange(other.mode_, Mode::kNone);
  dirty_ = std::exchange(other.dirty_, false);
  return *this;
}

PagePin::~PagePin() { Release(); }

void PagePin::Release() {
  if (mode_ == Mode::kNone) return;
  const Access access = mode_ == Mode::kShared ? Access::kShared : Access::kExclusive;
  mode_ = Mode::kNone;
  const absl::Span<std::byte> bytes = std::exchange(bytes_, {});
  // In a forked child the pool's memory is wiped: there is no pin.
  if (!pool_->InOwningProcess()) return;
  (void)pool_->Put(bytes.data(), access,
                   std::exchange(dirty_, false));  // pinned, so it cannot fail
}

absl::StatusOr<std::unique_ptr<PagePool>> PagePool::Open(int fd, const Options& options) {
  os::Result<std::unique_ptr<os::File>> file = internal::OpenPoolFile(fd);
  if (!file.ok()) return ToStatus(file.error());
  if (options.page_size == 0) {
    return absl::InvalidArgumentError("a page must have at least 1 byte");
  }
  internal::PoolConfig config;
  config.page_size = options.page_size;
  config.pages_max = std::max<uint32_t>(options.pages_max, 1);
  config.prelock = options.prelock;
  config.zero_past_end = options.zero_past_end;
  config.allow_unlocked = options.allow_unlocked;
  // A hit reads this object too, so it is to be as resident as the rest.
  std::unique_ptr<PagePool> pool(new PagePool());
  internal::Locker& locker = internal::PinLocker();
  if (const os::Errno error = locker.Lock(BytesOf(*pool)); !error.ok()) {
    return absl::Status(absl::ErrnoToStatusCode(error.code()), locker.ErrorText());
  }
  const os::Result<PoolCore*> core =
      PoolCore::Open(os::RealMemory(), locker, std::move(*file), config);
  if (!core.ok()) {
    const absl::Status status = ToStatus(core.error());
    (void)locker.Unlock(BytesOf(*pool));  // locked a moment ago
    return status;
  }
  pool->handle_ = (*core)->handle();
  pool->page_size_ = options.page_size;
  return pool;
}

PagePool::~PagePool() {
  const absl::StatusOr<PoolCore*> pool = core();
  if (!pool.ok()) return;  // a forked child's copy
  if (const uint64_t pins = (*pool)->OwnedPins(); pins > 0) {
    std::fprintf(stderr, "mpool: a PagePool ends while %llu PagePins on it are left\n",
                 static_cast<unsigned long long>(pins));
    std::abort();
  }
  (void)internal::PinLocker().Unlock(BytesOf(*this));  // locked since Open
  PoolCore::Close(*pool);
}

absl::StatusOr<PoolCore*> PagePool::core() const {
  PoolCore* pool = PoolCore::FromHandle(static_cast<MPOOL*>(handle_));  // null before Open is done
  if (pool != nullptr) return pool;
  return absl::FailedPreconditionError(
      "this pool was opened before fork(2), by the parent process; open it again in the child");
}

absl::StatusOr<PagePin> PagePool::Pin(PageNumber page, PagePin::Mode mode) {
  const absl::StatusOr<PoolCore*> pool = core();
  if (!pool.ok()) return pool.status();
  const Access access = mode == PagePin::Mode::kShared ? Access::kShared : Access::kExclusive;
  const os::Result<std::byte*> bytes = (*pool)->Get(page, access);
  if (!bytes.ok()) return ToStatus(bytes.error());
  PagePin pin;
  pin.pool_ = *pool;
  pin.bytes_ = {*bytes, page_size_};
  pin.page_number_ = page;
  pin.mode_ = mode;
  return pin;
}

absl::StatusOr<PagePin> PagePool::Get(PageNumber page) { return Pin(page, PagePin::Mode::kShared); }

absl::StatusOr<PagePin> PagePool::GetForWrite(PageNumber page) {
  return Pin(page, PagePin::Mode::kExclusive);
}

absl::StatusOr<PagePin> PagePool::MakePage(const PageNumber* requested) {
  const absl::StatusOr<PoolCore*> pool = core();
  if (!pool.ok()) return pool.status();
  PagePin pin;
  const os::Result<std::byte*> bytes =
      (*pool)->New(requested, Access::kExclusive, &pin.page_number_);
  if (!bytes.ok()) return ToStatus(bytes.error());
  pin.pool_ = *pool;
  pin.bytes_ = {*bytes, page_size_};
  pin.mode_ = PagePin::Mode::kExclusive;
  return pin;
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
  const os::Errno error = (*pool)->Delete(pin.bytes_.data(), access);
  if (!error.ok()) {
    // EBUSY would translate to Unavailable; but waiting does not help, the other pins must go.
    return absl::FailedPreconditionError(internal::ErrorText());
  }
  pin.mode_ = PagePin::Mode::kNone;
  pin.bytes_ = {};
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
