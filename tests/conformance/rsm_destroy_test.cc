// rsm_memseg_export_destroy(3), sentence by sentence, and what importers keep.

#include <poll.h>
#include <sys/mman.h>

#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/shared_memory.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::DescriptorHog;
using test_support::Export;
using test_support::FailsWith;
using test_support::FillPages;
using test_support::Get;
using test_support::Import;
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

class RsmDestroy : public test_support::RsmTest {
 protected:
  static constexpr size_t kPages = 2;
  const size_t kBytes = kPages * PageSize();

  RsmDestroy() { FillPages(mapping_, kPages, "page "); }

  // The importer's connection has ended.
  static void ExpectAborted(const Import& remote) {
    char byte = 'x';
    EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_get(remote.get(), 0, &byte, 1),
                          "connect again once it is published"));
    EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_put(remote.get(), 0, &byte, 1)));
  }

  // What either writes there the other does not see.
  void ExpectParted(std::byte* map) const {
    std::memcpy(map, "of the importer", 15);
    std::memcpy(mapping_.page(0), "of the exporter", 15);
    EXPECT_EQ(TextOf(map, 15), "of the importer");
    EXPECT_EQ(TextOf(mapping_.page(0), 15), "of the exporter");
  }

  const TestMapping mapping_{kPages};
};

// --- The rows of the table ----------------------------------------------------------------------

TEST_F(RsmDestroy, FailsWithBadSegHndlWhereTheHandleIsNull) {
  EXPECT_TRUE(
      FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_export_destroy(nullptr), "is no exported segment"));
}

TEST_F(RsmDestroy, FailsWithBadSegHndlTheSecondTime) {
  Export segment = Create(mapping_, kPages);
  const rsm_memseg_export_handle_t stale = segment.get();
  segment = nullptr;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_export_destroy(stale)));
  const Export another = Create(mapping_, kPages);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_export_destroy(stale)))
      << "a new segment is another one";
}

TEST_F(RsmDestroy, FailsWithBadSegHndlOnAnImportedSegment) {
  const Export segment = Create(mapping_, kPages);
  const Import remote = Connect(Publish(segment));
  EXPECT_TRUE(FailsWith(
      RSMERR_BAD_SEG_HNDL,
      rsm_memseg_export_destroy(reinterpret_cast<rsm_memseg_export_handle_t>(remote.get()))));
}

TEST_F(RsmDestroy, FailsWithPollfdInUseWhileItsDescriptorIsHeldAndNothingChanges) {
  const Export segment = Create(mapping_, kPages);
  const Import remote = Connect(Publish(segment));
  pollfd descriptor = {};
  ASSERT_TRUE(Succeeds(rsm_memseg_get_pollfd(segment.get(), &descriptor)));
  const MemoryState before = MemoryState::Of(mapping_, 0, kPages);
  EXPECT_TRUE(FailsWith(RSMERR_POLLFD_IN_USE, rsm_memseg_export_destroy(segment.get()),
                        "rsm_memseg_release_pollfd first"));
  EXPECT_EQ(MemoryState::Of(mapping_, 0, kPages), before);
  EXPECT_EQ(Get(remote, 0, kBytes), before.contents);
  EXPECT_EQ(folder().CountNames(), 1u);
  ASSERT_TRUE(Succeeds(rsm_memseg_release_pollfd(segment.get())));
}

TEST_F(RsmDestroy, FailsWithNotCreatorInAForkedChildAndNothingChanges) {
  const Export segment = Create(mapping_, kPages);
  const Import remote = Connect(Publish(segment));
  RunInChild([&] {
    EXPECT_TRUE(FailsWith(RSMERR_NOT_CREATOR, rsm_memseg_export_destroy(segment.get()),
                          "the process that this one was forked from"));
  });
  EXPECT_EQ(Get(remote, 0, kBytes), TextOf(mapping_.page(0), kBytes));
}

// --- What it does -------------------------------------------------------------------------------

TEST_F(RsmDestroy, GivesTheMemoryBackToTheProgramWithWhatImportersPut) {
  const MemoryState before = MemoryState::Of(mapping_, 0, kPages);
  Export segment = Create(mapping_, kPages);
  const Import remote = Connect(Publish(segment));
  ASSERT_TRUE(Succeeds(Put(remote, 0, "by an importer")));
  segment = nullptr;
  MemoryState after = MemoryState::Of(mapping_, 0, kPages);
  EXPECT_EQ(after.contents, "by an importer" + before.contents.substr(14));
  after.contents = before.contents;
  EXPECT_EQ(after, before) << "private, neither pinned nor locked";
}

TEST_F(RsmDestroy, DisconnectsEveryImporterWhoKeepsMemoryThatNobodyElseSees) {
  Export segment = Create(mapping_, kPages);
  const rsm_memseg_id_t number = Publish(segment);
  const Import one = Connect(number), two = Connect(number),
               reader = Connect(number, RSM_PERM_READ);
  std::byte* const map = MapAll(one, kPages);
  const std::string before = TextOf(mapping_.page(0), kBytes);
  segment = nullptr;
  EXPECT_EQ(TextOf(map, kBytes), before);
  ExpectParted(map);
  ExpectAborted(one);
  ExpectAborted(two);
  char byte = 0;
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_get(reader.get(), 0, &byte, 1)));
}

TEST_F(RsmDestroy, MakesLaterCallsOfImportersFail) {
  Export segment = Create(mapping_, kPages);
  const Import remote = Connect(Publish(segment));
  rsmapi_barrier_t barrier;
  ASSERT_TRUE(
      Succeeds(rsm_memseg_import_init_barrier(remote.get(), RSM_BARRIER_SEGMENT, &barrier)));
  ASSERT_TRUE(Succeeds(rsm_memseg_import_open_barrier(&barrier)));
  segment = nullptr;
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_close_barrier(&barrier)));
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_intr_signal_post(remote.get(), 0)));
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_intr_signal_wait(remote.get(), -1)));
  void* address = nullptr;
  EXPECT_TRUE(FailsWith(
      RSMERR_CONN_ABORTED,
      rsm_memseg_import_map(remote.get(), &address, RSM_MAP_NONE, RSM_PERM_READ, 0, PageSize())));
  EXPECT_EQ(address, nullptr);
}

TEST_F(RsmDestroy, TakesTheNameAwayWhichIsFreeThen) {
  constexpr rsm_memseg_id_t kNumber = 0x400123;
  const TestMapping other(kPages);
  FillPages(other, kPages, "other ");
  Export segment = Create(mapping_, kPages);
  Publish(segment, kNumber);
  segment = nullptr;
  EXPECT_EQ(folder().CountNames(), 0u);
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, TryToConnect(kNumber)));
  const Export another = Create(other, kPages);
  Publish(another, kNumber);
  EXPECT_EQ(Get(Connect(kNumber), 0, 8), "other 0.");
}

TEST_F(RsmDestroy, LeavesTheHandleOfNoUse) {
  Export segment = Create(mapping_, kPages, RSM_ALLOW_REBIND);
  rsm_memseg_export_handle_t stale = segment.get();
  rsm_memseg_id_t number = 0;
  pollfd descriptor = {};
  segment = nullptr;
  EXPECT_TRUE(
      FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_export_publish(stale, &number, nullptr, 0)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_export_unpublish(stale)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_export_republish(stale, nullptr, 0)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_intr_signal_post(stale, 0)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_intr_signal_wait(stale, 0)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_get_pollfd(stale, &descriptor)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_release_pollfd(stale)));
}

TEST_F(RsmDestroy, LeavesMemoryAloneThatTheProgramHasMappedThereInstead) {
  TestMapping mapping(kPages);
  Export segment = Create(mapping, kPages);
  const Import remote = Connect(Publish(segment));
  mapping.Unmap(0, kPages);
  mapping.MapAgain(0, kPages);
  FillPages(mapping, kPages, "instead ");
  const std::string before = TextOf(mapping.page(0), kBytes);
  segment = nullptr;
  const MemoryState after = MemoryState::Of(mapping, 0, kPages);
  EXPECT_EQ(after.contents, before);
  EXPECT_EQ(after.pins_max, 0u);
  EXPECT_TRUE(after.locks.locked.empty());
  ExpectAborted(remote);
}

TEST_F(RsmDestroy, SucceedsWhereTheProgramHasUnmappedTheMemory) {
  TestMapping mapping(kPages);
  Export segment = Create(mapping, kPages);
  const Import remote = Connect(Publish(segment));
  mapping.Unmap(0, kPages);
  segment = nullptr;
  ExpectAborted(remote);
  mapping.MapAgain(0, kPages);
  EXPECT_EQ(MemoryState::Of(mapping, 0, kPages).pins_max, 0u);
}

TEST_F(RsmDestroy, PartsImportersFromTheRestWhereTheProgramHasUnmappedAPart) {
  constexpr size_t kAll = 4;
  for (const bool is_part_of_another : {false, true}) {
    SCOPED_TRACE(is_part_of_another);
    TestMapping mapping(kAll);
    FillPages(mapping, kAll, "page ");
    Export segment = Create(mapping, kAll);
    Export part = is_part_of_another ? CreateAt(mapping.page(2), PageSize()) : nullptr;
    const Import remote = Connect(Publish(is_part_of_another ? part : segment));
    const std::byte* const map = MapAll(remote, is_part_of_another ? 1 : kAll);
    const std::string before = TextOf(mapping.page(2), PageSize());
    mapping.Unmap(1, 1);
    segment = nullptr;
    part = nullptr;
    ExpectAborted(remote);
    EXPECT_EQ(TextOf(mapping.page(2), PageSize()), before);
    std::memset(mapping.page(2), 'm', PageSize());
    EXPECT_EQ(TextOf(map + (is_part_of_another ? 0 : 2 * PageSize()), PageSize()), before);
    mapping.MapAgain(1, 1);
    EXPECT_EQ(MemoryState::Of(mapping, 0, kAll).pins_max, 0u);
  }
}

TEST_F(RsmDestroy, PartsImportersAlthoughNoDescriptorIsLeft) {
  for (const bool is_published : {true, false}) {
    SCOPED_TRACE(is_published);
    FillPages(mapping_, kPages, "page ");
    const std::string before = TextOf(mapping_.page(0), kBytes);
    Export segment = Create(mapping_, kPages);
    const Import remote = Connect(Publish(segment));
    std::byte* const map = MapAll(remote, kPages);
    if (!is_published) {
      ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment.get())));
    }
    {
      const DescriptorHog hog(0);
      segment = nullptr;
    }
    ExpectParted(map);
    const MemoryState after = MemoryState::Of(mapping_, 0, kPages);
    EXPECT_FALSE(after.is_shared);
    EXPECT_EQ(after.contents.substr(16), before.substr(16));
    EXPECT_EQ(after.pins_max, 0u);
    RunInChild([&] { EXPECT_EQ(TextOf(mapping_.page(0), 15), "of the exporter"); });
  }
}

// --- Memory that was shared before --------------------------------------------------------------

TEST_F(RsmDestroy, LeavesImportersTheProgramsMemoryWhereThatWasSharedBefore) {
  const os::OwnedDescriptor file = MemoryFile(kPages);
  test_support::MapInstead(mapping_, kPages, file.get(), MAP_SHARED);
  const SysVSegment sysv(kPages);
  for (std::byte* const memory : {mapping_.page(0), sysv.page(0)}) {
    Export segment = CreateAt(memory, kBytes);
    const Import remote = Connect(Publish(segment));
    const std::byte* const map = MapAll(remote, kPages);
    segment = nullptr;
    ExpectAborted(remote);
    std::memcpy(memory, "seen", 4);
    EXPECT_EQ(TextOf(map, 4), "seen");
  }
}

}  // namespace
