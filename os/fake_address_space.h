// FakeAddressSpace: the pages of a pretended process, and the mappings that they form.
//
// The table beneath FakeMemory, which adds the latch, the lock limit and the choice of addresses.

#ifndef OS_FAKE_ADDRESS_SPACE_H_
#define OS_FAKE_ADDRESS_SPACE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>

#include "os/memory.h"

namespace os::testing {

// Adjacent pages of equal kind, lock included, are one mapping, as the kernel merges and splits
// them. Costs grow with the number of pages of a range. Not thread-safe.
class FakeAddressSpace {
 public:
  struct Page {
    uint64_t file = 0;           // which file; 0 is none
    uint64_t file_page = 0;      // place in it
    uint64_t pages_in_file = 0;  // its length
    bool hole = false;           // of the file: it has no block for this page
    Memory::Access access = Memory::Access::kReadWrite;
    Memory::Fork fork = Memory::Fork::kInherit;
    bool locked = false;
    bool resident = false;
    bool to_copy = false;  // resident, but Lock would make a copy of it

    bool past_end() const { return file != 0 && file_page >= pages_in_file; }
  };

  // `page_size` is in bytes. Starts empty.
  explicit FakeAddressSpace(size_t page_size) : page_size_(page_size) {}

  // Maps pages like `first`, in the place of what is there, whatever max_mappings says. Of a file
  // they are the pages from 0 on.
  void Insert(PageRange pages, const Page& first);
  // Unmaps the pages; holes among them do not matter. ENOMEM: a mapping could not be split; nothing
  // has changed then.
  Errno Remove(PageRange pages);
  // Applies `change` to the pages, mapping by mapping. EINVAL: the range wraps. ENOMEM: a hole, or
  // a mapping that could not be split; what lies before it is done.
  Errno Change(PageRange pages, const std::function<void(Page&)>& change);
  // Stops at the first page that cannot be read in. ENOMEM: a hole; EINVAL: no access, or the range
  // wraps; EFAULT: past the end of its file.
  Errno MakeResident(PageRange pages);
  // Stops at the first locked page. EINVAL: it did; ENOMEM: there was a hole.
  Errno PageOut(PageRange pages);
  // Evicts the pages that are not locked.
  void Evict(PageRange pages);

  // vm.max_map_count; nullopt is none.
  void set_max_mappings(std::optional<uint64_t> limit) { max_mappings_ = limit; }
  bool full() const { return max_mappings_ && mappings_ >= *max_mappings_; }

  // Whether the end of the range lies beyond the last address.
  bool Wraps(PageRange pages) const;
  // nullptr: a hole.
  const Page* Find(PageNumber page) const;
  bool AnyMapped(PageRange pages) const;
  PageCount CountLocked(PageRange pages) const;
  PageCount CountResident(PageRange pages) const;
  PageCount CountToCopy(PageRange pages) const;
  // Gives each hole under the range one of `free_blocks`. ENOSPC: there were too few, and the holes
  // before that one are filled; ENOMEM: a hole in the address space.
  Errno FillHoles(PageRange pages, uint64_t& free_blocks);
  // As Memory::MappingAt and Memory::FileBytes.
  std::optional<Mapping> MappingAt(PageNumber page) const;
  std::optional<uint64_t> FileBytes(PageNumber page) const;
  PageCount mapped_pages() const { return PageCount(pages_.size()); }
  PageCount locked_pages() const { return PageCount(locked_); }
  uint64_t mappings() const { return mappings_; }

 private:
  using Pages = std::map<PageNumber, Page>;
  // Sums over a range that a change of its pages can change.
  struct Tally {
    uint64_t first_pages = 0;  // pages that begin a mapping, the one after the range included
    uint64_t locked = 0;
  };

  static bool SameMapping(const Pages::value_type& page, const Pages::value_type& next);
  Tally TallyOf(PageRange pages) const;
  void Account(const Tally& before, const Tally& after);
  PageNumber EndOfMapping(Pages::const_iterator it) const;
  void Erase(PageRange pages);
  Errno ChangePiece(PageRange piece, const std::function<void(Page&)>& change);

  const size_t page_size_;
  Pages pages_;
  std::optional<uint64_t> max_mappings_;
  uint64_t locked_ = 0;
  uint64_t mappings_ = 0;
};

}  // namespace os::testing

#endif  // OS_FAKE_ADDRESS_SPACE_H_
