#include "tests/model/page_locker_operation.h"

#include <algorithm>
#include <array>

namespace test_model {
namespace {

using Kind = LockerOperation::Kind;

// The same kind several times is more frequent.
constexpr std::array<Kind, 40> kKinds = {
    Kind::kLock,      Kind::kLock,     Kind::kLock,     Kind::kLock,      Kind::kLock,
    Kind::kLock,      Kind::kLock,     Kind::kLock,     Kind::kUnlock,    Kind::kUnlock,
    Kind::kUnlock,    Kind::kUnlock,   Kind::kUnlock,   Kind::kUnlock,    Kind::kUnlock,
    Kind::kRefresh,   Kind::kForget,   Kind::kIoBegin,  Kind::kIoEnd,     Kind::kMove,
    Kind::kMove,      Kind::kReplace,  Kind::kReplace,  Kind::kUnmap,     Kind::kMap,
    Kind::kMap,       Kind::kForbid,   Kind::kAllow,    Kind::kAllow,     Kind::kMunlock,
    Kind::kEvict,     Kind::kFill,     Kind::kFault,    Kind::kFault,     Kind::kMaxPages,
    Kind::kLockLimit, Kind::kRssLimit, Kind::kHeadroom, Kind::kPrivilege, Kind::kFreeBlocks,
};

constexpr std::array<const char*, static_cast<size_t>(Kind::kFault) + 1> kNames = {
    "Lock",     "Unlock",    "Refresh",         "Forget",         "IoBegin",        "IoEnd",
    "move",     "replace",   "munmap",          "mmap anonymous", "PROT_NONE",      "allow access",
    "munlock",  "evict",     "counts to 32766", "PLOCK_MAX",      "RLIMIT_MEMLOCK", "RLIMIT_RSS",
    "headroom", "privilege", "free blocks",     "failing calls",
};

os::PageRange RangeOf(uint8_t place, uint8_t offset, uint8_t length) {
  constexpr uint64_t kFirst = kUniverse.begin().value(), kEnd = kUniverse.end().value();
  constexpr std::array<uint64_t, 5> kPlaces = {kFirst, 8 * kLeaf, 9 * kLeaf, 10 * kLeaf, kEnd};
  if (length >= 248) return kUniverse;
  // Around the place, or anywhere behind it.
  const uint64_t from = kPlaces[place % kPlaces.size()];
  const uint64_t begin =
      std::clamp(offset < 192 ? from + offset % 16u - 8 : from + (offset - 191u) * 8, kFirst, kEnd);
  uint64_t count = 1;
  if (length >= 64) count = length % 16u;
  if (length >= 144) count = kLeaf;
  if (length >= 176) count = kLeaf - begin % kLeaf;  // to the end of the leaf
  if (length >= 208) count = (length - 207u) * 28;
  return os::PageRange(os::PageNumber(begin), os::PageNumber(std::min(begin + count, kEnd)));
}

}  // namespace

std::optional<LockerOperation> TakeLockerOperation(std::span<const uint8_t>& bytes) {
  if (bytes.size() < kLockerOperationBytes) return std::nullopt;
  const LockerOperation operation{kKinds[bytes[0] % kKinds.size()],
                                  RangeOf(bytes[1], bytes[2], bytes[3]), bytes[4]};
  bytes = bytes.subspan(kLockerOperationBytes);
  return operation;
}

std::string ToString(const LockerOperation& operation) {
  std::string text = kNames[static_cast<size_t>(operation.kind)];
  if (operation.kind < Kind::kMaxPages) {
    text += " of " + std::to_string(operation.range.count().value()) + " pages from " +
            std::to_string(operation.range.begin().value());
  }
  const bool matters = operation.kind == Kind::kUnlock || operation.kind == Kind::kIoBegin ||
                       operation.kind == Kind::kIoEnd;
  if (matters && operation.bit(6)) text += " by the second thread";
  return text + " (choice " + std::to_string(operation.extra) + ")";
}

}  // namespace test_model
