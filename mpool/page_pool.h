// PagePool: mpool(3) for C++, with pins that end by themselves and errors that explain themselves.
//
// A page pool over a seekable file. Its frames and bookkeeping are locked in memory (pinlock), so a
// page that is in the pool is resident, and getting it neither faults nor enters the kernel, but to
// wait for a thread that has the page for writing, or to wake one that waits to have it. The lock
// limit (RLIMIT_MEMLOCK) bounds the pool: where no more can be locked, it stops growing and evicts.
// See mpool(3) for what each operation does; this interface differs in that Get shares a page with
// other readers and GetForWrite excludes them.
//
//   absl::StatusOr<std::unique_ptr<mpool::PagePool>> pool =
//       mpool::PagePool::Open(fd, {.page_size = 4096, .pages_max = 1024});
//   absl::StatusOr<mpool::PagePin> page = (*pool)->GetForWrite(7);
//   page->bytes()[0] = std::byte{1};
//   page->MarkDirty();

#ifndef MPOOL_PAGE_POOL_H_
#define MPOOL_PAGE_POOL_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

struct mpool_stat;

namespace mpool {

namespace internal {

class PoolCore;

// The hit path, for the inline functions below.
struct PoolHit {
  std::byte* bytes;  // null: no hit
  void* slot;
};
PoolHit TryHit(PoolCore& pool, uint32_t page);  // no hit: the slot is to be given back
PoolHit TryGet(PoolCore& pool, uint32_t page);  // gives it back itself
void EndHit(PoolCore& pool, void* slot);
void EndPin(PoolCore& pool, void* slot, std::byte* data, bool exclusive, bool dirty);

}  // namespace internal

// A page of the file: its offset divided by the page size.
using PageNumber = uint32_t;

// What is done about a page that another process had pinned for writing when it died, or pinned at
// all, if it uses the C interface.
enum class SuspectPages {
  kReport,  // the next get of it fails, once, with DataLoss; the page stays as it is
  kKeep,    // it is as it was left
  kDrop,    // it goes, and is read from the file again
};

struct Options {
  // A name for a pool that the processes of this user share; up to 1,024 bytes of any kind. Empty:
  // a pool of this process alone. See mpool(3), "Shared pools". Looked at by Open() only.
  std::string_view key = {};
  SuspectPages suspect_pages = SuspectPages::kReport;  // of a shared pool
  uint32_t page_size = 4096;                           // bytes; any number from 1 on
  uint32_t pages_max = 1024;                           // pages to cache (maxcache); 0 is 1
  bool prelock = false;  // lock memory for all of pages_max at open, or fail
  // Take memory from the huge pages of 2 MiB that the machine has set aside (vm.nr_hugepages), as
  // long as any are left; then from the rest, of which the kernel makes huge pages where it can.
  // Reserved ones do not count against the lock limit, but for the 2 MiB that are being taken. For
  // page sizes that divide 2 MiB, or from there on; mpool_stat::hugetlb_bytes tells what was had. A
  // shared pool has none.
  bool hugetlb = false;
  bool zero_past_end = false;  // a page past the end reads as zeros instead of being an error
  bool allow_unlocked =
      false;  // when all pages are pinned and no more can be locked, go on unlocked
  // A thread writes dirty pages that were not used lately, so that misses seldom have to. It starts
  // with the first page that is asked for, runs the filters like any other thread, and ends with
  // the pool. What it cannot write stays dirty; Sync tells.
  bool background_writer = false;
  // Processes of this user, and root, may see the pool: mpool(1), `stat`, `top` and `map`. A thread
  // waits for them. MPOOL_PUBLISH=1 in the environment does the same for all pools of a program.
  // Open fails with Unavailable where that is not possible. A shared pool is always seen.
  bool publish = false;
};

// A pinned page. Move-only; unpins at its end. While it lives, the page is resident and stays where
// it is. Not thread-safe itself; may be moved to another thread. Must not outlive its pool: the
// pool's end aborts the program then, with a message.
class PagePin {
 public:
  // Holds nothing.
  PagePin() = default;
  PagePin(PagePin&& other) noexcept;
  PagePin& operator=(PagePin&& other) noexcept;
  ~PagePin() { End(); }

  // The page's bytes, page_size of them; empty where nothing is held. From Get they are for
  // reading.
  absl::Span<std::byte> bytes() const { return {data_, size_}; }
  PageNumber page_number() const { return page_number_; }

  // The page was changed: it is written at the next sync, or before it is evicted.
  // Precondition: from GetForWrite or New.
  void MarkDirty() { dirty_ = true; }

  // Unpins now instead of at the end. Afterwards nothing is held.
  void Release();

 private:
  friend class PagePool;
  enum class Mode : uint8_t { kNone, kShared, kExclusive };
  // Unpins. What the object says is out of date afterwards. Hands over what it says and not itself,
  // so that an object in a function need not be in memory.
  void End() {
    if (slot_ != nullptr && !dirty_) {
      internal::EndHit(*pool_, slot_);
    } else if (mode_ != Mode::kNone) {
      internal::EndPin(*pool_, slot_, data_, mode_ == Mode::kExclusive, dirty_);
    }
  }

  internal::PoolCore* pool_ = nullptr;
  void* slot_ = nullptr;  // where the pool remembers the pin; null: in the page's frame
  std::byte* data_ = nullptr;
  uint32_t size_ = 0;
  PageNumber page_number_ = 0;
  Mode mode_ = Mode::kNone;
  bool dirty_ = false;

 public:
  // What only a PagePool can make, so only it can make a pin of a page.
  class Key {
    friend class PagePool;
    Key() = default;
  };
  PagePin(Key, internal::PoolCore* pool, void* slot, std::byte* data, uint32_t size,
          PageNumber page_number, bool exclusive)
      : pool_(pool),
        slot_(slot),
        data_(data),
        size_(size),
        page_number_(page_number),
        mode_(exclusive ? Mode::kExclusive : Mode::kShared) {}
};

// Thread-safe, but for Open and the destructor. In a child made by fork(2) every call fails with
// FailedPrecondition.
class PagePool {
 public:
  // Called with a page number and the page, in any thread that uses the pool.
  using Filter = std::function<void(PageNumber, absl::Span<std::byte>)>;

  // `fd` stays the caller's and must stay open; with a key it may be closed, and is not needed
  // where another process has the pool open already. Errors are those of mpool_open(3):
  // InvalidArgument, FailedPrecondition (EBADF), ResourceExhausted (ENOMEM: nothing can be locked),
  // Unavailable (EAGAIN), OutOfRange (EFBIG), PermissionDenied (EACCES), with the text of
  // mpool_error(3).
  static absl::StatusOr<std::unique_ptr<PagePool>> Open(int fd, const Options& options);
  // Discards what was not synced, as mpool_close(3) does. Aborts if a PagePin is left.
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // Pins a page for reading; waits while another pin has it for writing. InvalidArgument: past the
  // end, or the file was truncated. ResourceExhausted: all pages are pinned and the limit allows no
  // more. Else the error of reading it, or of writing what would have to go.
  absl::StatusOr<PagePin> Get(PageNumber page) {
    const internal::PoolHit hit = internal::TryHit(*core_, page);
    if (hit.bytes == nullptr) return GetSlowly(page, hit.slot);
    return absl::StatusOr<PagePin>(absl::in_place, PagePin::Key(), core_, hit.slot, hit.bytes,
                                   page_size_, page, /*exclusive=*/false);
  }
  // Pins a page for reading if that is possible at once: it is in the pool, and nobody has it for
  // writing, or had it a moment ago. Else the pin holds nothing. Waits for no page and no I/O;
  // takes no latch and does not enter the kernel, but to wake a thread that waits to write the
  // page. So does the end of a pin. A thread's first call on a pool, and a page that was not got
  // for a long time, may come back empty although the page is there. A miss by TryGet is in no
  // statistic.
  PagePin TryGet(PageNumber page) {
    const internal::PoolHit hit = internal::TryGet(*core_, page);
    if (hit.bytes == nullptr) return PagePin();
    return PagePin(PagePin::Key(), core_, hit.slot, hit.bytes, page_size_, page,
                   /*exclusive=*/false);
  }
  // Pins a page for writing; waits while any PagePin has it, and while the pool is writing it. A
  // thread that holds the page already would wait for itself. Takes the pool's latch; where other
  // threads use the pool, the first one after some gets of a page enters the kernel
  // (membarrier(2)).
  absl::StatusOr<PagePin> GetForWrite(PageNumber page);
  // The same, but wait for other threads no longer than `timeout`. DeadlineExceeded: the page was
  // still being read into the pool, or in use, then; it is as it was. Time that this thread's own
  // reading and writing takes is not bounded.
  absl::StatusOr<PagePin> Get(PageNumber page, std::chrono::nanoseconds timeout);
  absl::StatusOr<PagePin> GetForWrite(PageNumber page, std::chrono::nanoseconds timeout);
  // Makes a page after the last one, or with this number; zeroed, pinned for writing, not yet
  // dirty. AlreadyExists: the number is in the file or the pool. OutOfRange: there is no higher
  // number.
  absl::StatusOr<PagePin> New();
  absl::StatusOr<PagePin> New(PageNumber page);
  // Drops a page from the pool unwritten. FailedPrecondition: it is pinned by others too; then the
  // pin is as it was. Else the pin holds nothing afterwards.
  absl::Status Delete(PagePin& pin);
  // Reads pages in without pinning them, as mpool_prefetch(3) does. Returns how many it has read.
  absl::StatusOr<size_t> Prefetch(absl::Span<const PageNumber> pages);
  // Writes all dirty pages and waits for stable storage. The first error; what failed stays dirty.
  // A page that is pinned for writing meanwhile is written as it is, and again once it is put
  // dirty.
  absl::Status Sync();

  // page_in is called after a page is read, page_out with a copy before it is written; either may
  // be empty. They must not throw; of the pool they may use other pages by Get. Call it before the
  // first page is got.
  absl::Status SetFilters(Filter page_in, Filter page_out);

  // Takes the pool's latch; the fields are explained in mpool.h.
  absl::StatusOr<struct mpool_stat> stats() const;
  uint32_t page_size() const { return page_size_; }
  // Pages in the file, written or not.
  absl::StatusOr<PageNumber> page_count() const;

 private:
  struct Filters;
  PagePool() = default;
  // The pool, or why this process has none.
  absl::StatusOr<internal::PoolCore*> core() const;
  absl::StatusOr<PagePin> GetSlowly(PageNumber page, void* retreat);
  absl::StatusOr<PagePin> Pin(PageNumber page, bool exclusive,
                              std::chrono::steady_clock::time_point deadline,
                              void* retreat = nullptr);
  absl::StatusOr<PagePin> MakePage(const PageNumber* requested);

  internal::PoolCore* core_ = nullptr;
  void* handle_ = nullptr;  // the C interface's, which tells whether core_ is this process'
  uint32_t page_size_ = 0;
  std::unique_ptr<Filters> filters_;
};

}  // namespace mpool

#endif  // MPOOL_PAGE_POOL_H_
