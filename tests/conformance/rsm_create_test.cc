// rsm_memseg_export_create(3), sentence by sentence: what a segment is, and what can be one.

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "os/live_replace.h"
#include "pinlock/mpin.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/shared_memory.h"
#include "tests/support/test_file.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::Export;
using test_support::FailsWith;
using test_support::FillPages;
using test_support::Get;
using test_support::Import;
using test_support::KernelEvidence;
using test_support::Limited;
using test_support::MapInstead;
using test_support::MemoryFile;
using test_support::MemoryState;
using test_support::PageSize;
using test_support::Put;
using test_support::RunInChild;
using test_support::Succeeds;
using test_support::SysVSegment;
using test_support::TestFile;
using test_support::TestMapping;
using test_support::TextOf;

using RsmCreate = test_support::RsmTest;

off_t OffsetOf(size_t page) { return static_cast<off_t>(page * PageSize()); }

bool IsMapped(const void* address) {
  return msync(const_cast<void*>(address), PageSize(), MS_ASYNC) == 0;
}

// Expects that whoever imports the segment reads what is at `address`, and the other way round.
void ExpectShared(const Import& remote, std::byte* address) {
  std::memcpy(address, "exporter", 8);
  EXPECT_EQ(Get(remote, 0, 8), "exporter");
  EXPECT_TRUE(Succeeds(Put(remote, 8, "importer")));
  EXPECT_EQ(TextOf(address, 16), "exporterimporter");
}

// --- What it does to the memory -----------------------------------------------------------------

TEST_F(RsmCreate, KeepsWhatTheMemoryHoldsAndWhereItIs) {
  const TestMapping mapping(4);
  FillPages(mapping, 4, "page ");
  const std::string before = TextOf(mapping.page(0), 4 * PageSize());
  const Export segment = Create(mapping, 4);
  EXPECT_EQ(TextOf(mapping.page(0), 4 * PageSize()), before);
  FillPages(mapping, 4, "new ");
  EXPECT_NE(TextOf(mapping.page(0), 4 * PageSize()), before) << "it can be written to";
}

TEST_F(RsmCreate, LocksThePagesAsLongAsTheSegmentExists) {
  const TestMapping mapping(4);
  const MemoryState before = MemoryState::Of(mapping, 0, 4);
  {
    const Export segment = CreateAt(mapping.page(1), 2 * PageSize());
    const KernelEvidence evidence = KernelEvidence::Of(mapping.all());
    EXPECT_EQ(evidence.locked_bytes, before.locks.locked_bytes + 2 * PageSize());
    EXPECT_TRUE(evidence.Locks(mapping.range(1, 2)));
    EXPECT_EQ(MemoryState::Of(mapping, 1, 2).pins_min, 1u);
    EXPECT_EQ(MemoryState::Of(mapping, 0, 4).pins_min, 0u);
  }
  EXPECT_EQ(MemoryState::Of(mapping, 0, 4), before);
}

TEST_F(RsmCreate, LeavesPinsOfTheProgramAsTheyAre) {
  const TestMapping mapping(3);
  ASSERT_EQ(mpin(mapping.page(0), 2 * PageSize()), 0) << mpin_error();
  ASSERT_EQ(mpin(mapping.page(0), PageSize()), 0) << mpin_error();
  const MemoryState before = MemoryState::Of(mapping, 0, 3);
  {
    const Export segment = Create(mapping, 3);
    const MemoryState during = MemoryState::Of(mapping, 0, 3);
    EXPECT_EQ(during.pins_max, 3u);
    EXPECT_EQ(during.pins_min, 1u);
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.all()));
  }
  EXPECT_EQ(MemoryState::Of(mapping, 0, 3), before);
  EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.range(0, 2)));
  EXPECT_EQ(munpin(mapping.page(0), PageSize()), 0) << mpin_error();
  EXPECT_EQ(munpin(mapping.page(0), 2 * PageSize()), 0) << mpin_error();
  EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks({}));
}

TEST_F(RsmCreate, LeavesAHoleInAForkedChild) {
  const TestMapping mapping(3);
  const Export segment = CreateAt(mapping.page(1), PageSize());
  RunInChild([&] {
    EXPECT_TRUE(IsMapped(mapping.page(0)));
    EXPECT_FALSE(IsMapped(mapping.page(1)));
    EXPECT_TRUE(IsMapped(mapping.page(2)));
  });
}

TEST_F(RsmCreate, LeavesNoHoleOnceTheSegmentIsDestroyed) {
  const TestMapping mapping(2);
  FillPages(mapping, 2, "kept ");
  const std::string before = TextOf(mapping.page(0), 2 * PageSize());
  { const Export segment = Create(mapping, 2); }
  RunInChild([&] { EXPECT_EQ(TextOf(mapping.page(0), 2 * PageSize()), before); });
}

TEST_F(RsmCreate, NeedsRoomInTheLockLimitForOneCopyAlone) {
  RunInChild(Limited(8 * PageSize()), [this] {
    const TestMapping mapping(8);
    FillPages(mapping, 8, "page ");
    const std::string before = TextOf(mapping.page(0), 8 * PageSize());
    const Export segment = Create(mapping, 8);
    EXPECT_EQ(TextOf(mapping.page(0), 8 * PageSize()), before);
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.all()));
  });
}

TEST_F(RsmCreate, TakesTheFlagsThatChangeNothingHere) {
  const TestMapping mapping(1);
  const Export segment = Create(mapping, 1, RSM_CREATE_SEG_DONTWAIT | RSM_LOCK_OPS);
  const Import remote = Connect(Publish(segment));
  ExpectShared(remote, mapping.page(0));
}

TEST_F(RsmCreate, DoesNotPublishTheSegment) {
  const TestMapping mapping(1);
  const Export segment = Create(mapping, 1);
  EXPECT_EQ(folder().CountNames(), 0u);
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, rsm_memseg_export_unpublish(segment.get())));
}

TEST_F(RsmCreate, GivesEachSegmentAHandleOfItsOwn) {
  const TestMapping mapping(2);
  const Export one = CreateAt(mapping.page(0), PageSize());
  const Export two = CreateAt(mapping.page(1), PageSize());
  EXPECT_NE(one.get(), two.get());
}

// --- Memory that is shared already --------------------------------------------------------------

TEST_F(RsmCreate, SharesMemoryOfMemfdCreateAsItIs) {
  const os::OwnedDescriptor file = MemoryFile(4);
  const TestMapping mapping(4, file.get()), again(4, file.get());
  const Export segment = CreateAt(mapping.page(2), 2 * PageSize());
  const Import remote = Connect(Publish(segment));
  ExpectShared(remote, mapping.page(2));
  EXPECT_EQ(TextOf(again.page(2), 16), "exporterimporter") << "no copy was made";
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, Put(remote, OffsetOf(2), "x")));
}

TEST_F(RsmCreate, SharesMemoryOfMemfdCreateAlthoughItsDescriptorIsClosedLater) {
  os::OwnedDescriptor file = MemoryFile(1);
  const TestMapping mapping(1, file.get());
  const Export segment = Create(mapping, 1);
  file = os::OwnedDescriptor();
  ExpectShared(Connect(Publish(segment)), mapping.page(0));
}

TEST_F(RsmCreate, SharesMemoryOfShmgetAsItIs) {
  const SysVSegment memory(4);
  {
    const Export segment = CreateAt(memory.page(1), 2 * PageSize());
    const Import remote = Connect(Publish(segment));
    ExpectShared(remote, memory.page(1));
    EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, Put(remote, OffsetOf(2), "x")));
  }
  EXPECT_EQ(TextOf(memory.page(1), 16), "exporterimporter");
}

TEST_F(RsmCreate, SharesMemoryOfTheFirstShmgetOfAllWhoseNumberIs0) {
  // By fork(2), which the library's threads are prepared for, as they are not for a bare clone(2).
  RunInChild([this] {
    if (unshare(CLONE_NEWUSER | CLONE_NEWIPC) != 0) GTEST_SKIP() << "no user namespaces here";
    const SysVSegment memory(1);
    ASSERT_EQ(memory.number(), 0);
    const Export segment = CreateAt(memory.page(0), PageSize());
  });
}

TEST_F(RsmCreate, LeavesNoAttachmentOfMemoryOfShmget) {
  const SysVSegment memory(2);
  const size_t attachments = memory.CountAttachments();
  {
    const Export segment = CreateAt(memory.page(0), 2 * PageSize());
    const Import remote = Connect(Publish(segment));
    EXPECT_NE(test_support::MapAll(remote, 2), nullptr);
    EXPECT_GT(memory.CountAttachments(), attachments);
  }
  EXPECT_EQ(memory.CountAttachments(), attachments);
}

TEST_F(RsmCreate, LetsTwoSegmentsHaveTheSameMemory) {
  const TestMapping mapping(2);
  FillPages(mapping, 2, "page ");
  Export one = Create(mapping, 2);
  const Export two = Create(mapping, 2);
  const Import first = Connect(Publish(one)), second = Connect(Publish(two));
  ExpectShared(first, mapping.page(0));
  ExpectShared(second, mapping.page(0));
  EXPECT_EQ(MemoryState::Of(mapping, 0, 2).pins_min, 2u);
  one = nullptr;
  EXPECT_EQ(MemoryState::Of(mapping, 0, 2).pins_min, 1u);
  ExpectShared(second, mapping.page(0));
}

TEST_F(RsmCreate, LetsASegmentHavePartOfTheMemoryOfAnother) {
  const TestMapping mapping(4);
  FillPages(mapping, 4, "page ");
  Export whole = Create(mapping, 4);
  const Export part = CreateAt(mapping.page(1), 2 * PageSize());
  const Import remote = Connect(Publish(part));
  ExpectShared(remote, mapping.page(1));
  whole = nullptr;
  ExpectShared(remote, mapping.page(1));
  EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.range(1, 2)));
}

// --- Private mappings of files ------------------------------------------------------------------

TEST_F(RsmCreate, TakesAPrivateMappingOfAFileWhichKeepsItsBytes) {
  const TestFile file(2, static_cast<uint32_t>(PageSize()));
  const TestMapping mapping(2);
  MapInstead(mapping, 2, file.fd(), MAP_PRIVATE);
  const std::string before = TextOf(mapping.page(0), 2 * PageSize());
  RunInChild([&] {
    if (os::HasOtherThreads()) {
      rsm_memseg_export_handle_t segment = nullptr;
      EXPECT_TRUE(FailsWith(
          RSMERR_INSUFFICIENT_RESOURCES,
          rsm_memseg_export_create(controller(), &segment, mapping.page(0), 2 * PageSize(), 0),
          "before other threads are started"));
      return;
    }
    const Export segment = Create(mapping, 2);
    EXPECT_EQ(TextOf(mapping.page(0), 2 * PageSize()), before);
    ExpectShared(Connect(Publish(segment)), mapping.page(0));
    EXPECT_EQ(file.Read(0, 2 * PageSize()), before);
  });
}

}  // namespace
