// Both sides' memory, and the comparison.

#include <algorithm>
#include <vector>

#include "tests/model/page_locker_subject.h"

namespace test_model {
namespace {

using os::Errno;
using os::PageCount;
using os::PageNumber;
using os::PageRange;
using os::testing::FakeMemory;
using pinlock::internal::ByteRange;
using pinlock::internal::LockTable;
using Answers = PageLockerModel::Answers;
using Kind = LockerOperation::Kind;
using Mapped = PageLockerModel::Kind;
using Page = PageLockerModel::Page;
using Thread = PageLockerModel::Thread;

}  // namespace

// --- Both sides' memory --------------------------------------------------------------------------

// The bytes of the operation's range; with a choice, not all of the first and last page.
ByteRange PageLockerSubject::BytesOf(const LockerOperation& operation) const {
  ByteRange bytes = BytesOf(operation.range);
  if (operation.bit(7) && bytes.bytes > 0) bytes = {bytes.address + 5, bytes.bytes - 12};
  return bytes;
}

void PageLockerSubject::MapAs(PageRange range, Mapped kind) {
  if (kind == Mapped::kHole) (void)fake_.Unmap(range);
  if (kind == Mapped::kAnonymous) fake_.AddMapping(range, os::Memory::Access::kReadWrite);
  if (kind == Mapped::kForbidden) fake_.AddMapping(range, os::Memory::Access::kNone);
  const uint64_t in_file = range.count().value() / (kind == Mapped::kPastEnd ? 2 : 1);
  if (kind == Mapped::kFile || kind == Mapped::kPastEnd) {
    fake_.AddFileMapping(range, PageCount(in_file), FakeMemory::FileKind::kSparse);
  }
  model_.ForEach(range, [=, i = uint64_t{0}](Page& page) mutable {
    page.kind = kind == Mapped::kPastEnd && i++ < in_file ? Mapped::kFile : kind;
    page.locked = false;
  });
}

// What mremap(2) does: the locks go along.
void PageLockerSubject::MoveMemory(PageRange from, PageRange to) {
  std::vector<bool> locked;
  for (PageNumber page = from.begin(); page < from.end(); page = page + PageCount(1)) {
    locked.push_back(fake_.IsLocked(page));
  }
  locked.resize(to.count().value(), locked.back());
  fake_.set_lock_limit(std::nullopt);
  (void)fake_.Unmap(from);
  fake_.AddMapping(to, os::Memory::Access::kReadWrite);
  for (size_t i = 0; i < locked.size(); ++i) {
    if (locked[i]) (void)fake_.Lock(PageRange(to.begin() + PageCount(i), PageCount(1)));
  }
  const std::optional<uint64_t>& limit = model_.limits.memlock;
  if (limit) fake_.set_lock_limit(PageCount(*limit));
}

PageLockerModel::Demand PageLockerSubject::DemandOf(PageRange range, Of of) {
  PageLockerModel::Demand demand;
  fake_.set_free_blocks(0);
  for (PageNumber page = range.begin(); page < range.end(); page = page + PageCount(1)) {
    const Page& known = model_.At(page);
    if ((known.count > 0) != (of == Of::kCounted)) continue;
    if (!fake_.IsResident(page)) ++demand.absent;
    if (known.kind != Mapped::kFile) continue;
    if (!fake_.ReserveBlocks(PageRange(page, PageCount(1))).ok()) ++demand.holes;
  }
  fake_.set_free_blocks(model_.limits.free_blocks);
  return demand;
}

// --- The comparison ------------------------------------------------------------------------------

std::string PageLockerSubject::Judge(const Answers& expected, Errno answer) {
  answer_ = answer.Name();
  if (expected.contains(answer.code()) || (faulted() && !answer.ok())) return "";
  std::string text = "the answer is " + answer.Name() + ", not";
  for (const int code : expected) text += " " + Errno(code).Name();
  return text;
}

// After a failed call of the kernel: which pages at 0 it has left locked need not be foretold. All
// of them must be marked.
void PageLockerSubject::Observe() {
  const LockTable& table = state_.shared_table();
  for (PageNumber page = kUniverse.begin(); page < kUniverse.end(); page = page + PageCount(1)) {
    Page& known = model_.At(page);
    if (known.count > 0) continue;
    known.residual = table.FirstSegment(PageRange(page, PageCount(1))).residual;
    known.locked = known.residual && fake_.IsLocked(page);
  }
}

std::string PageLockerSubject::CompareCounts() {
  const LockTable& table = state_.shared_table();
  for (PageRange rest = kUniverse; !rest.empty();) {
    const LockTable::Segment segment = table.FirstSegment(rest);
    for (; rest.begin() < segment.pages.end();
         rest = PageRange(rest.begin() + PageCount(1), rest.end())) {
      const Page& known = model_.At(rest.begin());
      const bool residual = segment.count == 0 && segment.residual;
      if (segment.count == known.count && residual == known.residual) continue;
      return "page " + std::to_string(rest.begin().value()) + " has count " +
             std::to_string(segment.count) + (residual ? " (residual)" : "") + ", not " +
             std::to_string(known.count) + (known.residual ? " (residual)" : "");
    }
  }
  return "";
}

std::string PageLockerSubject::Compare(PageRange range) {
  if (std::string text = CompareCounts(); !text.empty()) return text;
  // The same pages are locked: as many, and each that should be.
  if (fake_.locked_pages().value() != model_.Locked()) {
    return std::to_string(fake_.locked_pages().value()) + " pages are locked in the kernel, not " +
           std::to_string(model_.Locked());
  }
  for (PageNumber page = kUniverse.begin(); page < kUniverse.end(); page = page + PageCount(1)) {
    if (model_.At(page).locked && !fake_.IsLocked(page)) {
      return "page " + std::to_string(page.value()) + " is not locked in the kernel";
    }
  }
  const auto is_counted = [](const Page& page) { return page.count > 0; };
  const auto is_residual = [](const Page& page) { return page.residual; };
  const pinlock::internal::LockStats stats = locker_.Stats();
  if (stats.pages_locked != model_.Count(kUniverse, is_counted)) return "Stats().pages_locked";
  if (stats.pages_residual != model_.Count(kUniverse, is_residual)) return "Stats().pages_residual";
  if (stats.pins != pins_ || stats.unpins != unpins_) return "Stats().pins or unpins";
  pinlock::internal::RangeInfo info;
  const ByteRange bytes = BytesOf(range);
  if (!locker_.Query(bytes.address, bytes.bytes, info, failure_).ok()) return "Query fails";
  uint16_t least = range.empty() ? 0 : LockTable::kMaxCount, most = 0;
  model_.ForEach(range, [&](const Page& page) {
    least = std::min(least, page.count);
    most = std::max(most, page.count);
  });
  const bool same = info.pages == range.count().value() && info.count_min == least &&
                    info.count_max == most && info.pages_locked == model_.Count(range, is_counted);
  return same ? "" : "Query";
}

}  // namespace test_model
