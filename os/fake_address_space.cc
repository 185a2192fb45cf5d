#include "os/fake_address_space.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace os::testing {

// Whether two pages, in the order of their addresses, lie in one mapping.
bool FakeAddressSpace::SameMapping(const Pages::value_type& page, const Pages::value_type& next) {
  const Page& a = page.second;
  const Page& b = next.second;
  return next.first == page.first + PageCount(1) && a.file == b.file &&
         (a.file == 0 || b.file_page == a.file_page + 1) && a.access == b.access &&
         a.fork == b.fork && a.locked == b.locked;
}

FakeAddressSpace::Tally FakeAddressSpace::TallyOf(PageRange pages) const {
  Tally tally;
  const auto end = pages_.upper_bound(pages.end());
  for (auto it = pages_.lower_bound(pages.begin()); it != end; ++it) {
    if (it == pages_.begin() || !SameMapping(*std::prev(it), *it)) ++tally.first_pages;
    if (it->second.locked && it->first < pages.end()) ++tally.locked;
  }
  return tally;
}

void FakeAddressSpace::Account(const Tally& before, const Tally& after) {
  mappings_ = mappings_ - before.first_pages + after.first_pages;
  locked_ = locked_ - before.locked + after.locked;
}

PageNumber FakeAddressSpace::EndOfMapping(Pages::const_iterator it) const {
  auto next = std::next(it);
  while (next != pages_.end() && SameMapping(*it, *next)) it = next++;
  return it->first + PageCount(1);
}

void FakeAddressSpace::Insert(PageRange pages, const Page& first) {
  if (Wraps(pages)) std::abort();  // a test's mistake
  Erase(pages);
  const Tally before = TallyOf(pages);
  const auto next = pages_.lower_bound(pages.end());
  Page made = first;
  for (PageNumber page = pages.begin(); page < pages.end(); page = page + PageCount(1)) {
    pages_.emplace_hint(next, page, made);
    ++made.file_page;
  }
  Account(before, TallyOf(pages));
}

void FakeAddressSpace::Erase(PageRange pages) {
  const Tally before = TallyOf(pages);
  pages_.erase(pages_.lower_bound(pages.begin()), pages_.lower_bound(pages.end()));
  Account(before, TallyOf(pages));
}

Errno FakeAddressSpace::Remove(PageRange pages) {
  if (Wraps(pages)) return Errno(EINVAL);
  const auto first = pages_.lower_bound(pages.begin());
  if (full() && first != pages_.begin()) {
    // A hole within one mapping makes two of it.
    const auto before = std::prev(first);
    const PageNumber end = EndOfMapping(before);
    if (end > pages.end()) return Errno(ENOMEM);
  }
  Erase(pages);
  return kSuccess;
}

Errno FakeAddressSpace::ChangePiece(PageRange piece, const std::function<void(Page&)>& change) {
  const auto begin = pages_.find(piece.begin());
  const auto end = pages_.lower_bound(piece.end());
  const Tally before = TallyOf(piece);
  std::vector<Page> kept;
  for (auto it = begin; it != end; ++it) {
    kept.push_back(it->second);
    change(it->second);
  }
  const Tally after = TallyOf(piece);
  const uint64_t mappings = mappings_ - before.first_pages + after.first_pages;
  if (max_mappings_ && mappings > *max_mappings_ && mappings > mappings_) {
    auto page = kept.begin();
    for (auto it = begin; it != end; ++it) it->second = *page++;
    return Errno(ENOMEM);
  }
  Account(before, after);
  return kSuccess;
}

Errno FakeAddressSpace::Change(PageRange pages, const std::function<void(Page&)>& change) {
  if (Wraps(pages)) return Errno(EINVAL);
  for (PageNumber page = pages.begin(); page < pages.end();) {
    const auto it = pages_.find(page);
    if (it == pages_.end()) return Errno(ENOMEM);
    const PageRange piece(page, std::min(EndOfMapping(it), pages.end()));
    if (const Errno error = ChangePiece(piece, change); !error.ok()) return error;
    page = piece.end();
  }
  return kSuccess;
}

Errno FakeAddressSpace::MakeResident(PageRange pages) {
  if (Wraps(pages)) return Errno(EINVAL);
  auto it = pages_.lower_bound(pages.begin());
  for (PageNumber page = pages.begin(); page < pages.end(); page = page + PageCount(1), ++it) {
    if (it == pages_.end() || it->first != page) return Errno(ENOMEM);
    if (it->second.access == Memory::Access::kNone) return Errno(EINVAL);
    if (it->second.past_end()) return Errno(EFAULT);
    it->second.resident = true;
  }
  return kSuccess;
}

Errno FakeAddressSpace::PageOut(PageRange pages) {
  if (Wraps(pages)) return Errno(EINVAL);
  PageCount mapped(0);
  const auto end = pages_.lower_bound(pages.end());
  for (auto it = pages_.lower_bound(pages.begin()); it != end; ++it) {
    if (it->second.locked) return Errno(EINVAL);
    it->second.resident = false;
    mapped += PageCount(1);
  }
  return mapped == pages.count() ? kSuccess : Errno(ENOMEM);
}

void FakeAddressSpace::Evict(PageRange pages) {
  const auto end = pages_.lower_bound(pages.end());
  for (auto it = pages_.lower_bound(pages.begin()); it != end; ++it) {
    if (!it->second.locked) it->second.resident = false;
  }
}

bool FakeAddressSpace::Wraps(PageRange pages) const {
  const PageNumber last(std::numeric_limits<uintptr_t>::max() / page_size_);
  return pages.begin() > pages.end() || pages.end() > last;
}

const FakeAddressSpace::Page* FakeAddressSpace::Find(PageNumber page) const {
  const auto it = pages_.find(page);
  return it == pages_.end() ? nullptr : &it->second;
}

bool FakeAddressSpace::AnyMapped(PageRange pages) const {
  return pages_.lower_bound(pages.begin()) != pages_.lower_bound(pages.end());
}

PageCount FakeAddressSpace::CountLocked(PageRange pages) const {
  return PageCount(Wraps(pages) ? 0 : TallyOf(pages).locked);
}

PageCount FakeAddressSpace::CountResident(PageRange pages) const {
  const auto count =
      std::count_if(pages_.lower_bound(pages.begin()), pages_.lower_bound(pages.end()),
                    [](const auto& entry) { return entry.second.resident; });
  return PageCount(static_cast<uint64_t>(count));
}

PageCount FakeAddressSpace::CountToCopy(PageRange pages) const {
  const auto count = std::count_if(
      pages_.lower_bound(pages.begin()), pages_.lower_bound(pages.end()),
      [](const auto& entry) { return entry.second.resident && entry.second.to_copy; });
  return PageCount(static_cast<uint64_t>(count));
}

std::optional<Mapping> FakeAddressSpace::MappingAt(PageNumber page) const {
  auto first = pages_.lower_bound(page);
  if (first == pages_.end()) return std::nullopt;
  const PageNumber end = EndOfMapping(first);
  while (first != pages_.begin() && SameMapping(*std::prev(first), *first)) --first;
  const Page& kind = first->second;
  Mapping mapping;
  mapping.pages = PageRange(first->first, end);
  mapping.readable = kind.access == Memory::Access::kReadWrite;
  mapping.writable = mapping.readable;
  if (kind.file != 0) {
    mapping.shared = true;
    mapping.file_backed = true;
    mapping.file_offset = kind.file_page * page_size_;
    mapping.file.inode = kind.file;
    mapping.file_path = "/fake/" + std::to_string(kind.file);
  }
  return mapping;
}

std::optional<uint64_t> FakeAddressSpace::FileBytes(PageNumber page) const {
  const Page* found = Find(page);
  if (found == nullptr || found->file == 0) return std::nullopt;
  return found->pages_in_file * page_size_;
}

Errno FakeAddressSpace::FillHoles(PageRange pages, uint64_t& free_blocks) {
  for (PageNumber page = pages.begin(); page < pages.end(); page = page + PageCount(1)) {
    const auto found = pages_.find(page);
    if (found == pages_.end()) return Errno(ENOMEM);
    if (!found->second.hole || found->second.past_end()) continue;
    if (free_blocks == 0) return Errno(ENOSPC);
    --free_blocks;
    found->second.hole = false;
  }
  return kSuccess;
}

}  // namespace os::testing
