#include "pinlock/internal/admission.h"

#include <algorithm>
#include <optional>

namespace pinlock::internal {
namespace {

// Up to so many pages it is cheaper to see how much room there is than to see who is resident.
constexpr os::PageCount kFewPages(16);

}  // namespace

uint64_t ReserveOf(const os::Headroom& headroom) {
  constexpr uint64_t kKib = 1024, kMib = kKib * kKib;
  if (headroom.bound == os::Headroom::Bound::kNone) return 0;
  if (headroom.bound == os::Headroom::Bound::kSystem) {
    return std::clamp(headroom.limit_bytes / 256, 4 * kMib, 128 * kMib);
  }
  return std::clamp(headroom.limit_bytes / 64, 256 * kKib, 16 * kMib);
}

bool AdmissionNotes::TakeRoom(os::PageCount pages, Time now) {
  if (room_ < pages || IsRoomOld(now)) return false;
  room_ -= pages;
  return true;
}

void AdmissionNotes::SetRoom(os::PageCount pages, Time now) {
  room_ = std::min(pages, kRoomMax);
  room_seen_ = now;
}

bool AdmissionNotes::AreKnownPlain(os::PageRange pages, Time now) const {
  return std::any_of(plain_.begin(), plain_.end(), [&](const Plain& plain) {
    return plain.pages.begin() <= pages.begin() && pages.end() <= plain.pages.end() &&
           now - plain.seen <= kLifetime;
  });
}

void AdmissionNotes::SetPlain(os::PageRange pages, Time now) {
  if (pages.empty()) return;
  plain_[next_plain_] = {pages, now};
  next_plain_ = (next_plain_ + 1) % plain_.size();
}

os::Errno Admission::ReserveBlocks(os::PageRange pages, os::PageRange& plain) {
  plain = os::PageRange();
  bool needs_blocks = false;
  os::PageNumber plain_begin = pages.begin();
  for (os::PageNumber page = pages.begin(); page < pages.end();) {
    const os::Result<std::optional<os::Mapping>> found = memory_.MappingAt(page);
    // Without /proc nothing can be told: as if they were plain, but asked again next time.
    if (!found.ok()) return os::kSuccess;
    if (!found->has_value() || !(*found)->pages.contains(page)) return os::Errno(ENOMEM);
    const os::Mapping& mapping = **found;
    needs_blocks = needs_blocks || mapping.needs_blocks();
    plain_begin = std::min(plain_begin, mapping.pages.begin());
    page = mapping.pages.end();
    if (!needs_blocks) plain = os::PageRange(plain_begin, page);
  }
  if (!needs_blocks) return os::kSuccess;
  plain = os::PageRange();
  return memory_.ReserveBlocks(pages);
}

os::Errno Admission::CheckRoom(os::PageRange pages, bool look, os::PageCount& room,
                               Failure& failure) {
  const size_t page_size = memory_.page_size();
  room = os::PageCount(0);
  std::optional<os::PageCount> absent;
  const auto count_absent = [&] {
    const os::Result<os::PageCount> present = memory_.CountPresent(pages);
    absent = present.ok() ? pages.count() - std::min(*present, pages.count()) : pages.count();
  };
  if (pages.count() > kFewPages) {
    count_absent();
    if (*absent == os::PageCount(0) && !look) return os::kSuccess;
  }
  const os::Headroom headroom = limits_.ReadHeadroom();
  if (headroom.bound == os::Headroom::Bound::kNone) {
    room = AdmissionNotes::kRoomMax;
    return os::kSuccess;
  }
  const uint64_t reserve = ReserveOf(headroom);
  const uint64_t usable = headroom.bytes > reserve ? headroom.bytes - reserve : 0;
  if (absent.value_or(pages.count()).bytes(page_size) > usable && !absent) count_absent();
  const os::PageCount needed = absent.value_or(pages.count());
  if (needed.bytes(page_size) <= usable) {
    // What is looked at now is good for 2 MiB, these pages among them.
    const os::PageCount good_for =
        std::min(os::PageCount(usable / page_size), AdmissionNotes::kRoomMax);
    room = good_for - std::min(good_for, needed);
    return os::kSuccess;
  }
  failure.cause = Cause::kNoHeadroom;
  failure.headroom = headroom;
  return failure.error = ErrnoOf(Cause::kNoHeadroom);
}

}  // namespace pinlock::internal
