// Memory: mapping, locking and inspecting the pages of this process.
//
// The one place that calls the kernel's memory functions (mmap(2), mlock(2), madvise(2), pagemap).
// Everything above is written against this contract and can run on testing::FakeMemory.
//
// The contract, which RealMemory and FakeMemory both pass (memory_contract_test.cc):
//  * Lock makes every page of the range resident and locked, or fails. On failure the range is left
//    HALF DONE, as Linux leaves it: any mapped page of the range may be locked, resident or not.
//    Whoever needs all or nothing undoes it (pinlock does).
//  * Locks do not nest: one Unlock undoes any number of Locks.
//  * Unlock of a range with a hole fails with ENOMEM after it has unlocked the part before it.
//  * Unlock can fail with ENOMEM without a hole, where the kernel cannot split a mapping
//    (vm.max_map_count); the pages stay locked.
//  * Empty ranges succeed and do nothing.
//
// Thread-safety: every call is safe from every thread; calls on overlapping ranges take effect in
// some order. All calls enter the kernel; Lock blocks while pages are read in.

#ifndef OS_MEMORY_H_
#define OS_MEMORY_H_

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "os/errno.h"
#include "os/page_range.h"
#include "os/result.h"

namespace os {

// A file by its device and its number there.
struct FileIdentity {
  uint64_t device_major = 0;
  uint64_t device_minor = 0;
  uint64_t inode = 0;
};

// One mapping (a VMA) of the address space.
struct Mapping {
  PageRange pages;
  bool readable = false;
  bool writable = false;
  bool executable = false;
  bool shared = false;
  bool file_backed = false;
  bool huge_pages = false;   // of hugetlbfs: never swapped, never charged to the lock limit
  uint64_t file_offset = 0;  // bytes into the file, of the first page
  std::string file_path;     // as the kernel prints it; empty without a file
  FileIdentity file;         // without a file: zeros

  // PROT_NONE: no access of any kind, which mlock(2) refuses.
  bool accessible() const { return readable || writable || executable; }
  // Whether a write to it can need a block of a file system that may not have one. Memory that
  // only looks like a file (memfd_create(2), shmget(2), shared anonymous memory) does not.
  bool needs_blocks() const;
};

class Memory {
 public:
  static constexpr size_t kHugePageBytes = size_t{2} << 20;

  enum class Access {
    kNone,       // reserved address space: PROT_NONE, costs no memory
    kReadWrite,  // zero-filled on first touch
  };
  enum class Fork {
    kInherit,  // a child gets a copy, as usual
    kWipe,     // a child finds zeros (MADV_WIPEONFORK)
    kOmit,     // a child finds a hole (MADV_DONTFORK), so the parent takes no copy-on-write faults
  };

  enum class HugePages {
    kForbid,   // none, not later either: to make one takes its pages away for a moment
    kAllow,    // where a fault finds an aligned range empty
    kMakeNow,  // of every aligned range that is resident, before the call returns
  };

  virtual ~Memory() = default;

  // Bytes in a page of the MMU: a power of two.
  virtual size_t page_size() const = 0;

  // Maps `count` fresh private anonymous pages, aligned to `alignment` pages (a power of two).
  // ENOMEM: no address space (RLIMIT_AS, vm.max_map_count) or memory for it. EINVAL: count is 0.
  virtual Result<PageRange> Map(PageCount count, Access access, Fork fork,
                                PageCount alignment = PageCount(1)) = 0;
  // Makes part of a mapping with Access::kNone readable and writable. ENOMEM as for Map.
  virtual Errno Commit(PageRange pages) = 0;
  // Puts huge pages that the machine has set aside (hugetlbfs, vm.nr_hugepages), of kHugePageBytes
  // each, in the place of pages that Map has given out with Fork::kOmit: zeroed, resident, readable
  // and writable, not inherited either. The kernel never takes them away, and does not charge them
  // to the lock limit. What was in the pages is lost. Where it fails all is as it was: ENOMEM, none
  // are left; EINVAL, `pages` is not whole huge pages, or the kernel has none, or is older than 5.16.
  // Precondition: nothing is locked there.
  virtual Errno CommitHugePages(PageRange pages) = 0;
  // Gives them back and reserves the addresses again (Access::kNone, Fork::kOmit). ENOMEM: too many
  // mappings.
  virtual Errno DecommitHugePages(PageRange pages) = 0;
  // Gives the pages' memory back and reserves the addresses again (Access::kNone); locks on them
  // are gone. ENOMEM: a hole, or a mapping could not be split; part of it may be done.
  virtual Errno Decommit(PageRange pages) = 0;
  // Unmaps the pages; locks on them are gone. ENOMEM: a mapping could not be split.
  virtual Errno Unmap(PageRange pages) = 0;

  // See the contract above. EPERM: RLIMIT_MEMLOCK is 0; ENOMEM: beyond RLIMIT_MEMLOCK (nothing was
  // touched), a hole, an inaccessible page, a page past the end of its file, or a mapping that
  // could not be split; EAGAIN: no memory for the pages; EINVAL: the range wraps.
  virtual Errno Lock(PageRange pages) = 0;
  virtual Errno Unlock(PageRange pages) = 0;

  // Whether the lock limit lets this process lock `more` pages on top of those that it has locked:
  // 0, ENOMEM (beyond RLIMIT_MEMLOCK) or EPERM (it is 0). Asks the kernel itself, so privilege
  // counts exactly where it is real, and changes nothing.
  virtual Errno CheckLockLimit(PageCount more) const = 0;

  // Whether every page of the range is mapped: 0, or ENOMEM. Changes nothing, and needs neither
  // memory nor /proc.
  virtual Errno CheckMapped(PageRange pages) const = 0;

  // Reads the range in for reading, without locking it; a first write may fault again. ENOMEM: a
  // hole. EINVAL: an inaccessible page, or one of a kind that is never locked. EFAULT: a page past
  // the end of its file, or one that its file system could not provide.
  virtual Errno Populate(PageRange pages) = 0;
  // Reads the range in for writing, without locking it: private pages get copies of their own, and
  // pages of a shared file mapping become dirty. Errors as of Populate; EINVAL also where the range
  // may not be written, or the kernel is older than 5.14.
  virtual Errno PopulateForWriting(PageRange pages) = 0;
  // Makes sure that writes to those pages of the range that lie in a shared, writable mapping of a
  // file will find their blocks: allocates them for the file's holes. Other mappings are left
  // alone. ENOSPC: the file system has no blocks left, or the quota is used up; blocks that it does
  // not take back stay allocated (ext4; tmpfs takes back those of one mapping). EFAULT: the same,
  // or a page lies past the end of its file; that could not be told. Touches no page where the file
  // can be found and opened for writing, which is done in a child process (mapped_file.h).
  virtual Errno ReserveBlocks(PageRange pages) = 0;
  // Keeps the pages out of core dumps (MADV_DONTDUMP), or out of children of fork (MADV_DONTFORK).
  // ENOMEM: a hole, or a mapping could not be split.
  virtual Errno OmitFromDumps(PageRange pages) = 0;
  virtual Errno OmitFromFork(PageRange pages) = 0;
  // Tells the kernel about transparent huge pages. An error does no harm: the pages are small then.
  // EINVAL: the kernel has none (kMakeNow: or is older than 6.1). ENOMEM: a hole, or no memory.
  virtual Errno AdviseHugePages(PageRange pages, HugePages advice) = 0;
  // Asks the kernel to evict the pages now (MADV_PAGEOUT). EINVAL: a page of the range is locked.
  virtual Errno PageOut(PageRange pages) = 0;

  // Whether the kernel holds every page of the range locked: each is in a mapping with the flag
  // `lo` of /proc/self/smaps. False where one is not mapped. Changes nothing.
  virtual Result<bool> AllLocked(PageRange pages) const = 0;

  // How many pages of the range are in this process' page tables at this moment, by the present
  // bits of /proc/self/pagemap: reading a present page does not fault, nor does writing one that
  // Lock made present in a private writable mapping. (mincore(2) is no proof: it counts pages in
  // the swap cache.)
  virtual Result<PageCount> CountPresent(PageRange pages) const = 0;

  // How many pages of the range Lock would need memory for: those that are not present, and in a
  // private writable mapping those of which it would make a copy first (the zero page, a page of
  // the file, one shared with a child). At least so many: a page that the page cache has may count
  // as well. Reads the entry of every page where a mapping is private and writable, some 20 ns
  // each. ENOMEM: a hole. EINVAL: beyond the address space.
  virtual Result<PageCount> CountNeedingMemory(PageRange pages) const = 0;

  // The first mapping that ends after `page`: the one that holds it, or the next one. nullopt:
  // none.
  virtual Result<std::optional<Mapping>> MappingAt(PageNumber page) const = 0;
  // Bytes in the file of a mapping, where that can be told: its path still leads to it, or an open
  // descriptor of this process does. nullopt: no file, or it cannot be told.
  virtual std::optional<uint64_t> FileBytes(const Mapping& mapping) const = 0;
};

// The kernel's own. Has no state; lives for ever.
Memory& RealMemory();

}  // namespace os

#endif  // OS_MEMORY_H_
