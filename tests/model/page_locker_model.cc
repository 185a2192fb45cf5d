#include "tests/model/page_locker_model.h"

#include <algorithm>
#include <cerrno>

namespace test_model {
namespace {

using Page = PageLockerModel::Page;
using Kind = PageLockerModel::Kind;

bool IsUncounted(const Page& page) { return page.count == 0; }
bool IsHole(const Page& page) { return page.kind == Kind::kHole; }

}  // namespace

uint64_t PageLockerModel::Locked(os::PageRange range) const {
  return Count(range, [](const Page& page) { return page.locked; });
}

bool PageLockerModel::HoldsAny(os::PageRange range) const {
  return Count(range, [](const Page& page) { return page.held(); }) > 0;
}

PageLockerModel::Answers PageLockerModel::LockAnswers(os::PageRange range, Demand demand) const {
  const auto count_new = [&](Kind kind) {
    return Count(range, [=](const Page& page) { return page.count == 0 && page.kind == kind; });
  };
  constexpr uint16_t kMax = pinlock::internal::LockTable::kMaxCount;
  if (Count(range, [](const Page& page) { return page.count == kMax; }) > 0) return {EAGAIN};
  const uint64_t more = Count(range, IsUncounted);
  if (more == 0) return {0};  // a nested pin asks nobody
  if (Count(range, IsHole) > 0 || count_new(Kind::kForbidden) > 0) return {EINVAL};
  const uint64_t held = kUniverse.count().value() - Count(kUniverse, IsUncounted);
  const uint64_t wanted = held + more;
  const bool over_pages = limits.pages_max != 0 && wanted > limits.pages_max;
  const bool over_rss = limits.rss && wanted > *limits.rss;
  const bool over = limits.memlock && Locked() + more > *limits.memlock;
  Answers answers;
  if (over || ((over_pages || over_rss) && !limits.privileged)) {
    answers = {ENOMEM};
  } else {
    if (count_new(Kind::kPastEnd) > 0) answers.insert(EINVAL);
    if (demand.holes > limits.free_blocks) answers.insert(ENOSPC);
    if (answers.empty()) answers.insert(0);
    if (limits.headroom && demand.absent > *limits.headroom) answers.insert(EAGAIN);
  }
  // A pinned page that has lost its access is no obstacle, but what is found where there is one.
  if (Count(range, [](const Page& page) { return page.kind == Kind::kForbidden; }) > 0) {
    return answers.contains(0) ? (answers.size() == 1 ? Answers{0} : Answers{0, EINVAL})
                               : Answers{EINVAL};
  }
  return answers;
}

PageLockerModel::Answers PageLockerModel::UnlockAnswers(os::PageRange range, Thread thread) const {
  if (Count(range, IsUncounted) > 0) return {EINVAL};
  const auto is_in_the_way = [=](const Io& io) {
    return std::get<Thread>(io) != thread && Overlaps(io, range);
  };
  if (std::any_of(io_.begin(), io_.end(), is_in_the_way)) return {EBUSY};
  const bool last = Count(range, [](const Page& page) { return page.count == 1; }) > 0;
  return {last && Count(range, IsHole) > 0 ? EINVAL : 0};
}

PageLockerModel::Answers PageLockerModel::RefreshAnswers(os::PageRange range, Demand demand) const {
  if (Count(range, IsUncounted) > 0) return {EINVAL};
  if (range.empty()) return {0};
  const auto bad = [](const Page& page) {
    return page.kind != Kind::kAnonymous && page.kind != Kind::kFile;
  };
  Answers answers;
  if (Count(range, bad) > 0) answers.insert(EINVAL);
  const uint64_t more = range.count().value() - Locked(range);
  if (limits.memlock && (*limits.memlock == 0 || Locked() + more > *limits.memlock)) {
    answers.insert(ENOMEM);
  }
  if (demand.holes > limits.free_blocks) answers.insert(ENOSPC);
  if (limits.headroom && demand.absent > *limits.headroom) {
    answers.insert(EAGAIN);
    if (answers.size() == 1) answers.insert(0);  // room that was seen before
  }
  // With the limit used up a page past the end of its file looks like a page too many.
  if (answers.contains(EINVAL) && limits.memlock) answers.insert(ENOMEM);
  if (answers.contains(ENOMEM)) answers.insert(EINVAL);
  return answers.empty() ? Answers{0} : answers;
}

PageLockerModel::Answers PageLockerModel::IoBeginAnswers(os::PageRange range) const {
  return {Count(range, IsUncounted) > 0 ? EINVAL : 0};
}

PageLockerModel::Answers PageLockerModel::IoEndAnswers(os::PageRange range, Thread thread) const {
  return {range.empty() || io_.contains(IoOf(range, thread)) ? 0 : EINVAL};
}

void PageLockerModel::Lock(os::PageRange range) {
  ForEach(range, [](Page& page) {
    if (page.count++ == 0) page.locked = true;
    page.residual = false;
  });
}

void PageLockerModel::Unlock(os::PageRange range) {
  ForEach(range, [](Page& page) {
    if (--page.count == 0) page.locked = false;
  });
}

void PageLockerModel::Refresh(os::PageRange range) {
  ForEach(range, [](Page& page) { page.locked = true; });
}

void PageLockerModel::Drop(os::PageRange range) {
  ForEach(range, [](Page& page) { page = Page{.kind = page.kind}; });
  EndIo(range);
}

void PageLockerModel::DropHoles(os::PageRange range) {
  for (os::PageNumber page = range.begin(); page < range.end(); page = page + os::PageCount(1)) {
    if (IsHole(At(page))) Drop(os::PageRange(page, os::PageCount(1)));
  }
}

void PageLockerModel::Move(os::PageRange from, os::PageRange to) {
  const auto first =
      pages_.begin() + static_cast<ptrdiff_t>((from.begin() - kUniverse.begin()).value());
  std::vector<Page> moved(first, first + static_cast<ptrdiff_t>(from.count().value()));
  moved.resize(to.count().value(), Page{.kind = Kind::kAnonymous});
  ForEach(from, [](Page& page) { page = Page(); });
  auto next = moved.begin();
  ForEach(to, [&next](Page& page) { page = *next++; });
  if (from.begin() == to.begin()) {
    EndIo(os::PageRange(std::min(from.end(), to.end()), std::max(from.end(), to.end())));
  } else {
    EndIo(from);
    EndIo(to);
  }
}

uint64_t PageLockerModel::ResidualRuns() const {
  uint64_t runs = 0;
  bool before = false;
  for (os::PageNumber page = kUniverse.begin(); page < kUniverse.end();
       page = page + os::PageCount(1)) {
    const bool residual = At(page).count == 0 && At(page).residual;
    if (residual && !before) ++runs;
    before = residual;
  }
  return runs;
}

void PageLockerModel::RetryResidual() {
  ForEach(kUniverse, [](Page& page) {
    if (page.count == 0) page.locked = page.residual = false;
  });
}

void PageLockerModel::EndIo(os::PageRange range) {
  std::erase_if(io_, [range](const Io& io) { return Overlaps(io, range); });
}

}  // namespace test_model
