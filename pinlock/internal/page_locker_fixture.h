// PageLockerTest: a PageLocker over a pretended memory whose calls can fail.

#ifndef PINLOCK_INTERNAL_PAGE_LOCKER_FIXTURE_H_
#define PINLOCK_INTERNAL_PAGE_LOCKER_FIXTURE_H_

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "os/fake_limits.h"
#include "os/fake_memory.h"
#include "os/fault_plan.h"
#include "os/faulty_memory.h"
#include "pinlock/internal/page_locker.h"
#include "tests/support/table_memory.h"

namespace pinlock::internal {

using os::Errno;
using os::PageCount;
using os::testing::FaultPlan;
using Kind = FaultPlan::Kind;
using Access = os::Memory::Access;

// A mapping of pages [kBegin, kEnd), which crosses the boundary of two leaves of the table.
inline constexpr uint64_t kLeaf = LockTable::kPagesPerLeaf;
inline constexpr uint64_t kBegin = 4 * kLeaf - 20;
inline constexpr uint64_t kEnd = 4 * kLeaf + 20;

inline os::PageRange Pages(uint64_t first, uint64_t count) {
  return os::PageRange(os::PageNumber(first), PageCount(count));
}

class PageLockerTest : public testing::Test {
 protected:
  PageLockerTest() { fake_.AddMapping(Pages(kBegin, kEnd - kBegin), Access::kReadWrite); }

  Errno Lock(uint64_t first, uint64_t count) {
    return locker_.Lock(AddressOf(first), count * fake_.page_size(), failure_);
  }
  Errno Unlock(uint64_t first, uint64_t count) {
    return locker_.Unlock(AddressOf(first), count * fake_.page_size(), failure_);
  }
  uint16_t CountAt(uint64_t page) {
    RangeInfo info;
    EXPECT_TRUE(locker_.Query(AddressOf(page), 1, info, failure_).ok());
    return info.count_min;
  }
  uintptr_t AddressOf(uint64_t page) const { return page * fake_.page_size(); }

  // The pages that are locked in the kernel.
  std::vector<uint64_t> LockedPages(uint64_t begin = kBegin, uint64_t end = kEnd) const {
    std::vector<uint64_t> locked;
    for (uint64_t page = begin; page < end; ++page) {
      if (fake_.IsLocked(os::PageNumber(page))) locked.push_back(page);
    }
    return locked;
  }
  std::vector<uint64_t> CountedPages() {
    std::vector<uint64_t> counted;
    for (uint64_t page = kBegin; page < kEnd; ++page) {
      if (CountAt(page) > 0) counted.push_back(page);
    }
    return counted;
  }
  void ExpectKernelAgrees() { EXPECT_EQ(LockedPages(), CountedPages()); }

  // The nth call of this kind from now on fails, and all after it with `forever`.
  void Fail(Kind kind, int error, bool forever = true, uint64_t nth = 1) {
    FaultPlan::Fault fault;
    fault.nth = nth;
    fault.error = Errno(error);
    fault.forever = forever;
    fault.kind = kind;
    plan_.Arm(fault);
  }

  os::testing::FakeMemory fake_;
  test_support::TableMemory tables_{fake_};
  FaultPlan plan_;
  os::testing::FaultyMemory faulty_{tables_, plan_};
  LockerState state_;
  os::testing::FakeLimits limits_;
  PageLocker locker_{state_, faulty_, limits_};
  Failure failure_;
};

}  // namespace pinlock::internal

#endif  // PINLOCK_INTERNAL_PAGE_LOCKER_FIXTURE_H_
