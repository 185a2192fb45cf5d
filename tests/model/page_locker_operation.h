// LockerOperation: something that happens to a PageLocker or to the memory beneath, read off bytes.
//
// The randomised test makes the bytes from a seed, a fuzzer makes them by itself.

#ifndef TESTS_MODEL_PAGE_LOCKER_OPERATION_H_
#define TESTS_MODEL_PAGE_LOCKER_OPERATION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "os/page_range.h"
#include "pinlock/internal/lock_table.h"

namespace test_model {

// All that happens, happens here: two whole leaves of the table, and the edges of two more.
inline constexpr uint64_t kLeaf = pinlock::internal::LockTable::kPagesPerLeaf;
inline constexpr os::PageRange kUniverse(os::PageNumber(8 * kLeaf - 38), os::PageCount(1100));

struct LockerOperation {
  enum class Kind {
    // Calls of the locker
    kLock,
    kUnlock,
    kRefresh,
    kForget,
    kIoBegin,
    kIoEnd,
    kMove,
    kReplace,
    // What others do behind its back; kUnmap, kMap and kForbid tell it or not
    kUnmap,
    kMap,
    kForbid,
    kAllow,
    kMunlock,
    kEvict,
    // Circumstances
    kFill,  // counts get to one below the maximum
    kMaxPages,
    kLockLimit,
    kRssLimit,
    kHeadroom,
    kPrivilege,
    kFreeBlocks,
    kFault,
  };

  Kind kind;
  os::PageRange range;  // within kUniverse
  uint8_t extra;        // what else there is to choose

  bool bit(int index) const { return (extra >> index & 1) != 0; }
};

inline constexpr size_t kLockerOperationBytes = 5;

// Takes the next operation off the front of `bytes`; nullopt where they are used up. Ranges begin
// near the ends of the universe and of leaves; many are one page, a few pages, or a whole leaf.
std::optional<LockerOperation> TakeLockerOperation(std::span<const uint8_t>& bytes);

// In words, on one line.
std::string ToString(const LockerOperation& operation);

}  // namespace test_model

#endif  // TESTS_MODEL_PAGE_LOCKER_OPERATION_H_
