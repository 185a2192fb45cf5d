// rsm_memseg_export_rebind(3), sentence by sentence.
//
// Of its codes one does not come: RSMERR_INTERRUPTED, as it does not wait.

#include <sys/mman.h>
#include <sys/syscall.h>

#include <array>
#include <bit>
#include <bitset>
#include <cerrno>
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "pinlock/mpin.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/forbid_syscalls.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/other_thread.h"
#include "tests/support/shared_memory.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::CountDescriptors;
using test_support::DescriptorHog;
using test_support::Export;
using test_support::FailsWith;
using test_support::FillPages;
using test_support::Get;
using test_support::Import;
using test_support::KernelEvidence;
using test_support::Limited;
using test_support::LockedBytes;
using test_support::MapAll;
using test_support::MemoryFile;
using test_support::MemoryState;
using test_support::PageSize;
using test_support::Put;
using test_support::RunInChild;
using test_support::Succeeds;
using test_support::SysVSegment;
using test_support::TestMapping;
using test_support::TextOf;

// A segment of 4 pages, and others that could take their place.
class RsmRebind : public test_support::RsmTest {
 protected:
  static constexpr size_t kPages = 4;
  const size_t kBytes = kPages * PageSize();

  RsmRebind() {
    FillPages(old_, kPages, "old ");
    FillPages(fresh_, kPages, "fresh ");
  }

  int Rebind(const Export& segment, void* address) const {
    return rsm_memseg_export_rebind(segment.get(), address, 0, kBytes);
  }

  // Expects that the segment cannot be bound to `fresh_`, and that nothing has changed then.
  void ExpectRefused(const Export& segment, int code, const std::string& words) const {
    const MemoryState old_before = MemoryState::Of(old_, 0, kPages);
    const MemoryState fresh_before = MemoryState::Of(fresh_, 0, kPages);
    EXPECT_TRUE(FailsWith(code, Rebind(segment, fresh_.page(0)), words));
    EXPECT_EQ(MemoryState::Of(old_, 0, kPages), old_before);
    EXPECT_EQ(MemoryState::Of(fresh_, 0, kPages), fresh_before);
  }

  // What a segment holds is what is at `bound`, and not at `other`.
  static void ExpectBoundTo(const Import& remote, const TestMapping& bound,
                            const TestMapping& other) {
    std::memcpy(bound.page(1), "by the exporter", 15);
    const std::string text = TextOf(other.page(1), 32);
    EXPECT_EQ(Get(remote, static_cast<off_t>(PageSize()), 15), "by the exporter");
    EXPECT_TRUE(Succeeds(Put(remote, static_cast<off_t>(PageSize()), "by an importer ")));
    EXPECT_EQ(TextOf(bound.page(1), 15), "by an importer ");
    EXPECT_EQ(TextOf(other.page(1), 32), text);
  }

  const TestMapping old_{kPages}, fresh_{kPages};
};

TEST_F(RsmRebind, ShowsImportersTheNewPagesWithoutTheirDoingAnything) {
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  const Import remote = Connect(Publish(segment));
  const std::byte* const map = MapAll(remote, kPages);
  EXPECT_EQ(TextOf(map, kBytes), TextOf(old_.page(0), kBytes));
  ASSERT_TRUE(Succeeds(Rebind(segment, fresh_.page(0))));
  EXPECT_EQ(TextOf(fresh_.page(0), 8), "fresh 0.");
  EXPECT_EQ(TextOf(map, kBytes), TextOf(fresh_.page(0), kBytes));
  EXPECT_EQ(Get(remote, 0, kBytes), TextOf(fresh_.page(0), kBytes));
  ExpectBoundTo(remote, fresh_, old_);
}

TEST_F(RsmRebind, GivesTheOldMemoryBackToTheProgramWithWhatItHeld) {
  const MemoryState before = MemoryState::Of(old_, 0, kPages);
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  const Import remote = Connect(Publish(segment));
  ASSERT_TRUE(Succeeds(Put(remote, 0, "put by an importer")));
  ASSERT_TRUE(Succeeds(Rebind(segment, fresh_.page(0))));
  const MemoryState after = MemoryState::Of(old_, 0, kPages);
  EXPECT_EQ(after.contents, "put by an importer" + before.contents.substr(18));
  EXPECT_FALSE(after.is_shared);
  EXPECT_EQ(after.pins_max, 0u);
  EXPECT_TRUE(after.locks.locked.empty());
  RunInChild([&] { EXPECT_EQ(TextOf(old_.page(0), kBytes), after.contents) << "no hole"; });
}

TEST_F(RsmRebind, LocksTheNewMemoryAndLeavesAHoleThereInAForkedChild) {
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  const uint64_t locked = LockedBytes();
  ASSERT_TRUE(Succeeds(Rebind(segment, fresh_.page(0))));
  EXPECT_TRUE(KernelEvidence::Of(fresh_.all()).Locks(fresh_.all()));
  EXPECT_EQ(MemoryState::Of(fresh_, 0, kPages).pins_min, 1u);
  EXPECT_EQ(LockedBytes(), locked);
  RunInChild([&] {
    EXPECT_EQ(msync(fresh_.page(0), PageSize(), MS_ASYNC), -1);
    EXPECT_EQ(errno, ENOMEM);
  });
}

TEST_F(RsmRebind, IsPossibleBeforeTheSegmentIsPublished) {
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  ASSERT_TRUE(Succeeds(Rebind(segment, fresh_.page(0))));
  ExpectBoundTo(Connect(Publish(segment)), fresh_, old_);
}

TEST_F(RsmRebind, CanBeRepeatedAndGoBack) {
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  const Import remote = Connect(Publish(segment));
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(Succeeds(Rebind(segment, fresh_.page(0))));
    ExpectBoundTo(remote, fresh_, old_);
    ASSERT_TRUE(Succeeds(Rebind(segment, old_.page(0))));
    ExpectBoundTo(remote, old_, fresh_);
  }
}

TEST_F(RsmRebind, DoesNotUseTheOffset) {
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  for (const offset_t offset : {offset_t{-1}, offset_t{1}, offset_t{1} << 40}) {
    ASSERT_TRUE(Succeeds(rsm_memseg_export_rebind(segment.get(), fresh_.page(0), offset, kBytes)));
    ASSERT_TRUE(Succeeds(rsm_memseg_export_rebind(segment.get(), old_.page(0), offset, kBytes)));
  }
}

TEST_F(RsmRebind, LeavesPinsOfTheProgramAsTheyAre) {
  ASSERT_EQ(mpin(old_.page(1), PageSize()), 0) << mpin_error();
  ASSERT_EQ(mpin(fresh_.page(2), PageSize()), 0) << mpin_error();
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  ASSERT_TRUE(Succeeds(Rebind(segment, fresh_.page(0))));
  EXPECT_EQ(MemoryState::Of(old_, 1, 1).pins_min, 1u);
  EXPECT_TRUE(KernelEvidence::Of(old_.all()).IsLocked(old_.range(1, 1).begin()));
  EXPECT_EQ(MemoryState::Of(fresh_, 2, 1).pins_min, 2u);
  ASSERT_TRUE(Succeeds(Rebind(segment, old_.page(0))));
  EXPECT_EQ(MemoryState::Of(fresh_, 2, 1).pins_min, 1u);
  EXPECT_TRUE(KernelEvidence::Of(fresh_.all()).IsLocked(fresh_.range(2, 1).begin()));
  EXPECT_EQ(munpin(old_.page(1), PageSize()), 0) << mpin_error();
  EXPECT_EQ(munpin(fresh_.page(2), PageSize()), 0) << mpin_error();
  EXPECT_TRUE(KernelEvidence::Of(fresh_.all()).Locks({}));
}

TEST_F(RsmRebind, DoesNothingWhereTheMemoryIsBoundAlready) {
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  const Import remote = Connect(Publish(segment));
  const MemoryState before = MemoryState::Of(old_, 0, kPages);
  const rsm_memseg_export_handle_t handle = segment.get();
  void* const same = old_.page(0);
  {
    const DescriptorHog hog(0);  // for work it would need some
    EXPECT_TRUE(Succeeds(rsm_memseg_export_rebind(handle, same, 0, 4 * PageSize())));
  }
  EXPECT_EQ(MemoryState::Of(old_, 0, kPages), before);
  ExpectBoundTo(remote, old_, fresh_);
}

// --- The rows of the table, and their order -----------------------------------------------------

using RsmRebindFails = RsmRebind;

TEST_F(RsmRebindFails, WithTheFirstCauseOfTheTableWhereSeveralApply) {
  constexpr std::array<int, 7> kCodes = {
      RSMERR_BAD_SEG_HNDL, RSMERR_BAD_ADDR,   RSMERR_REBIND_NOT_ALLOWED,
      RSMERR_NOT_CREATOR,  RSMERR_BAD_LENGTH, RSM_SUCCESS,
      RSMERR_BAD_ADDR};
  const TestMapping third(kPages);
  TestMapping hole(1);
  hole.Unmap(0, 1);
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  const Export other = Create(third, kPages);
  const auto expect_rows = [&](bool in_child) {
    for (unsigned causes = 1; causes < 1u << kCodes.size(); ++causes) {
      const auto has = [causes](unsigned row) { return (causes >> (row - 1) & 1) != 0; };
      if (has(4) != in_child || (has(6) && has(7))) continue;
      std::byte* address = has(6) ? (has(3) ? third : old_).page(0) : fresh_.page(0);
      if (has(7)) address = hole.page(0);
      if (has(2)) address = nullptr;
      rsm_memseg_export_handle_t handle = has(3) ? other.get() : segment.get();
      if (has(1)) handle = nullptr;
      const int result =
          rsm_memseg_export_rebind(handle, address, 0, kBytes - (has(5) ? PageSize() : 0));
      EXPECT_EQ(result, kCodes[static_cast<size_t>(std::countr_zero(causes))])
          << "rows, from the last: " << std::bitset<7>(causes) << ": " << rsm_error();
    }
  };
  expect_rows(false);
  RunInChild([&] { expect_rows(true); });
}

TEST_F(RsmRebindFails, WithBadSegHndlWhereTheSegmentIsDestroyed) {
  Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  const rsm_memseg_export_handle_t stale = segment.get();
  segment = nullptr;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL,
                        rsm_memseg_export_rebind(stale, fresh_.page(0), 0, kBytes),
                        "is no exported segment"));
}

TEST_F(RsmRebindFails, WithRebindNotAllowedWithoutTheFlag) {
  const Export segment = Create(old_, kPages);
  ExpectRefused(segment, RSMERR_REBIND_NOT_ALLOWED, "without RSM_ALLOW_REBIND");
}

TEST_F(RsmRebindFails, WithNotCreatorInAForkedChildWhereNothingChangesForTheParent) {
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  const Import remote = Connect(Publish(segment));
  RunInChild([&] {
    EXPECT_TRUE(FailsWith(RSMERR_NOT_CREATOR, Rebind(segment, fresh_.page(0)), "forked from"));
  });
  ExpectBoundTo(remote, old_, fresh_);
}

TEST_F(RsmRebindFails, WithBadLengthWhereItIsNotThatOfTheSegment) {
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  for (const size_t bytes : {size_t{0}, size_t{1}, kBytes - PageSize(), kBytes + PageSize()}) {
    EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH,
                          rsm_memseg_export_rebind(segment.get(), fresh_.page(0), 0, bytes),
                          "which cannot change"));
  }
}

TEST_F(RsmRebindFails, WithBadAddrWhereTheAddressIsNotOfPages) {
  const TestMapping larger(kPages + 1);
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, Rebind(segment, larger.page(0) + 1),
                        "not a multiple of the page size"));
}

TEST_F(RsmRebindFails, WithBadAddrWhereAPageIsNotMapped) {
  TestMapping damaged(kPages);
  damaged.Unmap(2, 1);
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  const Import remote = Connect(Publish(segment));
  const MemoryState before = MemoryState::Of(old_, 0, kPages);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, Rebind(segment, damaged.page(0)), "nothing is mapped"));
  EXPECT_EQ(MemoryState::Of(old_, 0, kPages), before);
  EXPECT_TRUE(KernelEvidence::Of(damaged.all()).Locks({}));
  ExpectBoundTo(remote, old_, fresh_);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, Rebind(segment, reinterpret_cast<void*>(0 - PageSize()))));
}

TEST_F(RsmRebindFails, WithPermDeniedWhereAPageIsReadOnly) {
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  const Import remote = Connect(Publish(segment));
  ASSERT_EQ(mprotect(fresh_.page(3), PageSize(), PROT_READ), 0);
  ExpectRefused(segment, RSMERR_PERM_DENIED, "is not mapped for reading and writing");
  ExpectBoundTo(remote, old_, fresh_);
}

TEST_F(RsmRebindFails, WithBadAddrOnMemoryThatIsSharedAlready) {
  const os::OwnedDescriptor file = MemoryFile(kPages);
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  test_support::MapInstead(fresh_, kPages, file.get(), MAP_SHARED);
  ExpectRefused(segment, RSMERR_BAD_ADDR, "is shared or exported already");
}

TEST_F(RsmRebindFails, WithBadAddrOnMemoryThatIsExportedAlready) {
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  const Export other = Create(fresh_, kPages, RSM_ALLOW_REBIND);
  ExpectRefused(segment, RSMERR_BAD_ADDR, "is shared or exported already");
}

TEST_F(RsmRebindFails, WithBadAddrOnMemoryThatOverlapsItsOwn) {
  const TestMapping larger(kPages + 1);
  FillPages(larger, kPages + 1, "page ");
  const Export segment = Create(larger, kPages, RSM_ALLOW_REBIND);
  const MemoryState before = MemoryState::Of(larger, 0, kPages + 1);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, Rebind(segment, larger.page(1))));
  EXPECT_EQ(MemoryState::Of(larger, 0, kPages + 1), before);
}

TEST_F(RsmRebindFails, WithBadAddrWhereTheProgramHasUnmappedTheSegmentsMemory) {
  TestMapping gone(kPages);
  const Export segment = Create(gone, kPages, RSM_ALLOW_REBIND);
  gone.Unmap(0, kPages);
  const MemoryState before = MemoryState::Of(fresh_, 0, kPages);
  EXPECT_TRUE(
      FailsWith(RSMERR_BAD_ADDR, Rebind(segment, fresh_.page(0)), "is not mapped any more"));
  EXPECT_EQ(MemoryState::Of(fresh_, 0, kPages), before);
  gone.MapAgain(0, kPages);
}

// --- Memory that cannot be rebound --------------------------------------------------------------

TEST_F(RsmRebindFails, WithRebindNotAllowedWhereTheSegmentIsOfMemfdCreate) {
  const os::OwnedDescriptor file = MemoryFile(kPages);
  test_support::MapInstead(old_, kPages, file.get(), MAP_SHARED);
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  ExpectRefused(segment, RSMERR_REBIND_NOT_ALLOWED, "shared before it was exported");
}

TEST_F(RsmRebindFails, WithRebindNotAllowedWhereTheSegmentIsOfShmget) {
  const SysVSegment memory(kPages);
  const Export segment = CreateAt(memory.page(0), kBytes, RSM_ALLOW_REBIND);
  EXPECT_TRUE(FailsWith(RSMERR_REBIND_NOT_ALLOWED, Rebind(segment, fresh_.page(0))));
  EXPECT_FALSE(MemoryState::Of(fresh_, 0, kPages).is_shared);
}

TEST_F(RsmRebindFails, WithInsufficientResourcesWhereAnotherSegmentHasTheSameMemory) {
  const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
  Export other = CreateAt(old_.page(1), PageSize());
  ExpectRefused(segment, RSMERR_INSUFFICIENT_RESOURCES, "destroy all that do");
  other = nullptr;
  EXPECT_TRUE(Succeeds(Rebind(segment, fresh_.page(0))));
}

// --- Row 8: what is lacking ---------------------------------------------------------------------

TEST_F(RsmRebindFails, WithInsufficientMemWhereOldAndNewCannotBothBeLocked) {
  RunInChild(Limited(2 * kBytes - PageSize()), [this] {
    const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
    const Import remote = Connect(Publish(segment));
    ExpectRefused(segment, RSMERR_INSUFFICIENT_MEM, "over RLIMIT_MEMLOCK");
    ExpectBoundTo(remote, old_, fresh_);
    EXPECT_EQ(LockedBytes(), kBytes);
  });
}

TEST_F(RsmRebind, NeedsRoomInTheLockLimitForOldAndNewAndNoMore) {
  RunInChild(Limited(2 * kBytes), [this] {
    const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
    const Import remote = Connect(Publish(segment));
    ASSERT_TRUE(Succeeds(Rebind(segment, fresh_.page(0))));
    ExpectBoundTo(remote, fresh_, old_);
    EXPECT_TRUE(KernelEvidence::Of(fresh_.all()).Locks(fresh_.all()));
    EXPECT_EQ(LockedBytes(), kBytes);
    ASSERT_TRUE(Succeeds(Rebind(segment, old_.page(0)))) << "nothing is left of the first time";
  });
}

// However many it needs.
TEST_F(RsmRebindFails, WithInsufficientResourcesWhereTooFewDescriptorsAreLeft) {
  RunInChild([this] {
    test_support::OtherThread thread;  // whose writes it has to stop
    thread.Run([] {});
    const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
    const MemoryState old_before = MemoryState::Of(old_, 0, kPages);
    const MemoryState fresh_before = MemoryState::Of(fresh_, 0, kPages);
    const size_t descriptors = CountDescriptors();
    const rsm_memseg_export_handle_t handle = segment.get();
    void* const fresh = fresh_.page(0);
    for (size_t left = 0;; ++left) {
      ASSERT_LT(left, 10u);
      int result = RSM_SUCCESS;
      {
        const DescriptorHog hog(left);
        result = rsm_memseg_export_rebind(handle, fresh, 0, 4 * PageSize());
      }
      EXPECT_EQ(CountDescriptors(), descriptors);
      if (result == RSM_SUCCESS && left > 0) break;
      EXPECT_TRUE(FailsWith(RSMERR_INSUFFICIENT_RESOURCES, result, "Too many open files")) << left;
      EXPECT_EQ(MemoryState::Of(old_, 0, kPages), old_before);
      EXPECT_EQ(MemoryState::Of(fresh_, 0, kPages), fresh_before);
    }
  });
}

TEST_F(RsmRebindFails, WithInsufficientResourcesWhereWritesOfOtherThreadsCannotBeStopped) {
  RunInChild([this] {
    const Export segment = Create(old_, kPages, RSM_ALLOW_REBIND);
    test_support::ForbidSyscalls(std::array<long, 1>{SYS_userfaultfd}, EPERM);
    if (IsSkipped()) return;
    test_support::OtherThread thread;
    thread.Run([] {});
    ExpectRefused(segment, RSMERR_INSUFFICIENT_RESOURCES, "userfaultfd(2) cannot stop them");
  });
}

}  // namespace
