#include "tests/fault/rsm_calls.h"

#include <poll.h>
#include <sys/syscall.h>

#include <cstdint>

#include "gtest/gtest.h"
#include "rsm/rsmapi.h"
#include "tests/support/rsm_setting.h"
#include "tests/support/tagged_memory.h"
#include "tests/support/test_segment.h"

namespace fault {

using test_support::Connect;
using test_support::Create;
using test_support::Eventually;
using test_support::FailsWith;
using test_support::kSegment;
using test_support::Publish;
using test_support::Succeeds;

namespace {

int GetPoll(void* handle, bool& has) {
  pollfd descriptor = {};
  const int code = rsm_memseg_get_pollfd(handle, &descriptor);
  has = code == RSM_SUCCESS;
  return code;
}

}  // namespace

const Call kCreate = {
    .name = "Create",
    .prepare = [](World&) {},
    .make = [](World& world) { return Create(world.exported, world.a.address(), Bytes()); },
    .expect_made =
        [](World& world) {
          EXPECT_TRUE(world.a.IsShared());
          EXPECT_TRUE(world.a.IsLocked());
        },
    .expect_not_made = [](World& world) { EXPECT_EQ(world.exported, nullptr); },
};

const Call kCreateAgain = {
    .name = "CreateAgain",
    .prepare = [](World& world) { world.Export(); },
    .make = [](World& world) { return Create(world.second, world.a.address(), Bytes()); },
    .expect_made = [](World& world) { EXPECT_TRUE(world.a.IsLocked()); },
};

const Call kDestroy = {
    .name = "Destroy",
    .prepare =
        [](World& world) {
          ASSERT_NO_FATAL_FAILURE(world.ExportAndPublish());
          world.Import();
        },
    .make = [](World& world) { return rsm_memseg_export_destroy(world.exported); },
    .expect_made =
        [](World& world) {
          world.exported = nullptr;
          world.ExpectNotPublished();
          uint64_t word = 0;
          EXPECT_TRUE(
              FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_put64(world.imported, 0, &word, 1)));
          EXPECT_EQ(world.map[0], word) << "no signal";
          if (world.a.IsShared()) world.map[0] = test_support::TaggedMemory::Word(1, 0);
        },
    .always_succeeds = true,
    .may_leave_object = true,
};

const Call kRebind = {
    .name = "Rebind",
    .prepare =
        [](World& world) {
          ASSERT_NO_FATAL_FAILURE(world.ExportAndPublish());
          world.Import();
        },
    .make =
        [](World& world) {
          return rsm_memseg_export_rebind(world.exported, world.b.address(), 0, Bytes());
        },
    .expect_made =
        [](World& world) {
          EXPECT_TRUE(world.b.Fills(world.Got().data()));
          EXPECT_TRUE(world.IsSeen(world.b));
          EXPECT_FALSE(world.a.IsShared());
          EXPECT_TRUE(world.b.IsLocked());
        },
    .expect_not_made =
        [](World& world) {
          EXPECT_TRUE(world.a.Fills(world.Got().data()));
          EXPECT_TRUE(world.IsSeen(world.a));
          EXPECT_TRUE(world.a.IsLocked());
        },
    .spared = SYS_mremap,
};

const Call kPublish = {
    .name = "Publish",
    .prepare = [](World& world) { world.Export(); },
    .make = [](World& world) { return Publish(world.exported); },
    .expect_made = [](World& world) { world.Import(); },
    .expect_not_made = [](World& world) { world.ExpectNotPublished(); },
    .descriptors_for_ever = 2,
};

const Call kPublishForWriters = {
    .name = "PublishForWriters",
    .prepare =
        [](World& world) {
          ASSERT_NO_FATAL_FAILURE(world.ExportAndPublish(0444));
          ASSERT_TRUE(Succeeds(Connect(world.imported, RSM_PERM_READ)));
          ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(world.exported)));
          ASSERT_TRUE(Succeeds(rsm_memseg_import_disconnect(world.imported)));
          world.imported = nullptr;
        },
    .make = [](World& world) { return Publish(world.exported, kSegment, 0666); },
    .expect_made =
        [](World& world) {
          ASSERT_NO_FATAL_FAILURE(world.Import());
          EXPECT_TRUE(world.IsSeen(world.a));
          EXPECT_TRUE(world.a.IsLocked());
        },
    .expect_not_made = [](World& world) { world.ExpectNotPublished(); },
};

const Call kRepublish = {
    .name = "Republish",
    .prepare = [](World& world) { world.ExportAndPublish(0444); },
    .make =
        [](World& world) {
          rsmapi_access_entry_t entry = {1, 0666};
          return rsm_memseg_export_republish(world.exported, &entry, 1);
        },
    .expect_made =
        [](World& world) {
          ASSERT_NO_FATAL_FAILURE(world.Import());
          EXPECT_TRUE(world.IsSeen(world.a));
          EXPECT_TRUE(world.a.IsLocked());
        },
};

const Call kUnpublish = {
    .name = "Unpublish",
    .prepare = kRebind.prepare,
    .make = [](World& world) { return rsm_memseg_export_unpublish(world.exported); },
    .expect_made =
        [](World& world) {
          world.ExpectNotPublished();
          world.ExpectAborted();
          EXPECT_TRUE(world.a.IsLocked());
        },
    .expect_not_made = kRebind.expect_not_made,
};

const Call kConnect = {
    .name = "Connect",
    .prepare = [](World& world) { world.ExportAndPublish(); },
    .make = [](World& world) { return Connect(world.imported); },
    .expect_made = [](World& world) { EXPECT_TRUE(world.a.Fills(world.Got().data())); },
    .expect_not_made =
        [](World&) { EXPECT_TRUE(Eventually([] { return test_support::ImportersOf() == 0; })); },
};

const Call kMap = {
    .name = "Map",
    .prepare =
        [](World& world) {
          ASSERT_NO_FATAL_FAILURE(world.ExportAndPublish());
          ASSERT_TRUE(Succeeds(Connect(world.imported)));
        },
    .make =
        [](World& world) {
          void* address = nullptr;
          const int code = rsm_memseg_import_map(world.imported, &address, RSM_MAP_NONE,
                                                 RSM_PERM_RDWR, 0, Bytes());
          world.map = static_cast<uint64_t*>(address);
          return code;
        },
    .expect_made = [](World& world) { EXPECT_TRUE(world.IsSeen(world.a)); },
    .expect_not_made =
        [](World& world) {
          EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_MAPPED, rsm_memseg_import_unmap(world.imported)));
        },
};

const Call kDisconnect = {
    .name = "Disconnect",
    .prepare = kMap.prepare,
    .make = [](World& world) { return rsm_memseg_import_disconnect(world.imported); },
    .expect_made =
        [](World& world) {
          world.imported = nullptr;
          EXPECT_TRUE(Eventually([] { return test_support::ImportersOf() == 0; }));
        },
    .always_succeeds = true,
};

const Call kPollExport = {
    .name = "GetPollfdOfTheExport",
    .prepare = kRebind.prepare,
    .make = [](World& world) { return GetPoll(world.exported, world.has_export_poll); },
    .expect_made =
        [](World& world) {
          EXPECT_TRUE(Succeeds(rsm_intr_signal_post(world.imported, 0)));
          EXPECT_TRUE(Succeeds(rsm_intr_signal_wait(world.exported, 60'000)));
        },
};

const Call kPollImport = {
    .name = "GetPollfdOfTheImport",
    .prepare = kRebind.prepare,
    .make = [](World& world) { return GetPoll(world.imported, world.has_import_poll); },
    .expect_made =
        [](World& world) {
          EXPECT_TRUE(Succeeds(rsm_intr_signal_post(world.exported, 0)));
          EXPECT_TRUE(Succeeds(rsm_intr_signal_wait(world.imported, 60'000)));
        },
};

}  // namespace fault
