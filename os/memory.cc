#include "os/memory.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "os/mapped_file.h"
#include "os/mappings.h"
#include "os/pagemap.h"
#include "os/raw_memory.h"

namespace os {
namespace {

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

Errno FromCall(long result) { return result == 0 ? kSuccess : Errno::Last(); }

class KernelMemory final : public Memory {
 public:
  size_t page_size() const override {
    static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    return size;
  }

  Result<PageRange> Map(PageCount count, Access access, Fork fork, PageCount alignment) override {
    // Maps more than needed and cuts off what lies outside the aligned part.
    const PageCount slack = alignment.value() > 1 ? alignment : PageCount(0);
    if (count == PageCount(0)) return Errno(EINVAL);
    if (slack > MaxPages() || count > MaxPages() - slack) return Errno(ENOMEM);
    const size_t bytes = (count + slack).bytes(page_size());
    const int protection = access == Access::kNone ? PROT_NONE : PROT_READ | PROT_WRITE;
    void* address =
        RawMmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED) return Errno::Last();
    const PageNumber begin(reinterpret_cast<uintptr_t>(address) / page_size());
    const uint64_t unit = alignment.value();
    const PageNumber aligned((begin.value() + unit - 1) / unit * unit);
    const PageRange wanted(aligned, count);
    // What is left of the mapping: only that may be unmapped again, as other threads map too.
    PageRange left(begin, count + slack);
    Errno error = Unmap(PageRange(begin, wanted.begin()));
    if (error.ok()) left = PageRange(wanted.begin(), left.end());
    if (error.ok()) error = Unmap(PageRange(wanted.end(), left.end()));
    if (error.ok()) left = wanted;
    if (error.ok() && fork != Fork::kInherit) {
      error = Advise(wanted, fork == Fork::kWipe ? MADV_WIPEONFORK : MADV_DONTFORK);
    }
    if (error.ok()) return wanted;
    (void)Unmap(left);
    return error;
  }

  Errno Commit(PageRange pages) override {
    if (pages.empty()) return kSuccess;
    return FromCall(
        mprotect(pages.address(page_size()), pages.bytes(page_size()), PROT_READ | PROT_WRITE));
  }

  Errno CommitHugePages(PageRange pages) override {
    constexpr int kHugeOf2MiB = MAP_HUGETLB | 21 << MAP_HUGE_SHIFT;  // the size's logarithm
    static_assert(kHugePageBytes == size_t{1} << 21);
    if (pages.empty()) return kSuccess;
    const size_t bytes = pages.bytes(page_size());
    void* const place = pages.address(page_size());
    if (bytes % kHugePageBytes != 0 || reinterpret_cast<uintptr_t>(place) % kHugePageBytes != 0) {
      return Errno(EINVAL);
    }
    // Made elsewhere and moved, as mmap(2) with MAP_FIXED may unmap the place and then find no page.
    void* const address = RawMmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | kHugeOf2MiB, -1, 0);
    if (address == kMmapFailed) return Errno::Last();
    const PageRange made(PageNumber(reinterpret_cast<uintptr_t>(address) / page_size()),
                         pages.count());
    Errno error = Advise(made, MADV_DONTFORK);
    if (error.ok()) error = PopulateForWriting(made);
    if (error.ok() &&
        RawMremap(address, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place) == kMmapFailed) {
      error = Errno::Last();
      // The place may be unmapped by now. It must not stay so, for what would come to lie there.
      if (!CheckMapped(pages).ok() && !ReserveAt(pages, MAP_FIXED_NOREPLACE).ok()) {
        std::fputs("mremap(2) has unmapped memory that it could not replace\n", stderr);
        std::abort();
      }
    }
    if (!error.ok()) (void)Unmap(made);
    return error;
  }

  Errno DecommitHugePages(PageRange pages) override {
    if (pages.empty()) return kSuccess;
    const Errno error = ReserveAt(pages, MAP_FIXED);
    return error.ok() ? Advise(pages, MADV_DONTFORK) : error;
  }

  Errno Decommit(PageRange pages) override {
    // Unlocked first: MADV_DONTNEED refuses locked pages.
    if (Errno error = Unlock(pages); !error.ok()) return error;
    if (Errno error = Advise(pages, MADV_DONTNEED); !error.ok()) return error;
    if (pages.empty()) return kSuccess;
    return FromCall(mprotect(pages.address(page_size()), pages.bytes(page_size()), PROT_NONE));
  }

  Errno Unmap(PageRange pages) override {
    if (pages.empty()) return kSuccess;
    return FromCall(RawMunmap(pages.address(page_size()), pages.bytes(page_size())));
  }

  // The C library's mlock and munlock are replaced by calls that do nothing under the sanitizers,
  // so the kernel is called directly.
  Errno Lock(PageRange pages) override {
    if (pages.empty()) return kSuccess;
    return FromCall(syscall(SYS_mlock, pages.address(page_size()), pages.bytes(page_size())));
  }

  Errno Unlock(PageRange pages) override {
    if (pages.empty()) return kSuccess;
    return FromCall(syscall(SYS_munlock, pages.address(page_size()), pages.bytes(page_size())));
  }

  // mlock(2) first holds the length against the limit and only then finds that a range which begins
  // on the last page of the address space wraps around: EINVAL is "the limit allows it", and no
  // mapping can have been touched.
  Errno CheckLockLimit(PageCount more) const override {
    if (more == PageCount(0)) return kSuccess;
    const uintptr_t last_page = ~static_cast<uintptr_t>(0) - (page_size() - 1);
    const size_t bytes = std::min(more, MaxPages()).bytes(page_size());
    if (syscall(SYS_mlock, last_page, bytes) == 0) return kSuccess;
    const Errno error = Errno::Last();
    return error == Errno(EINVAL) ? kSuccess : error;
  }

  // MS_ASYNC has had no effect since Linux 2.6.19, but the range is checked.
  Errno CheckMapped(PageRange pages) const override {
    if (pages.empty()) return kSuccess;
    return FromCall(msync(pages.address(page_size()), pages.bytes(page_size()), MS_ASYNC));
  }

  Errno Populate(PageRange pages) override { return Advise(pages, MADV_POPULATE_READ); }
  Errno PopulateForWriting(PageRange pages) override { return Advise(pages, MADV_POPULATE_WRITE); }
  Errno OmitFromDumps(PageRange pages) override { return Advise(pages, MADV_DONTDUMP); }
  Errno OmitFromFork(PageRange pages) override { return Advise(pages, MADV_DONTFORK); }

  Errno AdviseHugePages(PageRange pages, HugePages advice) override {
    constexpr int kCollapse = 25;  // MADV_COLLAPSE, which Debian 12's headers lack
    switch (advice) {
      case HugePages::kForbid:
        return Advise(pages, MADV_NOHUGEPAGE);
      case HugePages::kAllow:
        return Advise(pages, MADV_HUGEPAGE);
      case HugePages::kMakeNow:
        return Advise(pages, kCollapse);
    }
    std::abort();  // there are no others
  }

  Errno ReserveBlocks(PageRange pages) override {
    return ForEachPart(pages, [this](const Mapping& mapping, PageRange part) {
      if (!mapping.needs_blocks()) return kSuccess;
      const Errno error = AllocateHoles(mapping, part, page_size());
      // Where that could not be done: by way of the mapping, which makes pages dirty.
      return error.ok() || error == Errno(ENOSPC) ? error : PopulateForWriting(part);
    });
  }

  Result<bool> AllLocked(PageRange pages) const override {
    bool all = true;
    const Errno error = ForEachPart(pages, [&](const Mapping&, PageRange part) {
      // MS_INVALIDATE does nothing on Linux but to refuse locked pages.
      const int flags = MS_ASYNC | MS_INVALIDATE;
      const Errno refused =
          FromCall(msync(part.address(page_size()), part.bytes(page_size()), flags));
      all = all && refused == Errno(EBUSY);
      return kSuccess;
    });
    if (error == Errno(ENOMEM)) return false;
    if (!error.ok()) return error;
    return all;
  }

  Errno PageOut(PageRange pages) override { return Advise(pages, MADV_PAGEOUT); }

  Result<PageCount> CountPresent(PageRange pages) const override {
    return CountPresentPages(pages, page_size());
  }

  // Of a private writable mapping mlock(2) writes to every page.
  Result<PageCount> CountNeedingMemory(PageRange pages) const override {
    PageCount needing;
    const Errno error = ForEachPart(pages, [&](const Mapping& mapping, PageRange part) {
      if (mapping.huge_pages) return kSuccess;
      const bool copies = mapping.writable && !mapping.shared;
      const Result<PageCount> ready =
          copies ? CountOwnPages(part) : CountPresentPages(part, page_size());
      if (!ready.ok()) return ready.error();
      needing += part.count() - std::min(*ready, part.count());
      return kSuccess;
    });
    if (!error.ok()) return error;
    return needing;
  }

  Result<std::optional<Mapping>> MappingAt(PageNumber page) const override {
    try {
      return FindMapping(page, page_size());
    } catch (const std::bad_alloc&) {
      return Errno(ENOMEM);
    }
  }

  std::optional<uint64_t> FileBytes(const Mapping& mapping) const override {
    try {
      return MappedFileBytes(mapping);
    } catch (const std::bad_alloc&) {
      return std::nullopt;
    }
  }

 private:
  // Makes addresses inaccessible that are mapped (MAP_FIXED), or that are not (MAP_FIXED_NOREPLACE).
  Errno ReserveAt(PageRange pages, int how) {
    void* const mapped = RawMmap(pages.address(page_size()), pages.bytes(page_size()), PROT_NONE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | how, -1, 0);
    return mapped == kMmapFailed ? Errno::Last() : kSuccess;
  }

  // Calls `visit(mapping, its part of the range)` for each mapping until one fails. ENOMEM: a hole.
  template <typename Visit>
  Errno ForEachPart(PageRange pages, Visit visit) const {
    while (!pages.empty()) {
      const Result<std::optional<Mapping>> mapping = MappingAt(pages.begin());
      if (!mapping.ok()) return mapping.error();
      if (!mapping->has_value() || !(*mapping)->pages.contains(pages.begin())) {
        return Errno(ENOMEM);
      }
      const PageRange part = (*mapping)->pages.Intersection(pages);
      try {
        if (const Errno error = visit(**mapping, part); !error.ok()) return error;
      } catch (const std::bad_alloc&) {
        return Errno(EAGAIN);
      }
      pages = PageRange(part.end(), pages.end());
    }
    return kSuccess;
  }

  // The most pages whose length in bytes does not wrap.
  PageCount MaxPages() const { return PageCount(~size_t{0} / page_size()); }

  Errno Advise(PageRange pages, int advice) {
    if (pages.empty()) return kSuccess;
    return FromCall(RawMadvise(pages.address(page_size()), pages.bytes(page_size()), advice));
  }
};

}  // namespace

Memory& RealMemory() {
  static KernelMemory memory;
  return memory;
}

}  // namespace os
