// The C interface: checks what a caller can get wrong, and translates errors to errno.

#include "mpool/mpool.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <span>

#include "mpool/internal/error_text.h"
#include "mpool/internal/locker.h"
#include "mpool/internal/open_pool.h"
#include "mpool/internal/pool_core.h"
#include "mpool/internal/pool_hits.h"

namespace {

using mpool::internal::Access;
using mpool::internal::CachedPage;
using mpool::internal::Failed;
using mpool::internal::PageNumber;
using mpool::internal::Pinned;
using mpool::internal::PoolConfig;
using mpool::internal::PoolCore;

void Report(os::Errno error) {
  mpool::internal::ReportErrorText();
  // What else EIO means is told apart by mpool_error(), and by no errno that old callers know.
  errno = error == os::Errno(EOWNERDEAD) ? EIO : error.code();
}

int ReturnError(os::Errno error) {
  if (error.ok()) return 0;
  Report(error);
  return -1;
}

void* ReturnPage(const os::Result<Pinned>& page) {
  if (page.ok()) return page->bytes;
  Report(page.error());
  return nullptr;
}

// The pool behind a handle; EINVAL in a process that did not open it.
os::Result<PoolCore*> PoolOf(MPOOL* mp) {
  PoolCore* pool = PoolCore::FromHandle(mp);
  if (pool != nullptr) return pool;
  return Failed(os::Errno(EINVAL), "%s",
                mp == nullptr
                    ? "the pool is NULL"
                    : "this pool was opened before fork(2), by the parent process; open it "
                      "again in the child");
}

os::Result<PoolCore*> Open(const void* key, int fd, pgno_t pagesize, pgno_t maxcache) {
  PoolConfig config;
  config.page_size = pagesize;
  config.pages_max = std::max<pgno_t>(maxcache, 1);
  config.pins_may_write = true;
  if (key != nullptr) {
    const DBT& dbt = *static_cast<const DBT*>(key);
    const std::span bytes(static_cast<const std::byte*>(dbt.data),
                          dbt.data == nullptr ? 0 : dbt.size);
    return PoolCore::OpenShared(os::RealMemory(), mpool::internal::PinLocker(), bytes, fd, config);
  }
  return mpool::internal::OpenPool(mpool::internal::PinLocker(), fd, config);
}

// Ten pages a line; d is dirty, P is pinned.
void PrintPages(std::span<const CachedPage> pages) {
  const char* separator = "";
  int in_line = 0;
  for (const CachedPage& page : pages) {
    std::fprintf(stderr, "%s%u%s%s", separator, page.number, page.dirty ? "d" : "",
                 page.pinned ? "P" : "");
    in_line = (in_line + 1) % 10;
    separator = in_line == 0 ? "\n" : ", ";
  }
  std::fprintf(stderr, "\n");
}

os::Errno UnknownFlags(const char* call, unsigned int flags) {
  return Failed(os::Errno(EINVAL), "%s does not know the flags %#x", call, flags);
}

[[gnu::noinline]] void* GetSlowly(MPOOL* mp, pgno_t pgno, unsigned int flags,
                                  mpool::internal::PinSlot* retreat) {
  const os::Result<PoolCore*> pool = PoolOf(mp);
  if (!pool.ok()) return ReturnPage(pool.error());
  if ((flags & ~unsigned{MPOOL_IGNOREPIN}) != 0) {
    return ReturnPage(UnknownFlags("mpool_get", flags));
  }
  const Access access = flags == 0 ? Access::kPinned : Access::kNone;
  return ReturnPage((*pool)->GetLatched(pgno, access, mpool::internal::kNoDeadline, retreat));
}

[[gnu::noinline]] int PutSlowly(MPOOL* mp, void* pgaddr, unsigned int flags) {
  const os::Result<PoolCore*> pool = PoolOf(mp);
  if (!pool.ok()) return ReturnError(pool.error());
  if ((flags & ~unsigned{MPOOL_DIRTY}) != 0) return ReturnError(UnknownFlags("mpool_put", flags));
  return ReturnError((*pool)->Put(pgaddr, flags == MPOOL_DIRTY));
}

[[gnu::noinline]] int Wake(PoolCore* pool) {
  pool->WakeWriters();
  return 0;
}

}  // namespace

extern "C" {

MPOOL* mpool_open(void* key, int fd, pgno_t pagesize, pgno_t maxcache) {
  const os::Result<PoolCore*> pool = Open(key, fd, pagesize, maxcache);
  if (pool.ok()) return (*pool)->handle();
  Report(pool.error());
  return nullptr;
}

void mpool_filter(MPOOL* mp, void (*pgin)(void*, pgno_t, void*),
                  void (*pgout)(void*, pgno_t, void*), void* pgcookie) {
  const os::Result<PoolCore*> pool = PoolOf(mp);
  if (pool.ok()) {
    (*pool)->SetFilters({pgin, pgout, pgcookie});
  } else {
    Report(pool.error());
  }
}

void* mpool_new(MPOOL* mp, pgno_t* pgnoaddr, unsigned int flags) {
  const os::Result<PoolCore*> pool = PoolOf(mp);
  if (!pool.ok()) return ReturnPage(pool.error());
  if (flags != 0 && flags != MPOOL_PAGE_REQUEST && flags != MPOOL_PAGE_NEXT) {
    return ReturnPage(UnknownFlags("mpool_new", flags));
  }
  if (pgnoaddr == nullptr) {
    return ReturnPage(Failed(os::Errno(EINVAL), "mpool_new: the pointer to the number is NULL"));
  }
  const PageNumber* requested = flags == MPOOL_PAGE_REQUEST ? pgnoaddr : nullptr;
  return ReturnPage((*pool)->New(requested, Access::kPinned, pgnoaddr));
}

// A hit first, and nothing is called but at the end: see PoolCore::TryHit.
void* mpool_get(MPOOL* mp, pgno_t pgno, unsigned int flags) {
  if (mp == nullptr || flags != 0) [[unlikely]]
    return GetSlowly(mp, pgno, flags, nullptr);
  Pinned hit;
  if (PoolCore::Beside(mp)->TryHit(pgno, hit)) [[likely]]
    return hit.bytes;
  return GetSlowly(mp, pgno, 0, hit.slot);
}

int mpool_put(MPOOL* mp, void* pgaddr, unsigned int flags) {
  if (mp == nullptr || (flags & ~unsigned{MPOOL_DIRTY}) != 0) return PutSlowly(mp, pgaddr, flags);
  PoolCore* const pool = PoolCore::Beside(mp);
  switch (pool->TryPut(pgaddr, flags == MPOOL_DIRTY)) {
    case PoolCore::PutResult::kDone:
      return 0;
    case PoolCore::PutResult::kWake:
      return Wake(pool);
    case PoolCore::PutResult::kNotHere:
      break;
  }
  return PutSlowly(mp, pgaddr, flags);
}

int mpool_delete(MPOOL* mp, void* pgaddr) {
  const os::Result<PoolCore*> pool = PoolOf(mp);
  return ReturnError(
      pool.ok() ? (*pool)->Delete({.bytes = static_cast<std::byte*>(pgaddr)}, Access::kPinned)
                : pool.error());
}

int mpool_sync(MPOOL* mp) {
  const os::Result<PoolCore*> pool = PoolOf(mp);
  return ReturnError(pool.ok() ? (*pool)->Sync() : pool.error());
}

int mpool_close(MPOOL* mp) {
  const os::Result<PoolCore*> pool = PoolOf(mp);
  if (!pool.ok()) return ReturnError(pool.error());
  mpool::internal::ClosePool(*pool);
  return 0;
}

int mpool_get_stat(MPOOL* mp, struct mpool_stat* stat, size_t size) {
  const os::Result<PoolCore*> pool = PoolOf(mp);
  if (!pool.ok()) return ReturnError(pool.error());
  if (stat == nullptr) {
    return ReturnError(
        Failed(os::Errno(EINVAL), "mpool_get_stat: the pointer to the answer is NULL"));
  }
  const struct mpool_stat known = (*pool)->Stats();
  std::memset(stat, 0, size);
  std::memcpy(stat, &known, std::min(size, sizeof(known)));
  return 0;
}

int mpool_set_eof(MPOOL* mp, int mode) {
  const os::Result<PoolCore*> pool = PoolOf(mp);
  if (!pool.ok()) return ReturnError(pool.error());
  if (mode != MPOOL_EOF_ERROR && mode != MPOOL_EOF_ZERO) {
    return ReturnError(Failed(os::Errno(EINVAL), "mpool_set_eof does not know the mode %d", mode));
  }
  (*pool)->SetZeroPastEnd(mode == MPOOL_EOF_ZERO);
  return 0;
}

int mpool_set_overflow(MPOOL* mp, int mode) {
  const os::Result<PoolCore*> pool = PoolOf(mp);
  if (!pool.ok()) return ReturnError(pool.error());
  if (mode != MPOOL_OVERFLOW_FAIL && mode != MPOOL_OVERFLOW_UNLOCKED) {
    return ReturnError(
        Failed(os::Errno(EINVAL), "mpool_set_overflow does not know the mode %d", mode));
  }
  return ReturnError((*pool)->SetAllowUnlocked(mode == MPOOL_OVERFLOW_UNLOCKED));
}

int mpool_set_suspect(MPOOL* mp, int mode) {
  using mpool::internal::SuspectMode;
  const os::Result<PoolCore*> pool = PoolOf(mp);
  if (!pool.ok()) return ReturnError(pool.error());
  switch (mode) {
    case MPOOL_SUSPECT_ERROR:
      (*pool)->SetSuspects(SuspectMode::kReport);
      return 0;
    case MPOOL_SUSPECT_KEEP:
      (*pool)->SetSuspects(SuspectMode::kKeep);
      return 0;
    case MPOOL_SUSPECT_DROP:
      (*pool)->SetSuspects(SuspectMode::kDrop);
      return 0;
    default:
      return ReturnError(
          Failed(os::Errno(EINVAL), "mpool_set_suspect does not know the mode %d", mode));
  }
}

int mpool_prefetch(MPOOL* mp, const pgno_t* pages, size_t count) {
  const os::Result<PoolCore*> pool = PoolOf(mp);
  if (!pool.ok()) return ReturnError(pool.error());
  if (pages == nullptr && count > 0) {
    return ReturnError(Failed(os::Errno(EINVAL), "mpool_prefetch: the list of pages is NULL"));
  }
  const size_t started = (*pool)->Prefetch(std::span(pages, count));
  return static_cast<int>(std::min<size_t>(started, INT_MAX));
}

void mpool_stat(MPOOL* mp) {
  const os::Result<PoolCore*> pool = PoolOf(mp);
  if (!pool.ok()) return Report(pool.error());
  const struct mpool_stat stat = (*pool)->Stats();
  const auto number = [](uint64_t value) { return static_cast<unsigned long long>(value); };
  std::fprintf(stderr, "%u pages in the file\n", (*pool)->page_count());
  std::fprintf(stderr, "page size %lu, cacheing %u pages of %u page max cache\n", mp->pagesize,
               std::atomic_ref(mp->curcache).load(), mp->maxcache);
  std::fprintf(stderr, "%llu page puts, %llu page gets, %llu page new\n", number(stat.puts),
               number(stat.gets), number(stat.news));
  std::fprintf(stderr, "%llu page allocs, %llu page flushes\n", number(stat.frames),
               number(stat.evictions));
  if (stat.gets > 0) {
    std::fprintf(stderr, "%.0f%% cache hit rate (%llu hits, %llu misses)\n",
                 100.0 * static_cast<double>(stat.hits) / static_cast<double>(stat.gets),
                 number(stat.hits), number(stat.misses));
  }
  std::fprintf(stderr, "%llu page reads, %llu page writes\n", number(stat.page_ins),
               number(stat.page_outs));
  // Copied first: nothing is printed while the pool is held.
  const std::unique_ptr<CachedPage[]> pages(new (std::nothrow) CachedPage[stat.frames]);
  const size_t count = pages == nullptr ? 0 : (*pool)->ListPages({pages.get(), stat.frames});
  PrintPages({pages.get(), count});
}

const char* mpool_error(void) { return mpool::internal::ReportedErrorText(); }

}  // extern "C"
