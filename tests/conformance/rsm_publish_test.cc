// rsm_memseg_export_publish(3), _unpublish(3) and _republish(3), sentence by sentence.

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/other_process.h"
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
using test_support::Limited;
using test_support::Line;
using test_support::LockedBytes;
using test_support::MapAll;
using test_support::MemoryFile;
using test_support::MemoryState;
using test_support::OtherProcess;
using test_support::PageSize;
using test_support::Put;
using test_support::RunInChild;
using test_support::Succeeds;
using test_support::TestMapping;
using test_support::TextOf;

// A segment of 2 pages.
class RsmPublish : public test_support::RsmTest {
 protected:
  static constexpr size_t kPages = 2;
  const size_t kBytes = kPages * PageSize();

  RsmPublish() {
    FillPages(mapping_, kPages, "page ");
    segment_ = Create(mapping_, kPages);
  }

  int TryToPublish(rsm_memseg_id_t number) const {
    const int result = rsm_memseg_export_publish(segment_.get(), &number, nullptr, 0);
    return result;
  }
  int TryToPublishFor(std::vector<rsmapi_access_entry_t> list) const {
    rsm_memseg_id_t number = 0;
    return rsm_memseg_export_publish(segment_.get(), &number, list.data(),
                                     static_cast<uint_t>(list.size()));
  }
  int RepublishFor(std::vector<rsmapi_access_entry_t> list) const {
    return rsm_memseg_export_republish(segment_.get(), list.data(),
                                       static_cast<uint_t>(list.size()));
  }
  void ExpectNotPublished() const {
    EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, rsm_memseg_export_unpublish(segment_.get())));
    EXPECT_EQ(folder().CountNames(), 0u);
  }
  void ExpectShared(const Import& remote) const {
    std::memcpy(mapping_.page(0), "of the exporter", 15);
    EXPECT_EQ(Get(remote, 0, 15), "of the exporter");
    EXPECT_TRUE(Succeeds(Put(remote, 0, "of the importer")));
    EXPECT_EQ(TextOf(mapping_.page(0), 15), "of the importer");
  }

  const TestMapping mapping_{kPages};
  Export segment_;
};

// --- Numbers ------------------------------------------------------------------------------------

TEST_F(RsmPublish, ChoosesANumberOfTheSystemsRangeWhereItIsGiven0) {
  const TestMapping other(1);
  const Export another = Create(other, 1);
  const rsm_memseg_id_t one = Publish(segment_), two = Publish(another);
  EXPECT_GE(one, 0x80000000u);
  EXPECT_GE(two, 0x80000000u);
  EXPECT_NE(one, two);
  EXPECT_EQ(Get(Connect(one), 0, 7), "page 0.");
}

TEST_F(RsmPublish, TakesTheNumbersThatAreNotReserved) {
  for (const rsm_memseg_id_t number :
       {0x400000u, 0x5FFFFFu, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu}) {
    EXPECT_EQ(Publish(segment_, number), number);
    EXPECT_EQ(Get(Connect(number), 0, 7), "page 0.");
    EXPECT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
  }
}

TEST_F(RsmPublish, FailsWithReservedSegidUpTo0x3FFFFF) {
  for (const rsm_memseg_id_t number : {1u, 0x1000u, 0x3FFFFFu}) {
    EXPECT_TRUE(FailsWith(RSMERR_RESERVED_SEGID, TryToPublish(number), "the system's own"));
  }
  ExpectNotPublished();
}

TEST_F(RsmPublish, FailsWithBadSegidWhereThereIsNoPlaceForTheNumber) {
  EXPECT_TRUE(
      FailsWith(RSMERR_BAD_SEGID, rsm_memseg_export_publish(segment_.get(), nullptr, nullptr, 0)));
  ExpectNotPublished();
}

TEST_F(RsmPublish, FailsWithSegidInUseWhereThisProcessHasTheNumber) {
  const TestMapping other(1);
  const Export another = Create(other, 1);
  Publish(another, 0x400001);
  EXPECT_TRUE(FailsWith(RSMERR_SEGID_IN_USE, TryToPublish(0x400001), "is published already"));
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, rsm_memseg_export_unpublish(segment_.get())));
  EXPECT_EQ(folder().CountNames(), 1u);
  EXPECT_EQ(TryToConnect(0x400001), RSM_SUCCESS) << "the other one is as it was";
}

TEST_F(RsmPublish, FailsWithSegidInUseWhileAnotherProcessHasTheNumberHoweverThatEnds) {
  OtherProcess other([this](const Line& line) {
    const TestMapping mapping(1);
    const Export another = Create(mapping, 1);
    line.Say(Publish(another, 0x400001));
    line.Hear();
  });
  ASSERT_EQ(other.Hear(), 0x400001u);
  EXPECT_TRUE(FailsWith(RSMERR_SEGID_IN_USE, TryToPublish(0x400001)));
  other.Kill();
  EXPECT_TRUE(Succeeds(TryToPublish(0x400001))) << "what a dead process has left is taken away";
}

// --- What else makes publish fail ---------------------------------------------------------------

TEST_F(RsmPublish, FailsWithBadSegHndlWhereTheHandleIsNone) {
  rsm_memseg_id_t number = 0;
  EXPECT_TRUE(
      FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_export_publish(nullptr, &number, nullptr, 0)));
  EXPECT_TRUE(FailsWith(
      RSMERR_BAD_SEG_HNDL,
      rsm_memseg_export_publish(reinterpret_cast<rsm_memseg_export_handle_t>(controller()), &number,
                                nullptr, 0)));
}

TEST_F(RsmPublish, FailsWithSegAlreadyPublishedTheSecondTime) {
  const rsm_memseg_id_t number = Publish(segment_);
  EXPECT_TRUE(FailsWith(RSMERR_SEG_ALREADY_PUBLISHED, TryToPublish(0), "republish changes"));
  EXPECT_TRUE(FailsWith(RSMERR_SEG_ALREADY_PUBLISHED, TryToPublish(number)));
  EXPECT_EQ(folder().CountNames(), 1u);
  ExpectShared(Connect(number));
}

TEST_F(RsmPublish, FailsWithNotCreatorInAForkedChild) {
  RunInChild([this] {
    EXPECT_TRUE(FailsWith(RSMERR_NOT_CREATOR, TryToPublish(0)));
    EXPECT_TRUE(FailsWith(RSMERR_NOT_CREATOR, rsm_memseg_export_unpublish(segment_.get())));
    EXPECT_TRUE(
        FailsWith(RSMERR_NOT_CREATOR, rsm_memseg_export_republish(segment_.get(), nullptr, 0)));
  });
  ExpectNotPublished();
}

TEST_F(RsmPublish, FailsWithBadAclWhereTheListCannotBe) {
  rsm_memseg_id_t number = 0;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ACL,
                        rsm_memseg_export_publish(segment_.get(), &number, nullptr, 1), "is NULL"));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ACL,
                        TryToPublishFor(std::vector<rsmapi_access_entry_t>(65, {1, 0666})),
                        "at most 64"));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ACL, TryToPublishFor({{1, 0667}}), "at most 0666"));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ACL, TryToPublishFor({{1, 01666}}), "at most 0666"));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ACL, TryToPublishFor({{2, 0600}}), "reaches node 1 alone"));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ACL, TryToPublishFor({{1, 0600}, {1, 0600}})));
  EXPECT_EQ(number, 0u);
  ExpectNotPublished();
}

TEST_F(RsmPublish, FailsWithInsufficientResourcesWithoutAFolder) {
  ASSERT_EQ(setenv("RSM_FOLDER", (folder().path() + "/none").c_str(), 1), 0);
  EXPECT_TRUE(FailsWith(RSMERR_INSUFFICIENT_RESOURCES, TryToPublish(0), folder().path() + "/none"));
  ASSERT_EQ(setenv("RSM_FOLDER", folder().path().c_str(), 1), 0);
  ExpectNotPublished();
}

TEST_F(RsmPublish, FailsWithPermDeniedInAFolderWhereOthersCouldTakeNamesAway) {
  folder().SetMode(0777);
  EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, TryToPublish(0), "or root's and sticky"));
  folder().SetMode(01777);
  EXPECT_TRUE(Succeeds(TryToPublish(0)));
}

// However many it needs; the first segment of a process needs more.
TEST_F(RsmPublish, FailsWithInsufficientResourcesWhereTooFewDescriptorsAreLeft) {
  RunInChild([this] {
    const TestMapping mapping(1);
    const Export segment = Create(mapping, 1);
    const MemoryState before = MemoryState::Of(mapping, 0, 1);
    rsm_memseg_id_t number = 0;
    for (size_t left = 0;; ++left) {
      ASSERT_LT(left, 20u);
      int result = RSM_SUCCESS;
      {
        const DescriptorHog hog(left);
        result = rsm_memseg_export_publish(segment.get(), &number, nullptr, 0);
      }
      if (result == RSM_SUCCESS && left > 0) break;
      EXPECT_TRUE(FailsWith(RSMERR_INSUFFICIENT_RESOURCES, result, "Too many open files")) << left;
      EXPECT_EQ(number, 0u);
      EXPECT_EQ(folder().CountNames(), 0u);
      EXPECT_EQ(MemoryState::Of(mapping, 0, 1), before);
    }
    EXPECT_EQ(TryToConnect(number), RSM_SUCCESS);
  });
}

// --- Access -------------------------------------------------------------------------------------
// What users, groups and others may is in rsm_users_test.cc.

TEST_F(RsmPublish, LetsNobodyInWhereTheListIsEmpty) {
  rsm_memseg_id_t number = 0;
  rsmapi_access_entry_t none = {};
  ASSERT_TRUE(Succeeds(rsm_memseg_export_publish(segment_.get(), &number, &none, 0)));
  for (const rsm_permission_t permission : {0400u, 0200u, 0600u}) {
    EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED_TO_NODE, TryToConnect(number, permission),
                          "does not have this node"));
  }
}

TEST_F(RsmPublish, LetsNobodyWriteWhereTheListDoesNot) {
  const rsm_memseg_id_t number = PublishFor(segment_, 0444);
  EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, TryToConnect(number, RSM_PERM_RDWR)));
  EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, TryToConnect(number, RSM_PERM_WRITE)));
  const Import remote = Connect(number, RSM_PERM_READ);
  EXPECT_EQ(Get(remote, 0, 7), "page 0.");
  std::memcpy(mapping_.page(0), "written", 7);
  EXPECT_EQ(Get(remote, 0, 7), "written") << "the program itself goes on writing";
}

TEST_F(RsmPublish, SharesTheMemoryWithEveryImporter) {
  const rsm_memseg_id_t number = Publish(segment_);
  const Import one = Connect(number), two = Connect(number);
  ExpectShared(one);
  EXPECT_EQ(Get(two, 0, 15), "of the importer");
  {
    const OtherProcess other([&](const Line&) {
      const Import three = Connect(number);
      EXPECT_EQ(Get(three, 0, 15), "of the importer");
      EXPECT_TRUE(Succeeds(Put(three, 0, "of some process")));
    });
  }
  EXPECT_EQ(TextOf(mapping_.page(0), 15), "of some process");
  EXPECT_EQ(Get(two, 0, 15), "of some process");
}

// --- Unpublish ----------------------------------------------------------------------------------

using RsmUnpublish = RsmPublish;

TEST_F(RsmUnpublish, FailsWithBadSegHndlWhereTheHandleIsNone) {
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_export_unpublish(nullptr)));
}

TEST_F(RsmUnpublish, FailsWithSegNotPublishedWhereItIsNot) {
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, rsm_memseg_export_unpublish(segment_.get()),
                        "is not published"));
  Publish(segment_);
  EXPECT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
  ExpectNotPublished();
}

TEST_F(RsmUnpublish, FailsWithPollfdInUseWhileItsDescriptorIsHeldAndNothingChanges) {
  const Import remote = Connect(Publish(segment_));
  pollfd descriptor = {};
  ASSERT_TRUE(Succeeds(rsm_memseg_get_pollfd(segment_.get(), &descriptor)));
  EXPECT_TRUE(FailsWith(RSMERR_POLLFD_IN_USE, rsm_memseg_export_unpublish(segment_.get())));
  ExpectShared(remote);
  EXPECT_EQ(folder().CountNames(), 1u);
  ASSERT_TRUE(Succeeds(rsm_memseg_release_pollfd(segment_.get())));
  EXPECT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
}

TEST_F(RsmUnpublish, DisconnectsImportersWhoKeepMemoryThatNobodyElseSees) {
  const rsm_memseg_id_t number = Publish(segment_);
  const Import remote = Connect(number);
  std::byte* const map = MapAll(remote, kPages);
  const MemoryState before = MemoryState::Of(mapping_, 0, kPages);
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
  EXPECT_EQ(MemoryState::Of(mapping_, 0, kPages), before) << "it is still a segment, and locked";
  EXPECT_EQ(TextOf(map, kBytes), before.contents);
  std::memcpy(map, "of the importer", 15);
  std::memcpy(mapping_.page(0), "of the exporter", 15);
  EXPECT_EQ(TextOf(map, 15), "of the importer");
  EXPECT_EQ(TextOf(mapping_.page(0), 15), "of the exporter");
  char byte = 0;
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_get(remote.get(), 0, &byte, 1)));
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, TryToConnect(number), "nobody listens at"));
}

TEST_F(RsmUnpublish, LeavesASegmentThatCanBePublishedAgain) {
  const rsm_memseg_id_t number = Publish(segment_);
  const Import old = Connect(number);
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
  EXPECT_EQ(Publish(segment_, number), number);
  ExpectShared(Connect(number));
  char byte = 0;
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_get(old.get(), 0, &byte, 1)))
      << "who was disconnected stays so";
}

TEST_F(RsmUnpublish, PartsImportersFromTheRestWhereTheProgramHasUnmappedAPart) {
  constexpr size_t kAll = 4;
  TestMapping mapping(kAll);
  FillPages(mapping, kAll, "page ");
  Export segment = Create(mapping, kAll, RSM_ALLOW_REBIND);
  const Import remote = Connect(Publish(segment));
  const std::byte* const map = MapAll(remote, kAll);
  const std::string before = TextOf(map, kAll * PageSize());
  mapping.Unmap(1, 1);
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment.get())));
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, rsm_memseg_export_unpublish(segment.get())));
  std::memset(mapping.page(2), 'm', PageSize());
  EXPECT_EQ(TextOf(map, kAll * PageSize()), before);
  EXPECT_EQ(MemoryState::Of(mapping, 2, 1).pins_min, 1u) << "as long as the segment is there";

  rsm_memseg_id_t number = 0;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR,
                        rsm_memseg_export_publish(segment.get(), &number, nullptr, 0),
                        "create it anew"));
  TestMapping fresh(kAll);
  EXPECT_TRUE(FailsWith(
      RSMERR_BAD_ADDR, rsm_memseg_export_rebind(segment.get(), fresh.page(0), 0, kAll * PageSize()),
      "create it anew"));
  segment = nullptr;
  EXPECT_EQ(*mapping.page(2), std::byte{'m'});
  mapping.MapAgain(1, 1);
  EXPECT_EQ(MemoryState::Of(mapping, 0, kAll).pins_max, 0u);
}

TEST_F(RsmUnpublish, LeavesAHoleInAForkedChild) {
  const Import remote = Connect(Publish(segment_));
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
  RunInChild([this] { EXPECT_TRUE(FailsWith(RSMERR_NOT_CREATOR, TryToPublish(0))); });
  EXPECT_TRUE(MemoryState::Of(mapping_, 0, kPages).is_shared);
}

TEST_F(RsmUnpublish, NeedsRoomInTheLockLimitForOneCopyAlone) {
  RunInChild(Limited(kBytes), [this] {
    const TestMapping mapping(kPages);
    FillPages(mapping, kPages, "page ");
    const Export segment = Create(mapping, kPages);
    const Import remote = Connect(Publish(segment));
    const MemoryState before = MemoryState::Of(mapping, 0, kPages);
    ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment.get())));
    EXPECT_EQ(MemoryState::Of(mapping, 0, kPages), before);
    EXPECT_TRUE(before.locks.Locks(mapping.all()));
  });
}

// However many it needs.
TEST_F(RsmUnpublish, ChangesNothingWhereTooFewDescriptorsAreLeft) {
  RunInChild([this] {
    const TestMapping mapping(1);
    const Export segment = Create(mapping, 1);
    const rsm_memseg_id_t number = Publish(segment);
    const Import remote = Connect(number);
    for (size_t left = 0;; ++left) {
      ASSERT_LT(left, 20u);
      int result = RSM_SUCCESS;
      {
        const DescriptorHog hog(left);
        result = rsm_memseg_export_unpublish(segment.get());
      }
      if (result == RSM_SUCCESS) break;
      EXPECT_TRUE(FailsWith(RSMERR_INSUFFICIENT_RESOURCES, result, "Too many open files")) << left;
      std::memcpy(mapping.page(0), "shared", 6);
      EXPECT_EQ(Get(remote, 0, 6), "shared");
      EXPECT_EQ(TryToConnect(number), RSM_SUCCESS);
    }
    char byte = 0;
    EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_get(remote.get(), 0, &byte, 1)));
    std::memcpy(mapping.page(0), "parted", 6);
    EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_get(remote.get(), 0, &byte, 1)));
    EXPECT_NE(byte, 'p');
  });
}

TEST_F(RsmUnpublish, LeavesImportersTheProgramsMemoryWhereThatWasSharedBefore) {
  const os::OwnedDescriptor file = MemoryFile(kPages);
  const TestMapping mapping(kPages, file.get());
  const Export segment = Create(mapping, kPages);
  const Import remote = Connect(Publish(segment));
  const std::byte* const map = MapAll(remote, kPages);
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment.get())));
  char byte = 0;
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_get(remote.get(), 0, &byte, 1)));
  std::memcpy(mapping.page(0), "seen", 4);
  EXPECT_EQ(TextOf(map, 4), "seen");
}

// --- Republish ----------------------------------------------------------------------------------

using RsmRepublish = RsmPublish;

TEST_F(RsmRepublish, FailsWithBadSegHndlWhereTheHandleIsNone) {
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_export_republish(nullptr, nullptr, 0)));
}

TEST_F(RsmRepublish, FailsWithSegNotPublishedWhereItIsNot) {
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, RepublishFor({{1, 0600}})));
  Publish(segment_);
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, RepublishFor({{1, 0600}})));
}

TEST_F(RsmRepublish, FailsWithBadAclWhereTheListCannotBeAndTheOldOneStays) {
  const rsm_memseg_id_t number = PublishFor(segment_, 0444);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ACL, rsm_memseg_export_republish(segment_.get(), nullptr, 1)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ACL, RepublishFor({{7, 0666}})));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ACL, RepublishFor({{1, 0777}})));
  EXPECT_TRUE(Succeeds(TryToConnect(number, RSM_PERM_READ)));
  EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, TryToConnect(number)));
}

TEST_F(RsmRepublish, LeavesConnectionsAsTheyAreAndNewOnesMeetTheNewList) {
  const rsm_memseg_id_t number = Publish(segment_);
  const Import old = Connect(number);
  rsmapi_access_entry_t none = {};
  ASSERT_TRUE(Succeeds(rsm_memseg_export_republish(segment_.get(), &none, 0)));
  ExpectShared(old);
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED_TO_NODE, TryToConnect(number)));
  ASSERT_TRUE(Succeeds(rsm_memseg_export_republish(segment_.get(), nullptr, 0)));
  ExpectShared(old);
  ExpectShared(Connect(number));
}

TEST_F(RsmRepublish, LetsWritersInWhereNobodyWasAllowedToWriteAndNobodyCame) {
  const rsm_memseg_id_t number = PublishFor(segment_, 0444);
  const MemoryState before = MemoryState::Of(mapping_, 0, kPages);
  ASSERT_TRUE(Succeeds(RepublishFor({{1, 0666}})));
  EXPECT_EQ(MemoryState::Of(mapping_, 0, kPages), before);
  ExpectShared(Connect(number));
}

TEST_F(RsmRepublish, FailsWithInsufficientResourcesForWritersWhereReadersCameBefore) {
  const rsm_memseg_id_t number = PublishFor(segment_, 0444);
  const Import reader = Connect(number, RSM_PERM_READ);
  EXPECT_TRUE(FailsWith(RSMERR_INSUFFICIENT_RESOURCES, RepublishFor({{1, 0666}}),
                        "unpublish it, and publish it with the new list"));
  EXPECT_EQ(Get(reader, 0, 7), "page 0.");
  EXPECT_TRUE(Succeeds(TryToConnect(number, RSM_PERM_READ))) << "the old list stays";
  EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, TryToConnect(number)));
  ASSERT_TRUE(Succeeds(RepublishFor({{1, 0440}}))) << "for readers it is possible";
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
  ExpectShared(Connect(PublishFor(segment_, 0666)));
}

}  // namespace
