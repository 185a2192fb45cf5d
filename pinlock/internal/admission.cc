#include "pinlock/internal/admission.h"

#include <algorithm>
#include <optional>

namespace pinlock::internal {
namespace {

// Up to so many pages it is cheaper to see how much room there is than to see who is resident.
constexpr os::PageCount kFewPages(16);

// Room beyond the pages themselves from which on it is ample: some threads cannot fault in so much
// before what was seen is old.
constexpr uint64_t kAmpleBytes = uint64_t{256} << 20;

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
  if (room_ < pages || SupplyAt(now) == Supply::kUnknown) return false;
  room_ -= pages;
  return true;
}

Supply AdmissionNotes::SupplyAt(Time now) const {
  return now - room_seen_ > kLifetime ? Supply::kUnknown : supply_;
}

void AdmissionNotes::SetRoom(const Room& room, Time now) {
  if (room.supply == Supply::kUnknown) return;
  room_ = std::min(room.pages, kRoomMax);
  supply_ = room.supply;
  room_seen_ = now;
}

bool AdmissionNotes::AreKnownPlain(os::PageRange pages, Time now) const {
  return std::any_of(plain_.begin(), plain_.end(), [&](const Plain& plain) {
    return plain.pages.begin() <= pages.begin() && pages.end() <= plain.pages.end() &&
           now - plain.seen <= kLifetime;
  });
}

void AdmissionNotes::SetPlain(os::PageRange pages, Time now, uint64_t epoch) {
  if (pages.empty() || epoch != plain_epoch_) return;
  plain_[next_plain_] = {pages, now};
  next_plain_ = (next_plain_ + 1) % plain_.size();
}

void AdmissionNotes::ForgetPlain() {
  plain_ = {};
  ++plain_epoch_;
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

// How many of the pages have to be found room for. Where there is ample room it does no harm to
// overlook that some of those that are resident will be copied.
os::PageCount Admission::CountNeeding(os::PageRange pages, Supply supply) const {
  if (supply != Supply::kAmple) {
    const os::Result<os::PageCount> needing = memory_.CountNeedingMemory(pages);
    return needing.ok() ? *needing : pages.count();
  }
  const os::Result<os::PageCount> present = memory_.CountPresent(pages);
  return present.ok() ? pages.count() - std::min(*present, pages.count()) : pages.count();
}

os::Errno Admission::CheckRoom(os::PageRange pages, Supply supply, Room& room, Failure& failure) {
  const size_t page_size = memory_.page_size();
  room = Room();
  std::optional<os::PageCount> needed;
  if (pages.count() > kFewPages && supply != Supply::kUnknown) {
    needed = CountNeeding(pages, supply);
    if (*needed == os::PageCount(0)) return os::kSuccess;
  }
  const os::Headroom headroom = limits_.ReadHeadroom();
  const uint64_t reserve = ReserveOf(headroom);
  const uint64_t usable = headroom.bytes > reserve ? headroom.bytes - reserve : 0;
  const bool unbounded = headroom.bound == os::Headroom::Bound::kNone;
  const uint64_t bytes = pages.bytes(page_size);
  if (unbounded || (usable >= kAmpleBytes && usable - kAmpleBytes >= bytes)) {
    room = {Supply::kAmple, AdmissionNotes::kRoomMax};
    return os::kSuccess;
  }
  if (bytes <= usable && pages.count() <= kFewPages) {
    needed = pages.count();
  } else if (!needed || supply == Supply::kAmple) {
    needed = CountNeeding(pages, Supply::kScarce);
  }
  if (needed->bytes(page_size) <= usable) {
    // What is looked at now is good for 2 MiB, these pages among them.
    const os::PageCount good_for =
        std::min(os::PageCount(usable / page_size), AdmissionNotes::kRoomMax);
    room = {Supply::kScarce, good_for - std::min(good_for, *needed)};
    return os::kSuccess;
  }
  failure.cause = Cause::kNoHeadroom;
  failure.headroom = headroom;
  return failure.error = ErrnoOf(Cause::kNoHeadroom);
}

}  // namespace pinlock::internal
