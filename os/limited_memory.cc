#include "os/limited_memory.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>

namespace os::testing {

LimitedMemory::LimitedMemory(Memory& memory, uint64_t limit_bytes)
    : ForwardingMemory(memory), limit_bytes_(limit_bytes), process_(getpid()) {}

void LimitedMemory::SetLimit(uint64_t limit_bytes) {
  const LatchHolder holder(latch_);
  limit_bytes_ = limit_bytes;
}

uint64_t LimitedMemory::limit_bytes() const {
  const LatchHolder holder(latch_);
  return limit_bytes_;
}

uint64_t LimitedMemory::locked_bytes() const {
  const LatchHolder holder(latch_);
  ForgetAfterFork();
  PageCount locked;
  for (const auto& [begin, end] : locked_) locked += end - begin;
  return locked.bytes(page_size());
}

// A child inherits no locks.
void LimitedMemory::ForgetAfterFork() const {
  const int process = getpid();
  if (process_ == process) return;
  locked_.clear();
  process_ = process;
}

PageCount LimitedMemory::CountLocked(PageRange pages) const {
  PageCount locked;
  auto it = locked_.upper_bound(pages.begin());
  if (it != locked_.begin()) --it;
  for (; it != locked_.end() && it->first < pages.end(); ++it) {
    locked += PageRange(it->first, it->second).Intersection(pages).count();
  }
  return locked;
}

void LimitedMemory::Add(PageRange pages) {
  Remove(pages);
  PageNumber begin = pages.begin();
  PageNumber end = pages.end();
  auto next = locked_.lower_bound(begin);
  if (next != locked_.end() && next->first == end) {
    end = next->second;
    next = locked_.erase(next);
  }
  if (next != locked_.begin() && std::prev(next)->second == begin) {
    std::prev(next)->second = end;
  } else {
    locked_.emplace(begin, end);
  }
}

void LimitedMemory::Remove(PageRange pages) {
  auto it = locked_.upper_bound(pages.begin());
  if (it != locked_.begin()) --it;
  while (it != locked_.end() && it->first < pages.end()) {
    const PageRange range(it->first, it->second);
    if (range.end() <= pages.begin()) {
      ++it;
      continue;
    }
    it = locked_.erase(it);
    if (range.begin() < pages.begin()) locked_.emplace(range.begin(), pages.begin());
    if (pages.end() < range.end()) it = locked_.emplace(pages.end(), range.end()).first;
  }
}

Errno LimitedMemory::CheckLimit(PageCount more) const {
  if (limit_bytes_ == 0) return Errno(EPERM);
  PageCount locked = more;
  for (const auto& [begin, end] : locked_) locked += end - begin;
  return locked > PageCount(limit_bytes_ / page_size()) ? Errno(ENOMEM) : kSuccess;
}

// As mlock(2) does: private writable pages get copies of their own.
Errno LimitedMemory::MakeResident(PageRange pages) {
  while (!pages.empty()) {
    const Result<std::optional<Mapping>> found = memory().MappingAt(pages.begin());
    if (!found.ok()) return found.error();
    if (!found->has_value() || !(*found)->pages.contains(pages.begin())) return Errno(ENOMEM);
    const Mapping& mapping = **found;
    if (!mapping.accessible()) return Errno(ENOMEM);
    const PageRange part = mapping.pages.Intersection(pages);
    const Errno error = mapping.writable && !mapping.shared ? memory().PopulateForWriting(part)
                                                            : memory().Populate(part);
    // mlock(2) has one error for all that cannot be read in.
    if (!error.ok()) return error == Errno(EAGAIN) ? error : Errno(ENOMEM);
    pages = PageRange(part.end(), pages.end());
  }
  return kSuccess;
}

PageNumber LimitedMemory::EndOfMapped(PageRange pages) const {
  PageNumber end = pages.begin();
  while (end < pages.end()) {
    const Result<std::optional<Mapping>> found = memory().MappingAt(end);
    if (!found.ok()) return pages.end();  // it cannot be told
    if (!found->has_value() || !(*found)->pages.contains(end)) break;
    end = (*found)->pages.end();
  }
  return std::min(end, pages.end());
}

Errno LimitedMemory::Lock(PageRange pages) {
  if (pages.empty()) return kSuccess;
  const LatchHolder holder(latch_);
  ForgetAfterFork();
  if (const Errno error = CheckLimit(pages.count() - CountLocked(pages)); !error.ok()) return error;
  if (const Errno error = MakeResident(pages); !error.ok()) return error;
  Add(pages);
  return kSuccess;
}

Errno LimitedMemory::Unlock(PageRange pages) {
  if (pages.empty()) return kSuccess;
  const LatchHolder holder(latch_);
  ForgetAfterFork();
  const Errno error = memory().CheckMapped(pages);
  Remove(error.ok() ? pages : PageRange(pages.begin(), EndOfMapped(pages)));
  return error;
}

Errno LimitedMemory::Decommit(PageRange pages) {
  const LatchHolder holder(latch_);
  const Errno error = memory().Decommit(pages);
  if (error.ok()) Remove(pages);
  return error;
}

Errno LimitedMemory::Unmap(PageRange pages) {
  const LatchHolder holder(latch_);
  const Errno error = memory().Unmap(pages);
  if (error.ok()) Remove(pages);
  return error;
}

Errno LimitedMemory::CheckLockLimit(PageCount more) const {
  if (more == PageCount(0)) return kSuccess;
  const LatchHolder holder(latch_);
  ForgetAfterFork();
  return CheckLimit(more);
}

Errno LimitedMemory::PageOut(PageRange pages) {
  const LatchHolder holder(latch_);
  ForgetAfterFork();
  return CountLocked(pages) > PageCount(0) ? Errno(EINVAL) : memory().PageOut(pages);
}

Result<bool> LimitedMemory::AllLocked(PageRange pages) const {
  const LatchHolder holder(latch_);
  ForgetAfterFork();
  return CountLocked(pages) == pages.count() && memory().CheckMapped(pages).ok();
}

Result<std::optional<Mapping>> LimitedMemory::MappingAt(PageNumber page) const {
  const LatchHolder holder(latch_);
  ForgetAfterFork();
  Result<std::optional<Mapping>> found = memory().MappingAt(page);
  if (!found.ok() || !found->has_value()) return found;
  Mapping& mapping = **found;
  const PageNumber begin = mapping.pages.begin();
  const PageNumber at = std::max(page, begin);
  // The piece around `at` in which all pages are locked, or none is.
  PageRange piece = mapping.pages;
  const auto next = locked_.upper_bound(at);
  if (next != locked_.end()) piece = piece.Intersection(PageRange(piece.begin(), next->first));
  if (next != locked_.begin()) {
    const auto [locked_begin, locked_end] = *std::prev(next);
    piece = at < locked_end ? piece.Intersection(PageRange(locked_begin, locked_end))
                            : PageRange(std::max(piece.begin(), locked_end), piece.end());
  }
  if (mapping.file_backed) mapping.file_offset += (piece.begin() - begin).bytes(page_size());
  mapping.pages = piece;
  return found;
}

}  // namespace os::testing
