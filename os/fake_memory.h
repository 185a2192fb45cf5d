// FakeMemory: a Memory without the kernel, over synthetic addresses.
//
// What needs holes, lock limits, full mapping tables or gigabytes is tested on it, in no time and
// without privilege. It passes the contract of Memory (memory_contract_test.cc), with the half done
// failures of Linux.
//
// NOTHING CAN BE STORED in its pages: the addresses that Map gives out lead nowhere. Code that
// reads or writes the memory it maps is tested on RealMemory, or on FaultyMemory over RealMemory.

#ifndef OS_FAKE_MEMORY_H_
#define OS_FAKE_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "os/fake_address_space.h"
#include "os/latch.h"
#include "os/memory.h"

namespace os::testing {

// How it fails, beyond what memory.h says:
//  * Lock: over the limit nothing changes. Before a hole the pages are locked and charged, but not
//    made resident. With an inaccessible page or one past the end of its file, the whole range is
//    locked, and resident up to that page. Where the mapping limit forbids a split, the mappings
//    before that one are locked, and nothing is made resident.
//  * Unlock, Commit, Decommit: the part before a hole or a forbidden split is done. Unmap: nothing.
//  * Map: EINVAL for no pages; ENOMEM beyond 2^22 mapped pages, all told.
//
// It has no huge pages set aside. PageOut evicts at once what it may. Costs grow with the number of pages of a range.
//
// Thread-safety: every call is safe from every thread. A forked child goes on with a copy, whatever
// the Fork of a mapping says.
class FakeMemory final : public Memory {
 public:
  // `page_size` is in bytes, a power of two. Starts without mappings and limits.
  explicit FakeMemory(size_t page_size = 4096) : page_size_(page_size), space_(page_size) {}

  size_t page_size() const override { return page_size_; }
  Result<PageRange> Map(PageCount count, Access access, Fork fork,
                        PageCount alignment = PageCount(1)) override;
  Errno Commit(PageRange pages) override;
  Errno CommitHugePages(PageRange pages) override;
  Errno DecommitHugePages(PageRange pages) override;
  Errno Decommit(PageRange pages) override;
  Errno Unmap(PageRange pages) override;
  Errno Lock(PageRange pages) override;
  Errno Unlock(PageRange pages) override;
  Errno CheckLockLimit(PageCount more) const override;
  Errno CheckMapped(PageRange pages) const override;
  Errno Populate(PageRange pages) override;
  Errno PopulateForWriting(PageRange pages) override;
  Errno ReserveBlocks(PageRange pages) override;
  Errno OmitFromDumps(PageRange pages) override;
  Errno OmitFromFork(PageRange pages) override;
  Errno AdviseHugePages(PageRange pages, HugePages advice) override;
  Errno PageOut(PageRange pages) override;
  Result<bool> AllLocked(PageRange pages) const override;
  Result<PageCount> CountPresent(PageRange pages) const override;
  Result<PageCount> CountNeedingMemory(PageRange pages) const override;
  Result<std::optional<Mapping>> MappingAt(PageNumber page) const override;
  std::optional<uint64_t> FileBytes(const Mapping& mapping) const override;

  // RLIMIT_MEMLOCK in pages: 0 forbids every Lock with EPERM; nullopt is that of a privileged
  // process.
  void set_lock_limit(std::optional<PageCount> limit);
  // vm.max_map_count; nullopt is none.
  void set_max_mappings(std::optional<uint64_t> limit);

  // Maps anonymous pages at a place of the caller's choice, in the place of what was mapped there;
  // locks on it are gone, as after mmap(2) with MAP_FIXED. No limit applies.
  void AddMapping(PageRange pages, Access access);
  // The same with a readable and writable shared mapping of the whole of a new file. The file has
  // `pages_in_file` pages: the mapping's pages from there on are past its end.
  // A sparse file has no blocks yet: ReserveBlocks takes them from the free ones.
  enum class FileKind { kFilled, kSparse };
  void AddFileMapping(PageRange pages, PageCount pages_in_file, FileKind kind = FileKind::kFilled);
  // Blocks, of a page each, that the file system has left; at first as many as there are numbers.
  void set_free_blocks(uint64_t blocks);
  // Memory pressure: pages of the range that are not locked are no longer resident.
  void Evict(PageRange pages);
  // The pages are as those that were only read: Lock would need memory for each, though they are
  // resident. Until Lock.
  void ShareZeroPage(PageRange pages);

  // False where nothing is mapped.
  bool IsLocked(PageNumber page) const;
  bool IsResident(PageNumber page) const;
  // Pages charged to the limit.
  PageCount locked_pages() const;
  uint64_t mappings() const;
  // Calls on ranges that were not empty, failed ones included.
  uint64_t lock_calls() const;
  uint64_t unlock_calls() const;

 private:
  Errno CheckLimit(PageCount more) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_);

  const size_t page_size_;
  mutable Latch latch_;
  FakeAddressSpace space_ ABSL_GUARDED_BY(latch_);
  std::optional<PageCount> lock_limit_ ABSL_GUARDED_BY(latch_);
  uint64_t free_blocks_ ABSL_GUARDED_BY(latch_) = ~uint64_t{0};
  uint64_t files_ ABSL_GUARDED_BY(latch_) = 0;
  uint64_t lock_calls_ ABSL_GUARDED_BY(latch_) = 0;
  uint64_t unlock_calls_ ABSL_GUARDED_BY(latch_) = 0;
  PageNumber next_ ABSL_GUARDED_BY(latch_){uint64_t{1} << 20};  // where Map looks for room
};

}  // namespace os::testing

#endif  // OS_FAKE_MEMORY_H_
