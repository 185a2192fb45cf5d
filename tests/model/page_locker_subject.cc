// The calls of the locker, and what others do to its memory.

#include "tests/model/page_locker_subject.h"

#include <algorithm>
#include <vector>

namespace test_model {
namespace {

using os::Errno;
using os::PageCount;
using os::PageNumber;
using os::PageRange;
using os::testing::FaultPlan;
using pinlock::internal::ByteRange;
using pinlock::internal::LockTable;
using Answers = PageLockerModel::Answers;
using Kind = LockerOperation::Kind;
using Mapped = PageLockerModel::Kind;
using Page = PageLockerModel::Page;
using Thread = PageLockerModel::Thread;

// What a Lock leaves free of a cgroup without a limit (admission.cc).
constexpr uint64_t kReservePages = 64;

}  // namespace

std::string PageLockerSubject::Apply(const LockerOperation& operation, std::string& answer) {
  answer_.clear();
  std::string difference;
  switch (operation.kind) {
    case Kind::kLock:
      difference = Lock(operation);
      break;
    case Kind::kUnlock:
      difference = Unlock(operation);
      break;
    case Kind::kRefresh:
      difference = Refresh(operation);
      break;
    case Kind::kForget:
      difference = Forget(operation.range);
      break;
    case Kind::kIoBegin:
    case Kind::kIoEnd:
      difference = DoIo(operation);
      break;
    case Kind::kMove:
      difference = Move(operation);
      break;
    case Kind::kReplace:
      difference = Replace(operation);
      break;
    case Kind::kFill:
      Fill(operation.range);
      break;
    case Kind::kFault:
      Arm(operation);
      break;
    default:
      if (operation.kind >= Kind::kMaxPages) ChangeLimits(operation);
      if (operation.kind < Kind::kFill) difference = ChangeMemory(operation);
  }
  answer = answer_;
  if (difference.empty() && faulted()) Observe();
  if (difference.empty()) difference = Compare(operation.range);
  if (faulted() && !forever_) armed_ = false;
  return difference;
}

// --- The calls of the locker -------------------------------------------------------------------

std::string PageLockerSubject::Lock(const LockerOperation& operation) {
  const PageRange range = operation.range;
  const PageLockerModel::Demand demand = DemandOf(range);
  // It unlocks residual pages first, which may make room under the limit; if a call of the kernel
  // fails then, they stay.
  const bool retries_all = RetriesAll();
  PageLockerModel retried = model_;
  retried.RetryResidual();
  Answers expected = retried.LockAnswers(range, demand);
  std::vector<PageNumber> fresh;
  for (PageNumber page = range.begin(); page < range.end(); page = page + PageCount(1)) {
    if (model_.At(page).count == 0) fresh.push_back(page);
  }
  // First the short way, as mpin(2) goes; it is for nested pins only.
  if (operation.bit(0) && state_.shared_table().TryNestedPin(range, state_.gate)) {
    if (expected != Answers{0} || !fresh.empty()) return "pinned the short way";
    answer_ = "short way";
    ++pins_;
    model_.Lock(range);
    return "";
  }
  const ByteRange bytes = BytesOf(operation);
  const Errno answer = locker_.Lock(bytes.address, bytes.bytes, failure_);
  if (faulted() || !retries_all) {
    expected.merge(model_.LockAnswers(range, demand));
    if (!faulted()) Observe();
  } else {
    model_.RetryResidual();
  }
  std::string difference = Judge(expected, answer);
  if (demand.holes > 0) {
    model_.limits.free_blocks -= demand.holes - DemandOf(range).holes;
  }
  if (!answer.ok() || !difference.empty()) return difference;
  ++pins_;
  for (const PageNumber page : fresh) {
    if (!fake_.IsResident(page)) return "a page was pinned that is not resident";
  }
  if (demand.holes > 0 && DemandOf(range).holes > 0) return "a hole of a file was pinned";
  model_.Lock(range);
  return "";
}

std::string PageLockerSubject::Unlock(const LockerOperation& operation) {
  const PageRange range = operation.range;
  const Answers expected = model_.UnlockAnswers(range, ThreadOf(operation));
  const bool retries_all = RetriesAll();
  if (operation.bit(0) && state_.shared_table().TryNestedUnpin(range, state_.gate)) {
    if (expected != Answers{0} ||
        model_.Count(range, [](const Page& page) { return page.count < 2; }) > 0) {
      return "unpinned the short way";
    }
    answer_ = "short way";
    ++unpins_;
    model_.Unlock(range);
    return "";
  }
  const ByteRange bytes = BytesOf(operation);
  const Errno answer =
      InThreadOf(operation, [&] { return locker_.Unlock(bytes.address, bytes.bytes, failure_); });
  if (!faulted() && retries_all) model_.RetryResidual();
  if (!faulted() && !retries_all) Observe();
  std::string difference = Judge(expected, answer);
  if (!answer.ok() || !difference.empty()) return difference;
  ++unpins_;
  model_.Unlock(range);
  return "";
}

std::string PageLockerSubject::Refresh(const LockerOperation& operation) {
  const PageRange range = operation.range;
  const ByteRange bytes = BytesOf(operation);
  const PageLockerModel::Demand demand = DemandOf(range, Of::kCounted);
  const Answers expected = model_.RefreshAnswers(range, demand);
  const Errno answer = locker_.Refresh(bytes.address, bytes.bytes, failure_);
  model_.limits.free_blocks -= demand.holes - DemandOf(range, Of::kCounted).holes;
  std::string difference = Judge(expected, answer);
  if (!difference.empty()) return difference;
  if (answer.ok()) {
    model_.Refresh(range);
    return "";
  }
  // Some may be locked again; none is unlocked.
  for (PageNumber page = range.begin(); page < range.end(); page = page + PageCount(1)) {
    if (model_.At(page).count > 0 && fake_.IsLocked(page)) model_.At(page).locked = true;
  }
  return "";
}

std::string PageLockerSubject::Forget(PageRange range) {
  const ByteRange bytes = BytesOf(range);
  const Errno answer = locker_.Forget(bytes.address, bytes.bytes, failure_);
  std::string difference = Judge({0}, answer);
  if (difference.empty() && answer.ok()) model_.Drop(range);
  return difference;
}

std::string PageLockerSubject::DoIo(const LockerOperation& operation) {
  const ByteRange bytes = BytesOf(operation.range);
  const bool begins = operation.kind == Kind::kIoBegin;
  const Thread thread = ThreadOf(operation);
  const Answers expected = begins ? model_.IoBeginAnswers(operation.range)
                                  : model_.IoEndAnswers(operation.range, thread);
  const Errno answer = InThreadOf(operation, [&] {
    return begins ? locker_.IoBegin(bytes.address, bytes.bytes, failure_)
                  : locker_.IoEnd(bytes.address, bytes.bytes, failure_);
  });
  std::string difference = Judge(expected, answer);
  if (!answer.ok() || !difference.empty()) return difference;
  begins ? model_.IoBegin(operation.range, thread) : model_.IoEnd(operation.range, thread);
  return "";
}

// mremap(2) of anonymous memory, told before or after. No call fails meanwhile.
std::string PageLockerSubject::Move(const LockerOperation& operation) {
  const PageRange from = operation.range;
  const uint64_t size = from.count().value();
  const uint64_t other = operation.bit(3) ? size + 1 + operation.extra % 7u : (size + 1) / 2;
  const uint64_t place = operation.bit(0) ? from.begin().value()
                                          : kUniverse.begin().value() + operation.extra / 16u * 69;
  const PageNumber end(
      std::min(place + (operation.bit(1) ? other : size), kUniverse.end().value()));
  const PageRange to(PageNumber(place), end);
  const auto is_plain = [](const Page& page) { return page.kind == Mapped::kAnonymous; };
  if (from.empty() || to.empty() || model_.Count(from, is_plain) != size) return "";
  const uint64_t locked = model_.Locked(from);
  if (from.count() != to.count() && locked != 0 && locked != size) return "";  // two mappings
  const bool in_place = from.begin() == to.begin();
  if (!in_place && !from.Intersection(to).empty()) {
    const ByteRange old_bytes = BytesOf(from), new_bytes = BytesOf(to);
    return Judge({EINVAL}, locker_.Moved(old_bytes, new_bytes, failure_));
  }
  const PageRange grown(std::min(from.end(), to.end()), to.end());
  const auto is_mapped = [](const Page& page) { return page.kind != Mapped::kHole; };
  if (in_place && model_.Count(grown, is_mapped) > 0) return "";
  plan_.Disarm();
  armed_ = false;
  const auto move = [&] {
    MoveMemory(from, to);
    return to.begin().address(fake_.page_size());
  };
  if (operation.bit(2)) {
    const bool fails = operation.bit(7);
    const bool fixed = !in_place && operation.bit(6);
    const auto call = [&]() -> uintptr_t { return fails ? 0 : move(); };
    const uintptr_t answer =
        locker_.Remapping(BytesOf(from), BytesOf(to).bytes,
                          fixed ? std::optional(BytesOf(to).address) : std::nullopt, call);
    if (fails != (answer == 0)) return "the answer of mremap is not passed on";
    if (!fails) model_.Move(from, to);
    // The kernel may have unmapped what was there.
    if (fails && fixed && model_.HoldsAny(to)) model_.DropHoles(to);
    return "";
  }
  move();
  model_.Move(from, to);
  return Judge({0}, locker_.Moved(BytesOf(from), BytesOf(to), failure_));
}

// munmap, mmap with MAP_FIXED, or MADV_DONTNEED_LOCKED, which the locker sees.
std::string PageLockerSubject::Replace(const LockerOperation& operation) {
  constexpr Mapped kKinds[] = {Mapped::kHole, Mapped::kAnonymous, Mapped::kForbidden,
                               Mapped::kFile, Mapped::kFile,      Mapped::kPastEnd};
  const PageRange range = operation.range;
  const unsigned choice = operation.extra % 9u;
  const bool fails = choice >= 7, unlock = choice == 6, holds = model_.HoldsAny(range);
  bool called = false;
  const auto call = [&] {
    called = true;
    if (choice < 6) MapAs(range, kKinds[choice]);
    // Where it fails, a part may be unmapped all the same.
    if (choice == 8) {
      MapAs(PageRange(range.begin(), PageCount(range.count().value() / 2)), Mapped::kHole);
    }
    return !fails;
  };
  const bool done = locker_.Replacing(BytesOf(range), unlock, call);
  answer_ = done ? "true" : "false";
  if (!called) return faulted() && !done ? "" : "the call was not made";
  if (done != !fails) return "the answer of the call is not passed on";
  if (holds) {
    done ? model_.Drop(range) : model_.DropHoles(range);
  } else {
    model_.EndIo(range);
  }
  return "";
}

// --- What others do ------------------------------------------------------------------------------

std::string PageLockerSubject::ChangeMemory(const LockerOperation& operation) {
  const PageRange range = operation.range;
  const auto is_hole = [](const Page& page) { return page.kind == Mapped::kHole; };
  const bool mapped = model_.Count(range, is_hole) == 0;
  if (operation.kind == Kind::kEvict) fake_.Evict(range);
  if (operation.kind == Kind::kMunlock && mapped) {
    (void)fake_.Unlock(range);
    model_.ForEach(range, [](Page& page) { page.locked = false; });
  }
  if (operation.kind == Kind::kAllow && mapped) {
    (void)fake_.Commit(range);
    model_.ForEach(range, [](Page& page) {
      if (page.kind == Mapped::kForbidden) page.kind = Mapped::kAnonymous;
    });
  }
  if (operation.kind == Kind::kUnmap) MapAs(range, Mapped::kHole);
  if (operation.kind == Kind::kMap) MapAs(range, Mapped::kAnonymous);
  if (operation.kind == Kind::kForbid) MapAs(range, Mapped::kForbidden);
  const bool told = operation.kind <= Kind::kForbid && operation.extra % 4 != 0;
  return told ? Forget(range) : "";
}

void PageLockerSubject::ChangeLimits(const LockerOperation& operation) {
  const uint64_t extra = operation.extra;
  // Close to what is locked, or anything, or none.
  const uint64_t close = model_.Locked() + extra % 8;
  const std::optional<uint64_t> pages =
      extra >= 192 ? std::nullopt : std::optional(extra >= 96 ? close : extra * 6);
  PageLockerModel::Limits& limits = model_.limits;
  if (operation.kind == Kind::kMaxPages) {
    limits.pages_max = pages.value_or(0);
    locker_.SetMaxPages(limits.pages_max);
  } else if (operation.kind == Kind::kLockLimit) {
    limits.memlock = pages;
    fake_.set_lock_limit(pages ? std::optional(PageCount(*pages)) : std::nullopt);
  } else if (operation.kind == Kind::kRssLimit) {
    limits.rss = pages;
    limits_.rss.reset();
    if (pages) limits_.rss = *pages * fake_.page_size();
  } else if (operation.kind == Kind::kHeadroom) {
    limits.headroom = extra >= 192 ? std::nullopt : std::optional(extra);
    limits_.headroom = os::Headroom();
    if (limits.headroom) {
      limits_.headroom.bound = os::Headroom::Bound::kCgroupV1;
      limits_.headroom.bytes = (kReservePages + extra) * fake_.page_size();
    }
  } else if (operation.kind == Kind::kPrivilege) {
    limits.privileged = limits_.privileged = operation.bit(0);
  } else if (operation.kind == Kind::kFreeBlocks) {
    limits.free_blocks = extra >= 192 ? ~uint64_t{0} : extra;
    fake_.set_free_blocks(limits.free_blocks);
  }
}

// As after 32,766 pins.
void PageLockerSubject::Fill(PageRange range) {
  constexpr uint16_t kCount = LockTable::kMaxCount - 1;
  if (model_.Count(range, [](const Page& page) { return page.count == 0; }) > 0) return;
  const pinlock::internal::TableHolder holder(state_);
  pinlock::internal::TableBlocks blocks(state_.blocks, tables_);
  if (!state_.table.Prepare(range, blocks).ok()) return;
  state_.table.SetCount(range, kCount, blocks);
  model_.ForEach(range, [](Page& page) { page.count = kCount; });
}

void PageLockerSubject::Arm(const LockerOperation& operation) {
  plan_.Disarm();
  armed_ = operation.extra < 224;
  if (!armed_) return;
  constexpr FaultPlan::Kind kKinds[] = {FaultPlan::Kind::kUnlock, FaultPlan::Kind::kUnlock,
                                        FaultPlan::Kind::kLock, FaultPlan::Kind::kMap};
  FaultPlan::Fault fault;
  fault.nth = 1 + operation.extra / 16u % 4;
  fault.error = Errno(ENOMEM);
  fault.forever = forever_ = operation.bit(2);
  fault.half_done = operation.bit(3);
  fault.kind = kKinds[operation.extra % 4];
  plan_.Arm(fault);
}

}  // namespace test_model
