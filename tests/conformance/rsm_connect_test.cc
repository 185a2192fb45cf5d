// rsm_memseg_import_connect(3) and _disconnect(3), sentence by sentence.

#include <poll.h>
#include <sys/resource.h>

#include <array>
#include <bit>
#include <bitset>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/interruptions.h"
#include "tests/support/other_process.h"
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
using test_support::Line;
using test_support::MapAll;
using test_support::OtherProcess;
using test_support::PageSize;
using test_support::Put;
using test_support::RunInChild;
using test_support::Succeeds;
using test_support::TestMapping;
using test_support::TextOf;

constexpr rsm_memseg_id_t kNumber = 0x400001;

class RsmConnect : public test_support::RsmTest {
 protected:
  // An exporter of one page, in another process: the body that publishes it under kNumber, says so, and
  // waits until it is told to end, or the line is hung up.
  OtherProcess::Body Exporter() const {
    return [this](const Line& line) {
      const TestMapping mapping(1);
      FillPages(mapping, 1, "page ");
      const Export segment = Create(mapping, 1);
      line.Say(Publish(segment, kNumber));
      line.Hear();
    };
  }

  rsm_memseg_import_handle_t handle_ = nullptr;
};

TEST_F(RsmConnect, GivesAHandleByWhichTheSegmentIsReadAndWritten) {
  const TestMapping mapping(2);
  FillPages(mapping, 2, "page ");
  const Export segment = Create(mapping, 2);
  const Import remote = Connect(Publish(segment));
  EXPECT_EQ(Get(remote, 0, 2 * PageSize()), TextOf(mapping.page(0), 2 * PageSize()));
  EXPECT_TRUE(Succeeds(Put(remote, 4, "put")));
  EXPECT_EQ(TextOf(mapping.page(0), 7), "pageput");
}

TEST_F(RsmConnect, ReachesASegmentOfAnotherProcess) {
  const OtherProcess exporter(Exporter());
  ASSERT_EQ(exporter.Hear(), kNumber);
  const Import remote = Connect(kNumber);
  EXPECT_EQ(Get(remote, 0, 7), "page 0.");
}

TEST_F(RsmConnect, GivesEachConnectionAHandleOfItsOwn) {
  const TestMapping mapping(1);
  const Export segment = Create(mapping, 1);
  Publish(segment, kNumber);
  Import one = Connect(kNumber);
  const Import two = Connect(kNumber);
  EXPECT_NE(one.get(), two.get());
  one = nullptr;
  EXPECT_TRUE(Succeeds(Put(two, 0, "still")));
}

TEST_F(RsmConnect, LetsAConnectionToReadNotWriteAndTheOtherWayRound) {
  const TestMapping mapping(1);
  const Export segment = Create(mapping, 1);
  Publish(segment, kNumber);
  const Import reader = Connect(kNumber, RSM_PERM_READ), writer = Connect(kNumber, RSM_PERM_WRITE);
  char byte = 'x';
  EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, rsm_memseg_import_put(reader.get(), 0, &byte, 1),
                        "which is not to write"));
  EXPECT_TRUE(Succeeds(rsm_memseg_import_put(writer.get(), 0, &byte, 1)));
  EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, rsm_memseg_import_get(writer.get(), 0, &byte, 1),
                        "which is not to read"));
  EXPECT_TRUE(Succeeds(rsm_memseg_import_get(reader.get(), 0, &byte, 1)));
}

// --- What fails ---------------------------------------------------------------------------------

using RsmConnectFails = RsmConnect;

TEST_F(RsmConnectFails, WithTheFirstCauseWhereSeveralApply) {
  constexpr std::array<int, 5> kCodes = {RSMERR_BAD_CTLR_HNDL, RSMERR_BAD_ADDR, RSMERR_BAD_PERMS,
                                         RSMERR_REMOTE_NODE_UNREACHABLE, RSMERR_SEG_NOT_PUBLISHED};
  for (unsigned causes = 1; causes < 1u << kCodes.size(); ++causes) {
    const auto has = [causes](unsigned row) { return (causes >> (row - 1) & 1) != 0; };
    const int result = rsm_memseg_import_connect(
        has(1) ? nullptr : controller(), has(4) ? 2 : 1, has(5) ? 0x400099 : kNumber,
        has(3) ? RSM_PERM_NONE : RSM_PERM_READ, has(2) ? nullptr : &handle_);
    EXPECT_EQ(result, kCodes[static_cast<size_t>(std::countr_zero(causes))])
        << std::bitset<5>(causes) << ": " << rsm_error();
  }
  EXPECT_EQ(handle_, nullptr);
}

TEST_F(RsmConnectFails, WithBadPermsWhereItIsNotToReadOrWriteOrBoth) {
  for (const rsm_permission_t permission : {0u, 0100u, 0700u, 0444u, 0666u, 04u, 01400u}) {
    EXPECT_TRUE(FailsWith(RSMERR_BAD_PERMS,
                          rsm_memseg_import_connect(controller(), 1, kNumber, permission, &handle_),
                          "0400 to read"));
  }
}

TEST_F(RsmConnectFails, WithRemoteNodeUnreachableAtEveryNodeButThisOne) {
  const TestMapping mapping(1);
  const Export segment = Create(mapping, 1);
  Publish(segment, kNumber);
  for (const rsm_node_id_t node : {0u, 2u, 0xFFFFFFFFu}) {
    EXPECT_TRUE(FailsWith(RSMERR_REMOTE_NODE_UNREACHABLE,
                          rsm_memseg_import_connect(controller(), node, kNumber, 0400, &handle_),
                          "reaches node 1 alone"));
  }
}

TEST_F(RsmConnectFails, WithSegNotPublishedWhereNobodyPublishesIt) {
  for (const rsm_memseg_id_t number : {0u, 1u, kNumber, 0xFFFFFFFFu}) {
    EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, TryToConnect(number), "nobody listens at"));
  }
}

TEST_F(RsmConnectFails, WithSegNotPublishedWhereTheExporterHasDiedWhoseNameIsTakenAway) {
  OtherProcess exporter(Exporter());
  ASSERT_EQ(exporter.Hear(), kNumber);
  exporter.Kill();
  EXPECT_EQ(folder().CountNames(), 1u);
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, TryToConnect(kNumber)));
  EXPECT_EQ(folder().CountNames(), 0u);
}

TEST_F(RsmConnectFails, WithPermDeniedInAFolderThatIsNotTrusted) {
  folder().SetMode(0777);
  EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, TryToConnect(kNumber), folder().path()));
}

TEST_F(RsmConnectFails, WithInsufficientResourcesWithoutAFolder) {
  ASSERT_EQ(setenv("RSM_FOLDER", (folder().path() + "/none").c_str(), 1), 0);
  EXPECT_TRUE(FailsWith(RSMERR_INSUFFICIENT_RESOURCES, TryToConnect(kNumber), "/none"));
  ASSERT_EQ(setenv("RSM_FOLDER", folder().path().c_str(), 1), 0);
}

TEST_F(RsmConnectFails, WithRemoteNodeUnreachableWhileTheExporterIsStopped) {
  OtherProcess exporter(Exporter());
  ASSERT_EQ(exporter.Hear(), kNumber);
  exporter.Stop();
  EXPECT_TRUE(
      FailsWith(RSMERR_REMOTE_NODE_UNREACHABLE, TryToConnect(kNumber), "is its process stopped?"));
  exporter.Continue();
  EXPECT_EQ(Get(Connect(kNumber), 0, 7), "page 0.");
}

TEST_F(RsmConnectFails, WithInterruptedWhereASignalComesBeforeTheExporterAnswers) {
  OtherProcess exporter(Exporter());
  ASSERT_EQ(exporter.Hear(), kNumber);
  exporter.Stop();
  {
    const test_support::Interruptions interruptions;
    EXPECT_TRUE(FailsWith(RSMERR_INTERRUPTED, TryToConnect(kNumber), "a signal came before"));
  }
  exporter.Continue();
  EXPECT_EQ(Get(Connect(kNumber), 0, 7), "page 0.");
}

// However many it needs.
TEST_F(RsmConnectFails, WithInsufficientResourcesWhereTooFewDescriptorsAreLeft) {
  const OtherProcess exporter(Exporter());
  ASSERT_EQ(exporter.Hear(), kNumber);
  RunInChild([this] {
    const size_t descriptors = CountDescriptors();
    const rsmapi_controller_handle_t loopback = controller();
    rsm_memseg_import_handle_t handle = nullptr;
    for (size_t left = 0;; ++left) {
      ASSERT_LT(left, 20u);
      int result = RSM_SUCCESS;
      {
        const DescriptorHog hog(left);
        result = rsm_memseg_import_connect(loopback, 1, kNumber, RSM_PERM_RDWR, &handle);
      }
      if (result == RSM_SUCCESS && left > 0) break;
      EXPECT_TRUE(FailsWith(RSMERR_INSUFFICIENT_RESOURCES, result)) << left;
      EXPECT_EQ(handle, nullptr);
      EXPECT_EQ(CountDescriptors(), descriptors);
    }
    const Import disconnected(handle);
  });
}

TEST_F(RsmConnectFails, WithInsufficientResourcesWhereTheExporterHasNoDescriptorsLeft) {
  for (const size_t left : {1u, 2u}) {  // one of them is for the connection
    const OtherProcess exporter([&](const Line& line) {
      const TestMapping mapping(1);
      const Export segment = Create(mapping, 1);
      Publish(segment, kNumber);
      {
        const DescriptorHog hog(left);
        line.Say(0);
        line.Hear();
      }
      line.Say(0);
      line.Hear();
    });
    ASSERT_EQ(exporter.Hear(), 0u);
    EXPECT_TRUE(FailsWith(RSMERR_INSUFFICIENT_RESOURCES, TryToConnect(kNumber),
                          "has no descriptors or connections left"));
    exporter.Say(0);
    ASSERT_EQ(exporter.Hear(), 0u);
    EXPECT_EQ(TryToConnect(kNumber), RSM_SUCCESS);
  }
}

bool MayOpenFiles(rlim_t count) {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
  if (limit.rlim_cur >= count) return true;
  limit.rlim_cur = count;
  return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

TEST_F(RsmConnectFails, WithInsufficientResourcesWhereAProcessHas2000Importers) {
  RunInChild([this] {
    if (!MayOpenFiles(5000)) GTEST_SKIP() << "RLIMIT_NOFILE is below 5,000";
    const OtherProcess exporter([this](const Line& line) {
      const TestMapping mapping(1);
      const Export segment = Create(mapping, 1);
      line.Say(Publish(segment, kNumber));
      line.Hear();
    });
    ASSERT_EQ(exporter.Hear(), kNumber);
    std::vector<Import> all;
    for (int i = 0; i < 2000; ++i) {
      all.push_back(Connect(kNumber));
      if (all.back() == nullptr) return;
    }
    EXPECT_TRUE(FailsWith(RSMERR_INSUFFICIENT_RESOURCES, TryToConnect(kNumber),
                          "has no descriptors or connections left"));
    all.pop_back();
    // It notices soon that one has gone.
    int result = TryToConnect(kNumber);
    for (int i = 0; i < 600 && result == RSMERR_INSUFFICIENT_RESOURCES; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      result = TryToConnect(kNumber);
    }
    EXPECT_TRUE(Succeeds(result));
  });
}

// --- A forked child -----------------------------------------------------------------------------

TEST_F(RsmConnect, AForkedChildHasNotTheParentsConnectionsButCanHaveItsOwn) {
  const OtherProcess exporter(Exporter());
  ASSERT_EQ(exporter.Hear(), kNumber);
  const Import remote = Connect(kNumber);
  RunInChild([&] {
    char byte = 0;
    void* address = nullptr;
    rsmapi_barrier_t barrier;
    rsm_barrier_mode_t mode;
    pollfd descriptor = {};
    const auto handle = remote.get();
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_get(handle, 0, &byte, 1),
                          "is no imported segment of this process"));
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_put(handle, 0, &byte, 1)));
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL,
                          rsm_memseg_import_map(handle, &address, RSM_MAP_NONE, 0400, 0, 1)));
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_unmap(handle)));
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_disconnect(handle)));
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL,
                          rsm_memseg_import_init_barrier(handle, RSM_BARRIER_SEGMENT, &barrier)));
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_get_mode(handle, &mode)));
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL,
                          rsm_memseg_import_set_mode(handle, RSM_BARRIER_MODE_EXPLICIT)));
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_intr_signal_post(handle, 0)));
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_intr_signal_wait(handle, 0)));
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_get_pollfd(handle, &descriptor)));
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_release_pollfd(handle)));
    EXPECT_EQ(Get(Connect(kNumber), 0, 7), "page 0.");
  });
  EXPECT_EQ(Get(remote, 0, 7), "page 0.") << "the parent's is as it was";
}

TEST_F(RsmConnect, AForkedChildCanExportByItself) {
  const TestMapping mapping(1);
  const Export segment = Create(mapping, 1);
  Publish(segment, kNumber);
  RunInChild([this] {
    const TestMapping other(1);
    FillPages(other, 1, "child ");
    const Export another = Create(other, 1);
    const Import remote = Connect(Publish(another));
    EXPECT_EQ(Get(remote, 0, 8), "child 0.");
    EXPECT_EQ(TryToConnect(kNumber), RSM_SUCCESS) << "the parent's can be imported, too";
  });
  EXPECT_EQ(TryToConnect(kNumber), RSM_SUCCESS);
}

// --- Disconnect ---------------------------------------------------------------------------------

using RsmDisconnect = RsmConnect;

TEST_F(RsmDisconnect, FailsWithBadSegHndlWhereTheHandleIsNone) {
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_disconnect(nullptr)));
  const TestMapping mapping(1);
  const Export segment = Create(mapping, 1);
  EXPECT_TRUE(FailsWith(
      RSMERR_BAD_SEG_HNDL,
      rsm_memseg_import_disconnect(reinterpret_cast<rsm_memseg_import_handle_t>(segment.get()))));
}

TEST_F(RsmDisconnect, FailsWithBadSegHndlTheSecondTime) {
  const TestMapping mapping(1);
  const Export segment = Create(mapping, 1);
  Publish(segment, kNumber);
  Import remote = Connect(kNumber);
  const rsm_memseg_import_handle_t stale = remote.get();
  remote = nullptr;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_disconnect(stale)));
  const Import another = Connect(kNumber);
  char byte = 0;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_get(stale, 0, &byte, 1)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_disconnect(stale)));
}

TEST_F(RsmDisconnect, FailsWithSegStillMappedWhileItIs) {
  const TestMapping mapping(1);
  FillPages(mapping, 1, "page ");
  const Export segment = Create(mapping, 1);
  const Import remote = Connect(Publish(segment));
  const std::byte* const map = MapAll(remote, 1);
  EXPECT_TRUE(FailsWith(RSMERR_SEG_STILL_MAPPED, rsm_memseg_import_disconnect(remote.get()),
                        "rsm_memseg_import_unmap first"));
  EXPECT_EQ(TextOf(map, 7), "page 0.");
  EXPECT_EQ(Get(remote, 0, 7), "page 0.");
}

TEST_F(RsmDisconnect, FailsWithPollfdInUseWhileItsDescriptorIsHeld) {
  const TestMapping mapping(1);
  const Export segment = Create(mapping, 1);
  const Import remote = Connect(Publish(segment));
  pollfd descriptor = {};
  ASSERT_TRUE(Succeeds(rsm_memseg_get_pollfd(remote.get(), &descriptor)));
  EXPECT_TRUE(FailsWith(RSMERR_POLLFD_IN_USE, rsm_memseg_import_disconnect(remote.get()),
                        "rsm_memseg_release_pollfd first"));
  EXPECT_TRUE(Succeeds(Put(remote, 0, "still")));
  ASSERT_TRUE(Succeeds(rsm_memseg_release_pollfd(remote.get())));
}

TEST_F(RsmDisconnect, SucceedsWhereTheExporterHasEnded) {
  OtherProcess exporter(Exporter());
  ASSERT_EQ(exporter.Hear(), kNumber);
  const Import remote = Connect(kNumber);
  exporter.Kill();
  char byte = 0;
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_get(remote.get(), 0, &byte, 1)));
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, TryToConnect(kNumber)));
}

TEST_F(RsmDisconnect, LeavesNoDescriptor) {
  const OtherProcess exporter(Exporter());
  ASSERT_EQ(exporter.Hear(), kNumber);
  RunInChild([this] {  // which has no other connections that may be ending
    const size_t before = CountDescriptors();
    { const Import remote = Connect(kNumber); }
    EXPECT_EQ(CountDescriptors(), before);
  });
}

}  // namespace
