#include "rsm/internal/binding.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "os/descriptor.h"
#include "os/latch.h"
#include "os/memory_object.h"
#include "pinlock/mpin.h"
#include "rsm/internal/binding_fixture.h"
#include "rsm/internal/error.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/shared_memory.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace rsm::internal {
namespace {

using test_support::FillPages;
using test_support::KernelEvidence;
using test_support::LockedBytes;
using test_support::MapInstead;
using test_support::MemoryFile;
using test_support::MemoryState;
using test_support::PageSize;
using test_support::SysVSegment;
using test_support::TestMapping;
using test_support::TextOf;

// --- Bind and Unbind ----------------------------------------------------------------------------

TEST_F(BindingTest, GivesPrivateMemoryAnObjectWithWhatItHolds) {
  const std::string before = Text();
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  EXPECT_EQ(Text(), before);
  EXPECT_EQ(bound_.address, mapping_.page(0));
  EXPECT_EQ(bound_.bytes, kBytes);
  EXPECT_EQ(bound_.offset, 0u);
  EXPECT_TRUE(bound_.is_separate());
  {
    Importer importer(bound_);
    EXPECT_EQ(importer.text(), before);
    EXPECT_TRUE(importer.Shares(mapping_.page(0)));
  }
  UnbindIt(bound_);
  EXPECT_EQ(bound_.binding, nullptr);
}

TEST_F(BindingTest, LeavesAllAsItWasWhenItEnds) {
  const MemoryState before = State();
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  MemoryState during = State();
  EXPECT_TRUE(during.is_shared);
  EXPECT_EQ(during.pins_min, 1u);
  EXPECT_EQ(during.pins_max, 1u);
  EXPECT_EQ(during.locks.locked_bytes, before.locks.locked_bytes + kBytes);
  UnbindIt(bound_);
  EXPECT_EQ(State(), before);
  UnbindIt(bound_);  // nothing is bound
  EXPECT_EQ(State(), before);
}

TEST_F(BindingTest, LeavesImportersTheObjectWhenItEnds) {
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  Importer importer(bound_);
  const std::string before = Text();
  UnbindIt(bound_);
  EXPECT_EQ(importer.text(), before);
  EXPECT_FALSE(importer.Shares(mapping_.page(0)));
}

TEST_F(BindingTest, LeavesPinsOfTheProgramThroughAllThatIsDone) {
  const TestMapping other(kPages);
  FillPages(other, kPages, "other ");
  ASSERT_EQ(mpin(mapping_.page(1), 2 * PageSize()), 0) << mpin_error();
  ASSERT_EQ(mpin(other.page(3), PageSize()), 0) << mpin_error();
  const auto expect_pins = [&](uint64_t here, uint64_t there) {
    EXPECT_EQ(MemoryState::Of(mapping_, 1, 2).pins_min, 1 + here);
    EXPECT_EQ(MemoryState::Of(mapping_, 1, 2).pins_max, 1 + here);
    EXPECT_EQ(MemoryState::Of(mapping_, 3, 1).pins_max, here);
    EXPECT_EQ(MemoryState::Of(other, 3, 1).pins_max, 1 + there);
    EXPECT_EQ(MemoryState::Of(other, 0, 3).pins_max, there);
    for (const size_t page : {1u, 2u}) {
      EXPECT_TRUE(KernelEvidence::Of(mapping_.all()).IsLocked(mapping_.range(page, 1).begin()));
    }
    EXPECT_TRUE(KernelEvidence::Of(other.all()).IsLocked(other.range(3, 1).begin()));
  };
  const MemoryState before = State(), other_before = MemoryState::Of(other, 0, kPages);
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  expect_pins(1, 0);
  ASSERT_TRUE(Succeeds(RenewIt(bound_)));
  expect_pins(1, 0);
  ASSERT_TRUE(Succeeds(RebindTo(bound_, other.page(0))));
  expect_pins(0, 1);
  ASSERT_TRUE(Succeeds(RenewIt(bound_)));
  expect_pins(0, 1);
  ASSERT_TRUE(Succeeds(RebindTo(bound_, mapping_.page(0))));
  expect_pins(1, 0);
  UnbindIt(bound_);
  expect_pins(0, 0);
  // That others are not locked can be told from the amount, as a lock may cover more than it must.
  ASSERT_EQ(munpin(mapping_.page(1), 2 * PageSize()), 0) << mpin_error();
  ASSERT_EQ(munpin(other.page(3), PageSize()), 0) << mpin_error();
  EXPECT_EQ(State().contents, before.contents);
  EXPECT_EQ(MemoryState::Of(other, 0, kPages).contents, other_before.contents);
  EXPECT_TRUE(KernelEvidence::Of(mapping_.all()).Locks({}));
  EXPECT_TRUE(KernelEvidence::Of(other.all()).Locks({}));
}

TEST_F(BindingTest, LeavesMemoryAloneThatWasUnmappedMeanwhile) {
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  mapping_.Unmap(1, 2);
  mapping_.MapAgain(2, 1);
  std::memcpy(mapping_.page(2), "new", 3);
  EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, RenewIt(bound_), "is not mapped any more"));
  UnbindIt(bound_);
  EXPECT_EQ(TextOf(mapping_.page(2), 3), "new");
  EXPECT_EQ(msync(mapping_.page(1), PageSize(), MS_ASYNC), -1) << "the hole as well";
  EXPECT_EQ(LockedBytes(), 0u);
  mapping_.MapAgain(1, 1);
  EXPECT_EQ(State().pins_max, 0u);
}

TEST_F(BindingTest, PartsImportersFromWhatIsLeftOfIt) {
  for (const bool is_given_up : {false, true}) {
    SCOPED_TRACE(is_given_up);
    TestMapping mapping(kPages);
    FillPages(mapping, kPages, "page ");
    BoundRange bound;
    ASSERT_TRUE(Succeeds(BindAt(mapping.page(0), kPages, bound)));
    const Importer importer(bound);
    const std::string before = TextOf(mapping.page(0), kBytes);
    mapping.Unmap(1, 1);
    if (is_given_up) {
      GiveUpIt(bound);
      EXPECT_EQ(LockedBytes(), (kPages - 1) * PageSize()) << "it has its pins still";
      EXPECT_TRUE(Fails(RSMERR_BAD_ADDR, RebindTo(bound, mapping_.page(0)), "create it anew"));
    } else {
      UnbindIt(bound);
    }
    for (const size_t page : {0u, 2u, 3u}) {
      EXPECT_EQ(TextOf(mapping.page(page), PageSize()),
                before.substr(page * PageSize(), PageSize()));
      *mapping.page(page) = std::byte{'!'};
    }
    EXPECT_EQ(importer.text(), before);
    UnbindIt(bound);
    EXPECT_EQ(LockedBytes(), 0u);
    for (const size_t page : {0u, 2u, 3u}) EXPECT_EQ(*mapping.page(page), std::byte{'!'});
  }
}

// --- Several segments over the same memory ------------------------------------------------------

TEST_F(BindingTest, BindsTheSameMemoryToTheSameObject) {
  BoundRange again, part;
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, again)));
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(2), 1, part)));
  EXPECT_EQ(ObjectOf(again), ObjectOf(bound_));
  EXPECT_EQ(ObjectOf(part), ObjectOf(bound_));
  EXPECT_EQ(part.source().offset, 2 * PageSize());
  EXPECT_EQ(part.bytes, PageSize());
  EXPECT_FALSE(bound_.is_separate());
  EXPECT_FALSE(part.is_separate());
  EXPECT_EQ(MemoryState::Of(mapping_, 2, 1).pins_min, 3u);
  Importer importer(part);
  EXPECT_TRUE(importer.Shares(mapping_.page(2)));
  UnbindIt(bound_);
  UnbindIt(again);
  EXPECT_TRUE(part.is_separate());
  EXPECT_TRUE(importer.Shares(mapping_.page(2))) << "it is bound until the last one goes";
  EXPECT_TRUE(State().is_shared);
  UnbindIt(part);
  EXPECT_FALSE(importer.Shares(mapping_.page(2)));
  EXPECT_FALSE(State().is_shared);
  EXPECT_EQ(State().pins_max, 0u);
  EXPECT_EQ(LockedBytes(), 0u);
}

TEST_F(BindingTest, GivesMemoryThatWasUnboundAnotherObject) {
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  Importer importer(bound_);
  const os::FileNumber first = ObjectOf(bound_);
  UnbindIt(bound_);
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  EXPECT_FALSE(ObjectOf(bound_) == first);
  EXPECT_FALSE(importer.Shares(mapping_.page(0)));
  UnbindIt(bound_);
}

// --- Memory that is shared already --------------------------------------------------------------

TEST_F(BindingTest, TakesAFileInMemoryAsTheObject) {
  const os::OwnedDescriptor file = MemoryFile(kPages);
  MapInstead(mapping_, kPages, file.get(), MAP_SHARED);
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(1), 2, bound_)));
  EXPECT_EQ(ObjectOf(bound_), os::FileNumberOf(file.get()).value());
  EXPECT_NE(bound_.source().descriptor, file.get()) << "by a descriptor of its own";
  EXPECT_EQ(bound_.source().offset, PageSize());
  EXPECT_FALSE(bound_.is_separate());
  EXPECT_TRUE(Fails(RSMERR_REBIND_NOT_ALLOWED, RebindTo(bound_, mapping_.page(0))));
  Importer importer(bound_);
  UnbindIt(bound_);
  EXPECT_TRUE(importer.Shares(mapping_.page(1))) << "as it did before";
}

TEST_F(BindingTest, TakesASegmentOfShmgetAsTheObject) {
  const SysVSegment memory(kPages);
  ASSERT_TRUE(Succeeds(BindAt(memory.page(1), 2, bound_)));
  EXPECT_EQ(bound_.source().descriptor, -1);
  EXPECT_EQ(bound_.source().sysv, memory.number());
  EXPECT_EQ(bound_.source().offset, PageSize());
  EXPECT_FALSE(bound_.is_separate());
  UnbindIt(bound_);
}

// --- Renew --------------------------------------------------------------------------------------

TEST_F(BindingTest, RenewedHasAnotherObjectWithTheSameContents) {
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  const MemoryState before = State();
  const os::FileNumber first = ObjectOf(bound_);
  Importer old(bound_);
  ASSERT_TRUE(Succeeds(RenewIt(bound_)));
  EXPECT_FALSE(ObjectOf(bound_) == first);
  EXPECT_EQ(State(), before) << "with locks and pins";
  EXPECT_EQ(old.text(), before.contents);
  EXPECT_FALSE(old.Shares(mapping_.page(0)));
  Importer fresh(bound_);
  EXPECT_TRUE(fresh.Shares(mapping_.page(0)));
  UnbindIt(bound_);
}

TEST_F(BindingTest, RenewedByAPartIsRenewedAsAWhole) {
  BoundRange part;
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(2), 1, part)));
  UnbindIt(bound_);
  Importer old(part);
  ASSERT_TRUE(Succeeds(RenewIt(part)));
  EXPECT_FALSE(old.Shares(mapping_.page(2)));
  Importer fresh(part);
  EXPECT_TRUE(fresh.Shares(mapping_.page(2)));
  UnbindIt(part);
  EXPECT_FALSE(State().is_shared);
}

// --- Seals --------------------------------------------------------------------------------------

bool MayBeginToWrite(int descriptor) {
  void* const view = mmap(nullptr, PageSize(), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (view == MAP_FAILED) {
    EXPECT_EQ(errno, EPERM);
    return false;
  }
  EXPECT_EQ(munmap(view, PageSize()), 0);
  return true;
}

TEST_F(BindingTest, RefusesNewWritersButTheProgramUntilItIsRenewed) {
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  {
    const os::LatchHolder holder(MemoryLatch());
    EXPECT_FALSE(refuses_new_writers(bound_));
    EXPECT_TRUE(RefuseNewWriters(bound_));
    EXPECT_TRUE(refuses_new_writers(bound_));
  }
  EXPECT_FALSE(MayBeginToWrite(bound_.source().descriptor));
  std::memcpy(mapping_.page(0), "program", 7);
  ASSERT_TRUE(Succeeds(RenewIt(bound_)));
  EXPECT_TRUE(MayBeginToWrite(bound_.source().descriptor));
  {
    const os::LatchHolder holder(MemoryLatch());
    EXPECT_FALSE(refuses_new_writers(bound_));
  }
  EXPECT_EQ(TextOf(mapping_.page(0), 7), "program");
  UnbindIt(bound_);
}

TEST_F(BindingTest, RefusingWritersCanBeReboundAndUnbound) {
  const TestMapping other(kPages);
  FillPages(other, kPages, "other ");
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  {
    const os::LatchHolder holder(MemoryLatch());
    EXPECT_TRUE(RefuseNewWriters(bound_));
    Seal(bound_);
  }
  ASSERT_TRUE(Succeeds(RebindTo(bound_, other.page(0))));
  std::memcpy(other.page(0), "program", 7);
  ASSERT_TRUE(Succeeds(RebindTo(bound_, mapping_.page(0))));
  std::memcpy(mapping_.page(0), "program", 7);
  UnbindIt(bound_);
  EXPECT_FALSE(State().is_shared);
}

TEST_F(BindingTest, SealedTakesNoFurtherSeals) {
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  {
    const os::LatchHolder holder(MemoryLatch());
    Seal(bound_);
    Seal(bound_);
  }
  EXPECT_EQ(fcntl(bound_.source().descriptor, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
  EXPECT_EQ(errno, EPERM);
  {
    const os::LatchHolder holder(MemoryLatch());
    EXPECT_FALSE(RefuseNewWriters(bound_));
    EXPECT_FALSE(refuses_new_writers(bound_));
  }
  EXPECT_EQ(ftruncate(bound_.source().descriptor, 0), -1) << "nor can it shrink";
  UnbindIt(bound_);
}

TEST_F(BindingTest, LeavesObjectsOfTheProgramUnsealed) {
  const os::OwnedDescriptor file(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(file.get(), static_cast<off_t>(kBytes)), 0);
  MapInstead(mapping_, kPages, file.get(), MAP_SHARED);
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  {
    const os::LatchHolder holder(MemoryLatch());
    EXPECT_FALSE(RefuseNewWriters(bound_));
    Seal(bound_);
  }
  EXPECT_EQ(fcntl(file.get(), F_GET_SEALS), 0);
  UnbindIt(bound_);
}

}  // namespace
}  // namespace rsm::internal
