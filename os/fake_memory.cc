#include "os/fake_memory.h"

#include <algorithm>

namespace os::testing {
namespace {

constexpr PageCount kMappedPagesMax(uint64_t{1} << 22);
// Bytes of address space, as Linux gives a process of x86-64.
constexpr uint64_t kAddressSpaceBytes = uint64_t{1} << 47;

}  // namespace

Errno FakeMemory::CheckLimit(PageCount more) const {
  if (!lock_limit_) return kSuccess;
  if (*lock_limit_ == PageCount(0)) return Errno(EPERM);
  const PageCount locked = space_.locked_pages();
  const bool fits = locked <= *lock_limit_ && more <= *lock_limit_ - locked;
  return fits ? kSuccess : Errno(ENOMEM);
}

Result<PageRange> FakeMemory::Map(PageCount count, Access access, Fork fork, PageCount alignment) {
  if (count == PageCount(0)) return Errno(EINVAL);
  LatchHolder holder(latch_);
  const PageCount room = kMappedPagesMax - std::min(kMappedPagesMax, space_.mapped_pages());
  if (count > room || space_.full()) return Errno(ENOMEM);
  const uint64_t unit = alignment.value();
  while (true) {  // past what AddMapping may have put there
    const PageRange pages(PageNumber((next_.value() + unit - 1) / unit * unit), count);
    // A hole on either side, so that mappings do not merge.
    const PageRange with_holes(PageNumber(pages.begin().value() - 1), pages.end() + PageCount(1));
    next_ = with_holes.end();
    if (next_.value() > kAddressSpaceBytes / page_size_) return Errno(ENOMEM);
    if (space_.AnyMapped(with_holes)) continue;
    FakeAddressSpace::Page page;
    page.access = access;
    page.fork = fork;
    space_.Insert(pages, page);
    return pages;
  }
}

Errno FakeMemory::CommitHugePages(PageRange pages) {
  const uint64_t unit = kHugePageBytes / page_size_;
  if (pages.empty()) return kSuccess;
  if (pages.begin().value() % unit != 0 || pages.count().value() % unit != 0) return Errno(EINVAL);
  return Errno(ENOMEM);
}

Errno FakeMemory::DecommitHugePages(PageRange pages) {
  return pages.empty() ? kSuccess : Errno(EINVAL);  // there can be none
}

Errno FakeMemory::Commit(PageRange pages) {
  LatchHolder holder(latch_);
  return space_.Change(pages, [](FakeAddressSpace::Page& page) {
    page.access = Access::kReadWrite;
    if (page.locked && !page.past_end()) page.resident = true;
  });
}

Errno FakeMemory::Decommit(PageRange pages) {
  LatchHolder holder(latch_);
  const auto unlock = [](FakeAddressSpace::Page& page) { page.locked = false; };
  if (const Errno error = space_.Change(pages, unlock); !error.ok()) return error;
  return space_.Change(pages, [](FakeAddressSpace::Page& page) {
    page.access = Access::kNone;
    page.resident = false;
  });
}

Errno FakeMemory::Unmap(PageRange pages) {
  if (pages.empty()) return kSuccess;
  LatchHolder holder(latch_);
  return space_.Remove(pages);
}

Errno FakeMemory::Lock(PageRange pages) {
  if (pages.empty()) return kSuccess;
  LatchHolder holder(latch_);
  ++lock_calls_;
  Errno error = CheckLimit(pages.count() - space_.CountLocked(pages));
  if (!error.ok()) return error;
  error = space_.Change(pages, [](FakeAddressSpace::Page& page) {
    page.locked = true;
    page.to_copy = false;
  });
  if (!error.ok()) return error;
  return space_.MakeResident(pages).ok() ? kSuccess : Errno(ENOMEM);
}

Errno FakeMemory::Unlock(PageRange pages) {
  if (pages.empty()) return kSuccess;
  LatchHolder holder(latch_);
  ++unlock_calls_;
  return space_.Change(pages, [](FakeAddressSpace::Page& page) { page.locked = false; });
}

Errno FakeMemory::CheckLockLimit(PageCount more) const {
  if (more == PageCount(0)) return kSuccess;
  LatchHolder holder(latch_);
  return CheckLimit(more);
}

Errno FakeMemory::CheckMapped(PageRange pages) const {
  LatchHolder holder(latch_);
  for (PageNumber page = pages.begin(); page < pages.end(); page = page + PageCount(1)) {
    if (space_.Find(page) == nullptr) return Errno(ENOMEM);
  }
  return kSuccess;
}

Errno FakeMemory::Populate(PageRange pages) {
  LatchHolder holder(latch_);
  return space_.MakeResident(pages);
}

// Every page of the fake that can be read can be written.
Errno FakeMemory::PopulateForWriting(PageRange pages) { return Populate(pages); }

Errno FakeMemory::ReserveBlocks(PageRange pages) {
  LatchHolder holder(latch_);
  return space_.FillHoles(pages, free_blocks_);
}

Errno FakeMemory::OmitFromDumps(PageRange pages) { return CheckMapped(pages); }

Errno FakeMemory::OmitFromFork(PageRange pages) {
  LatchHolder holder(latch_);
  return space_.Change(pages, [](FakeAddressSpace::Page& page) { page.fork = Fork::kOmit; });
}

// All of its pages are small.
Errno FakeMemory::AdviseHugePages(PageRange pages, HugePages) {
  LatchHolder holder(latch_);
  return space_.Change(pages, [](FakeAddressSpace::Page&) {});
}

Result<bool> FakeMemory::AllLocked(PageRange pages) const {
  LatchHolder holder(latch_);
  return space_.CountLocked(pages) == pages.count();
}

Errno FakeMemory::PageOut(PageRange pages) {
  LatchHolder holder(latch_);
  return space_.PageOut(pages);
}

Result<PageCount> FakeMemory::CountPresent(PageRange pages) const {
  if (pages.empty()) return PageCount(0);
  LatchHolder holder(latch_);
  if (space_.Wraps(pages) || pages.end().value() > kAddressSpaceBytes / page_size_) {
    return Errno(EINVAL);
  }
  return space_.CountResident(pages);
}

Result<PageCount> FakeMemory::CountNeedingMemory(PageRange pages) const {
  if (const Errno error = CheckMapped(pages); !error.ok()) return error;
  const Result<PageCount> present = CountPresent(pages);
  if (!present.ok()) return present.error();
  LatchHolder holder(latch_);
  return pages.count() - *present + space_.CountToCopy(pages);
}

void FakeMemory::ShareZeroPage(PageRange pages) {
  LatchHolder holder(latch_);
  (void)space_.MakeResident(pages);
  (void)space_.Change(pages, [](FakeAddressSpace::Page& page) { page.to_copy = true; });
}

Result<std::optional<Mapping>> FakeMemory::MappingAt(PageNumber page) const {
  LatchHolder holder(latch_);
  return space_.MappingAt(page);
}

std::optional<uint64_t> FakeMemory::FileBytes(const Mapping& mapping) const {
  LatchHolder holder(latch_);
  return space_.FileBytes(mapping.pages.begin());
}

void FakeMemory::set_free_blocks(uint64_t blocks) {
  LatchHolder holder(latch_);
  free_blocks_ = blocks;
}

void FakeMemory::set_lock_limit(std::optional<PageCount> limit) {
  LatchHolder holder(latch_);
  lock_limit_ = limit;
}

void FakeMemory::set_max_mappings(std::optional<uint64_t> limit) {
  LatchHolder holder(latch_);
  space_.set_max_mappings(limit);
}

void FakeMemory::AddMapping(PageRange pages, Access access) {
  LatchHolder holder(latch_);
  FakeAddressSpace::Page page;
  page.access = access;
  space_.Insert(pages, page);
}

void FakeMemory::AddFileMapping(PageRange pages, PageCount pages_in_file, FileKind kind) {
  LatchHolder holder(latch_);
  FakeAddressSpace::Page page;
  page.file = ++files_;
  page.pages_in_file = pages_in_file.value();
  page.hole = kind == FileKind::kSparse;
  space_.Insert(pages, page);
}

void FakeMemory::Evict(PageRange pages) {
  LatchHolder holder(latch_);
  space_.Evict(pages);
}

bool FakeMemory::IsLocked(PageNumber page) const {
  LatchHolder holder(latch_);
  const FakeAddressSpace::Page* found = space_.Find(page);
  return found != nullptr && found->locked;
}

bool FakeMemory::IsResident(PageNumber page) const {
  LatchHolder holder(latch_);
  const FakeAddressSpace::Page* found = space_.Find(page);
  return found != nullptr && found->resident;
}

PageCount FakeMemory::locked_pages() const {
  LatchHolder holder(latch_);
  return space_.locked_pages();
}

uint64_t FakeMemory::mappings() const {
  LatchHolder holder(latch_);
  return space_.mappings();
}

uint64_t FakeMemory::lock_calls() const {
  LatchHolder holder(latch_);
  return lock_calls_;
}

uint64_t FakeMemory::unlock_calls() const {
  LatchHolder holder(latch_);
  return unlock_calls_;
}

}  // namespace os::testing
