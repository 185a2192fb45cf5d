// Every kernel call that PageLocker makes fails, on the real kernel: the first, the second, the
// third …, once and for ever, cleanly and half done. Whatever the call then answers, the counts and
// the kernel's own evidence must be those of a call that was made or of one that was not.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "os/fault_plan.h"
#include "os/faulty_memory.h"
#include "os/memory.h"
#include "pinlock/internal/page_locker.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/test_mapping.h"

namespace {

using os::testing::FaultLoop;
using os::testing::FaultPlan;
using pinlock::internal::Failure;
using pinlock::internal::LockerState;
using pinlock::internal::PageLocker;
using pinlock::internal::RangeInfo;
using test_support::KernelEvidence;
using test_support::PageSize;
using test_support::TestMapping;

constexpr size_t kPages = 16;

struct Pages {
  size_t first;
  size_t count;
};

enum class Damage { kNone, kHole, kInaccessible };
constexpr size_t kDamagedPage = 13;

struct Scenario {
  const char* name;
  std::vector<Pages> pinned;  // before, one after another
  bool lock;                  // the call under test: lock or unlock
  Pages range;
  Damage damage = Damage::kNone;
};

// A locker over memory of its own, with the counts that it should have.
class Bench {
 public:
  explicit Bench(FaultPlan& plan) : faulty_memory_(os::RealMemory(), plan) {}

  void SetUp(const Scenario& scenario) {
    before_ = KernelEvidence::Probe(mapping_.all());
    for (const Pages pages : scenario.pinned) {
      ASSERT_TRUE(Act(healthy_, true, pages).ok());
      Count(pages, true);
    }
    if (scenario.damage == Damage::kHole) mapping_.Unmap(kDamagedPage, 1);
    if (scenario.damage == Damage::kInaccessible) mapping_.Forbid(kDamagedPage, 1);
  }

  // The call under test. Then expects the counts and locks of a call that was made as a whole, or
  // not.
  void Try(const Scenario& scenario) {
    const KernelEvidence untouched = KernelEvidence::Probe(mapping_.all());
    const os::Errno error = Act(faulty_, scenario.lock, scenario.range);
    const KernelEvidence now = KernelEvidence::Probe(mapping_.all());
    if (error.ok()) {
      Count(scenario.range, scenario.lock);
    } else {
      EXPECT_EQ(failure_.error, error);
      EXPECT_NE(failure_.cause, pinlock::internal::Cause::kNone);
    }
    ExpectCounts();
    if (healthy_.Stats().pages_residual > 0) {
      ExpectLocksAsCountedOrResidual(now);
    } else if (error.ok()) {
      ExpectLocksAsCounted(now);
    } else {
      EXPECT_EQ(now, untouched);
    }
  }

  // With the faults gone: any call clears what is residual, and pages can be pinned and unpinned.
  void Recover(const Scenario& scenario) {
    ASSERT_TRUE(Act(healthy_, true, {0, 0}).ok());
    EXPECT_EQ(healthy_.Stats().pages_residual, 0u);
    ExpectLocksAsCounted(KernelEvidence::Probe(mapping_.all()));
    if (scenario.damage == Damage::kHole) mapping_.MapAgain(kDamagedPage, 1);
    if (scenario.damage == Damage::kInaccessible) mapping_.Allow(kDamagedPage, 1);
    ASSERT_TRUE(Act(healthy_, true, {0, kPages}).ok());
    Count({0, kPages}, true);
    ExpectCounts();
    ExpectLocksAsCounted(KernelEvidence::Probe(mapping_.all()));
    for (size_t page = 0; page < kPages; ++page) {
      while (counts_[page] > 0) {
        ASSERT_TRUE(Act(healthy_, false, {page, 1}).ok());
        Count({page, 1}, false);
      }
    }
    ExpectCounts();
    EXPECT_EQ(healthy_.Stats().pages_locked, 0u);
    EXPECT_EQ(KernelEvidence::Probe(mapping_.all()), before_);
  }

 private:
  os::Errno Act(PageLocker& locker, bool lock, Pages pages) {
    const auto address = reinterpret_cast<uintptr_t>(mapping_.page(pages.first));
    const size_t bytes = pages.count * PageSize();
    return lock ? locker.Lock(address, bytes, failure_) : locker.Unlock(address, bytes, failure_);
  }

  void Count(Pages pages, bool up) {
    for (size_t i = pages.first; i < pages.first + pages.count; ++i) counts_[i] += up ? 1 : -1;
  }

  void ExpectCounts() {
    uint64_t counted = 0;
    for (size_t page = 0; page < kPages; ++page) {
      RangeInfo info;
      Failure failure;
      const auto address = reinterpret_cast<uintptr_t>(mapping_.page(page));
      ASSERT_TRUE(healthy_.Query(address, 1, info, failure).ok());
      EXPECT_EQ(info.count_max, counts_[page]) << "page " << page;
      if (counts_[page] > 0) ++counted;
    }
    EXPECT_EQ(healthy_.Stats().pages_locked, counted);
  }

  void ExpectLocksAsCounted(const KernelEvidence& now) {
    uint64_t locked = 0;
    for (size_t page = 0; page < kPages; ++page) {
      EXPECT_EQ(now.IsLocked(mapping_.range(page, 1).begin()), counts_[page] > 0)
          << "page " << page;
      if (counts_[page] > 0) ++locked;
    }
    EXPECT_EQ(now.locked_bytes, before_.locked_bytes + locked * PageSize());
  }

  // What is locked beyond the counts must have been reported.
  void ExpectLocksAsCountedOrResidual(const KernelEvidence& now) {
    uint64_t more = 0;
    for (size_t page = 0; page < kPages; ++page) {
      const bool locked = now.IsLocked(mapping_.range(page, 1).begin());
      EXPECT_TRUE(locked || counts_[page] == 0) << "page " << page;
      if (locked && counts_[page] == 0) ++more;
    }
    EXPECT_LE(more, healthy_.Stats().pages_residual);
  }

  TestMapping mapping_{kPages};
  LockerState state_;
  os::testing::FaultyMemory faulty_memory_;
  PageLocker faulty_{state_, faulty_memory_, os::RealLimits()};
  PageLocker healthy_{state_, os::RealMemory(), os::RealLimits()};
  Failure failure_;
  int counts_[kPages] = {};
  KernelEvidence before_;
};

class PinlockFaults : public testing::TestWithParam<Scenario> {};

TEST_P(PinlockFaults, LeavesAWholeCallOrNone) {
  for (const int error : {ENOMEM, EAGAIN}) {
    FaultLoop loop;
    loop.error = os::Errno(error);
    os::testing::ForEachFault(loop, [](FaultPlan& plan) {
      Bench bench(plan);
      ASSERT_NO_FATAL_FAILURE(bench.SetUp(GetParam()));
      bench.Try(GetParam());
      ASSERT_NO_FATAL_FAILURE(bench.Recover(GetParam()));
    });
  }
}

const Scenario kScenarios[] = {
    {"LockFresh", {}, true, {2, 8}},
    {"LockOnePage", {}, true, {5, 1}},
    {"LockNested", {{2, 8}}, true, {2, 8}},
    {"LockOverlapping", {{4, 6}}, true, {2, 4}},
    {"LockAroundPinnedPages", {{4, 2}, {8, 1}, {8, 1}}, true, {2, 10}},
    {"LockWithAHole", {}, true, {2, 14}, Damage::kHole},
    {"LockPinnedPagesWithAHole", {{4, 2}, {8, 1}}, true, {2, 14}, Damage::kHole},
    {"LockWithAnInaccessiblePage", {{4, 2}, {15, 1}}, true, {2, 14}, Damage::kInaccessible},
    {"UnlockAll", {{2, 8}}, false, {2, 8}},
    {"UnlockAPart", {{2, 8}}, false, {4, 3}},
    {"UnlockNested", {{2, 8}, {2, 8}}, false, {2, 8}},
    {"UnlockAroundNestedPages", {{2, 10}, {4, 2}, {8, 1}}, false, {2, 10}},
    {"UnlockUnpinned", {{4, 2}}, false, {2, 8}},
};

// munpin of memory that was unmapped in between. (Locking again what was unlocked before the hole
// showed must not fail, so the faults are in the other calls.)
TEST(PinlockFault, UnlockingOverAHoleIsRefusedAsAWholeOrDone) {
  for (const FaultPlan::Kind kind : {FaultPlan::Kind::kUnlock, FaultPlan::Kind::kMappingAt}) {
    FaultLoop loop;
    loop.error = os::Errno(ENOMEM);
    loop.kind = kind;
    os::testing::ForEachFault(loop, [](FaultPlan& plan) {
      TestMapping mapping(kPages);
      LockerState state;
      os::testing::FaultyMemory faulty_memory(os::RealMemory(), plan);
      PageLocker faulty(state, faulty_memory, os::RealLimits());
      PageLocker healthy(state, os::RealMemory(), os::RealLimits());
      Failure failure;
      const auto address = reinterpret_cast<uintptr_t>(mapping.page(0));
      ASSERT_TRUE(healthy.Lock(address, kPages * PageSize(), failure).ok());
      ASSERT_TRUE(healthy.Lock(address + 2 * PageSize(), PageSize(), failure).ok());
      mapping.Unmap(kDamagedPage, 1);
      const KernelEvidence before = KernelEvidence::Probe(mapping.all());
      const os::Errno error = faulty.Unlock(address, kPages * PageSize(), failure);
      if (!error.ok()) {
        EXPECT_EQ(error, os::Errno(EINVAL));
        EXPECT_EQ(KernelEvidence::Probe(mapping.all()), before);
        mapping.MapAgain(kDamagedPage, 1);
        ASSERT_TRUE(healthy.Unlock(address, kPages * PageSize(), failure).ok());
      }
      ASSERT_TRUE(healthy.Lock(address, 0, failure).ok());
      EXPECT_TRUE(KernelEvidence::Probe(mapping.all()).Locks(mapping.range(2, 1)));
      EXPECT_EQ(healthy.Stats().pages_locked, 1u);
      EXPECT_EQ(healthy.Stats().pages_residual, 0u);
    });
  }
}

// A range of three steps, the middle of which holds pages that are pinned already.
TEST(PinlockFault, ARangeOfManyStepsIsLockedAndUnlockedAsAWholeOrNotAtAll) {
  constexpr size_t kManyPages = 1100, kPinned = 600;
  for (const int error : {ENOMEM, EAGAIN}) {
    for (const bool lock : {true, false}) {
      FaultLoop loop;
      loop.error = os::Errno(error);
      os::testing::ForEachFault(loop, [lock](FaultPlan& plan) {
        TestMapping mapping(kManyPages);
        LockerState state;
        os::testing::FaultyMemory faulty_memory(os::RealMemory(), plan);
        PageLocker faulty(state, faulty_memory, os::RealLimits());
        PageLocker healthy(state, os::RealMemory(), os::RealLimits());
        Failure failure;
        const auto address = reinterpret_cast<uintptr_t>(mapping.page(0));
        const size_t bytes = kManyPages * PageSize();
        ASSERT_TRUE(healthy.Lock(address + kPinned * PageSize(), 3 * PageSize(), failure).ok());
        ASSERT_TRUE(lock || healthy.Lock(address, bytes, failure).ok());
        const KernelEvidence before = KernelEvidence::Of(mapping.all());
        const uint64_t pages_before = healthy.Stats().pages_locked;
        const os::Errno answer =
            lock ? faulty.Lock(address, bytes, failure) : faulty.Unlock(address, bytes, failure);
        if (!answer.ok()) {
          EXPECT_EQ(healthy.Stats().pages_locked, pages_before);
          if (healthy.Stats().pages_residual == 0) {
            EXPECT_EQ(KernelEvidence::Of(mapping.all()), before);
          }
        }
        ASSERT_TRUE(healthy.Lock(address, 0, failure).ok());  // clears what is residual
        EXPECT_EQ(healthy.Stats().pages_residual, 0u);
        const bool all = lock == answer.ok();
        EXPECT_EQ(healthy.Stats().pages_locked, all ? kManyPages : 3u);
        EXPECT_TRUE(KernelEvidence::Of(mapping.all())
                        .Locks(all ? mapping.all() : mapping.range(kPinned, 3)));
        ASSERT_TRUE(healthy.Forget(address, bytes, failure).ok());
        EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks({}));
      });
    }
  }
}

enum class Change { kForget, kMove, kGrow, kShrink, kRefresh };

// The calls that follow the memory. Pages 2 to 9 are pinned, 4 and 5 twice.
void TryChange(Change change, FaultPlan& plan) {
  TestMapping mapping(kPages), target(kPages);
  LockerState state;
  os::testing::FaultyMemory faulty_memory(os::RealMemory(), plan);
  PageLocker faulty(state, faulty_memory, os::RealLimits());
  PageLocker healthy(state, os::RealMemory(), os::RealLimits());
  Failure failure;
  const auto at = [](const TestMapping& memory, size_t page) {
    return reinterpret_cast<uintptr_t>(memory.page(page));
  };
  const auto bytes = [](size_t pages) { return pages * PageSize(); };
  ASSERT_TRUE(healthy.Lock(at(mapping, 2), bytes(8), failure).ok());
  ASSERT_TRUE(healthy.Lock(at(mapping, 4), bytes(2), failure).ok());
  os::Errno answer;
  std::string counts = "0011221111000000", moved = "0000000000000000";
  switch (change) {
    case Change::kForget:
      answer = faulty.Forget(at(mapping, 3), bytes(2), failure);
      if (answer.ok()) counts = "0010021111000000";
      break;
    case Change::kMove:
      answer = faulty.Moved({at(mapping, 3), bytes(3)}, {at(target, 1), bytes(3)}, failure);
      if (answer.ok()) counts = "0010001111000000", moved = "0122000000000000";
      break;
    case Change::kGrow:
      answer = faulty.Moved({at(mapping, 8), bytes(2)}, {at(mapping, 8), bytes(5)}, failure);
      break;
    case Change::kShrink:
      answer = faulty.Moved({at(mapping, 2), bytes(8)}, {at(mapping, 2), bytes(3)}, failure);
      if (answer.ok()) counts = "0011200000000000";
      break;
    case Change::kRefresh:
      answer = faulty.Refresh(at(mapping, 2), bytes(8), failure);
      break;
  }
  EXPECT_TRUE(answer.ok() || failure.error == answer);
  const auto counts_of = [&](const TestMapping& memory) {
    std::string text;
    for (size_t page = 0; page < kPages; ++page) {
      RangeInfo info;
      EXPECT_TRUE(healthy.Query(at(memory, page), 1, info, failure).ok());
      text += std::to_string(info.count_max);
    }
    return text;
  };
  EXPECT_EQ(counts_of(mapping), counts);
  EXPECT_EQ(counts_of(target), moved);
  ASSERT_TRUE(healthy.Lock(at(mapping, 0), 0, failure).ok());  // clears what is residual
  EXPECT_EQ(healthy.Stats().pages_residual, 0u);
  if (change == Change::kForget) {
    const KernelEvidence evidence = KernelEvidence::Probe(mapping.all());
    for (size_t page = 0; page < kPages; ++page) {
      EXPECT_EQ(evidence.IsLocked(mapping.range(page, 1).begin()), counts[page] != '0') << page;
    }
  }
  ASSERT_TRUE(healthy.Forget(at(mapping, 0), bytes(kPages), failure).ok());
  ASSERT_TRUE(healthy.Forget(at(target, 0), bytes(kPages), failure).ok());
  EXPECT_EQ(healthy.Stats().pages_locked, 0u);
}

TEST(PinlockFault, WhatFollowsTheMemoryIsDoneAsAWholeOrNotAtAll) {
  for (const Change change :
       {Change::kForget, Change::kMove, Change::kGrow, Change::kShrink, Change::kRefresh}) {
    FaultLoop loop;
    loop.error = os::Errno(ENOMEM);
    os::testing::ForEachFault(loop, [change](FaultPlan& plan) { TryChange(change, plan); });
  }
}

TEST(PinlockFault, TheProbeSeesWhatSmapsShows) {
  TestMapping mapping(kPages);
  for (const size_t page : {2u, 3u, 7u}) {
    ASSERT_TRUE(test_support::RawMlock(mapping.page(page), PageSize()).ok());
  }
  mapping.Unmap(9, 1);
  const KernelEvidence smaps = KernelEvidence::Of(mapping.all());
  EXPECT_EQ(smaps.locked.size(), 2u);
  EXPECT_EQ(KernelEvidence::Probe(mapping.all()), smaps);
}

INSTANTIATE_TEST_SUITE_P(EveryCall, PinlockFaults, testing::ValuesIn(kScenarios),
                         [](const testing::TestParamInfo<Scenario>& test) {
                           return std::string(test.param.name);
                         });

}  // namespace
