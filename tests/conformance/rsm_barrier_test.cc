// rsm_memseg_import_init_barrier(3), _open_, _order_, _close_ and _destroy_barrier(3), and
// rsm_memseg_import_set_mode(3), sentence by sentence.

#include <atomic>
#include <cstring>
#include <thread>

#include "gtest/gtest.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/other_process.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::Export;
using test_support::FailsWith;
using test_support::Import;
using test_support::Line;
using test_support::OtherProcess;
using test_support::PageSize;
using test_support::Put;
using test_support::RunInChild;
using test_support::Succeeds;
using test_support::TestMapping;

constexpr rsm_barrier_type_t kTypes[] = {RSM_BARRIER_SEGMENT, RSM_BARRIER_NODE,
                                         RSM_BARRIER_SEGMENT_THREAD, RSM_BARRIER_NODE_THREAD};

bool IsOfNode(rsm_barrier_type_t type) {
  return type == RSM_BARRIER_NODE || type == RSM_BARRIER_NODE_THREAD;
}

// Two segments of a page, and connections to them, of which the barriers belong to the first.
class RsmBarrier : public test_support::RsmTest {
 protected:
  RsmBarrier() {
    segment_ = Create(mapping_, 1);
    other_segment_ = Create(other_mapping_, 1);
    remote_ = Connect(Publish(segment_));
    other_ = Connect(Publish(other_segment_));
  }

  int Init(rsm_barrier_type_t type) {
    return rsm_memseg_import_init_barrier(remote_.get(), type, &barrier_);
  }
  int Open() { return rsm_memseg_import_open_barrier(&barrier_); }
  int Order() { return rsm_memseg_import_order_barrier(&barrier_); }
  int Close() { return rsm_memseg_import_close_barrier(&barrier_); }
  int Destroy() { return rsm_memseg_import_destroy_barrier(&barrier_); }

  void OpenNew(rsm_barrier_type_t type) {
    EXPECT_TRUE(Succeeds(Init(type)));
    EXPECT_TRUE(Succeeds(Open()));
  }

  const TestMapping mapping_{1}, other_mapping_{1};
  Export segment_, other_segment_;
  Import remote_, other_;
  rsmapi_barrier_t barrier_ = {};
};

TEST_F(RsmBarrier, OfEachTypeAndInBothModesIsOpenedOrderedAndClosed) {
  for (const rsm_barrier_type_t type : kTypes) {
    for (const rsm_barrier_mode_t mode : {RSM_BARRIER_MODE_EXPLICIT, RSM_BARRIER_MODE_IMPLICIT}) {
      SCOPED_TRACE(testing::Message() << "type " << type << ", mode " << mode);
      ASSERT_TRUE(Succeeds(rsm_memseg_import_set_mode(remote_.get(), mode)));
      ASSERT_TRUE(Succeeds(Init(type)));
      for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(Succeeds(Open()));
        EXPECT_TRUE(Succeeds(Put(remote_, 0, "one")));
        EXPECT_TRUE(Succeeds(Order()));
        EXPECT_TRUE(Succeeds(Order()));
        EXPECT_TRUE(Succeeds(Put(remote_, 0, "two")));
        EXPECT_TRUE(Succeeds(Close()));
        EXPECT_EQ(std::memcmp(mapping_.page(0), "two", 3), 0);
      }
      EXPECT_TRUE(Succeeds(Destroy()));
    }
  }
}

TEST_F(RsmBarrier, IsOneOfSeveralOfASegment) {
  rsmapi_barrier_t second = {};
  OpenNew(RSM_BARRIER_SEGMENT);
  ASSERT_TRUE(Succeeds(rsm_memseg_import_init_barrier(remote_.get(), RSM_BARRIER_NODE, &second)));
  EXPECT_TRUE(FailsWith(RSMERR_BARRIER_NOT_OPENED, rsm_memseg_import_close_barrier(&second)));
  EXPECT_TRUE(Succeeds(rsm_memseg_import_destroy_barrier(&second)));
  EXPECT_TRUE(Succeeds(Close()));
}

// Opens, orders and closes barriers of whatever segment `handle` is just now; each ends with it.
void UseBarriers(rsm_barrier_type_t type, const std::atomic<rsm_memseg_import_handle_t>& handle,
                 const std::atomic<bool>& ends, std::atomic<unsigned>& uses) {
  while (!ends.load()) {
    rsmapi_barrier_t barrier = {};
    const rsm_memseg_import_handle_t segment = handle.load();
    if (segment == nullptr ||
        rsm_memseg_import_init_barrier(segment, type, &barrier) != RSM_SUCCESS) {
      std::this_thread::yield();
      continue;
    }
    int code = RSM_SUCCESS;
    while (code == RSM_SUCCESS) {
      code = rsm_memseg_import_open_barrier(&barrier);
      if (code == RSM_SUCCESS) code = rsm_memseg_import_order_barrier(&barrier);
      if (code == RSM_SUCCESS) code = rsm_memseg_import_close_barrier(&barrier);
      ++uses;
    }
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, code)) << "it was disconnected";
    EXPECT_TRUE(Succeeds(rsm_memseg_import_destroy_barrier(&barrier)));
  }
}

// In a child: who waits for ever is killed there.
TEST_F(RsmBarrier, OfANodeIsUsedByOneThreadWhileAnotherConnectsAndDisconnects) {
  constexpr int kRounds = 500;
  RunInChild([this] {
    const TestMapping mapping(1);
    const Export segment = Create(mapping, 1);
    const rsm_memseg_id_t number = Publish(segment);
    std::atomic<rsm_memseg_import_handle_t> handle = nullptr;
    std::atomic<bool> ends = false;
    std::atomic<unsigned> uses = 0;
    std::thread users[] = {
        std::thread([&] { UseBarriers(RSM_BARRIER_NODE, handle, ends, uses); }),
        std::thread([&] { UseBarriers(RSM_BARRIER_NODE_THREAD, handle, ends, uses); })};
    for (int i = 0; i < kRounds; ++i) {
      const Import remote = Connect(number);
      const unsigned before = uses.load();
      handle.store(remote.get());
      while (remote != nullptr && uses.load() == before) std::this_thread::yield();
      handle.store(nullptr);
    }
    ends.store(true);
    for (std::thread& user : users) user.join();
  });
}

// --- What fails ---------------------------------------------------------------------------------

using RsmBarrierFails = RsmBarrier;

TEST_F(RsmBarrierFails, WithBadBarrierPtrWhereThatIsNull) {
  EXPECT_TRUE(FailsWith(RSMERR_BAD_BARRIER_PTR,
                        rsm_memseg_import_init_barrier(remote_.get(), RSM_BAR_DEFAULT, nullptr)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_BARRIER_PTR, rsm_memseg_import_open_barrier(nullptr)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_BARRIER_PTR, rsm_memseg_import_order_barrier(nullptr)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_BARRIER_PTR, rsm_memseg_import_close_barrier(nullptr)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_BARRIER_PTR, rsm_memseg_import_destroy_barrier(nullptr)));
}

TEST_F(RsmBarrierFails, WithBadSegHndlWhereTheSegmentIsNone) {
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL,
                        rsm_memseg_import_init_barrier(nullptr, RSM_BAR_DEFAULT, &barrier_)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL,
                        rsm_memseg_import_init_barrier(nullptr, RSM_BAR_DEFAULT, nullptr)))
      << "which comes first";
  EXPECT_TRUE(FailsWith(RSMERR_BARRIER_UNINITIALIZED, Open())) << "it is not written to";
}

TEST_F(RsmBarrierFails, WithBadBarrierPtrForAnUnknownType) {
  for (const int type : {0, 3, 4, 0x10, 0x13, 0x21}) {
    EXPECT_TRUE(FailsWith(RSMERR_BAD_BARRIER_PTR, Init(static_cast<rsm_barrier_type_t>(type)),
                          "none of RSM_BARRIER_"));
  }
  EXPECT_TRUE(FailsWith(RSMERR_BARRIER_UNINITIALIZED, Open()));
}

TEST_F(RsmBarrierFails, WithBarrierUninitializedBeforeItIs) {
  EXPECT_TRUE(FailsWith(RSMERR_BARRIER_UNINITIALIZED, Open(), "rsm_memseg_import_init_barrier"));
  EXPECT_TRUE(FailsWith(RSMERR_BARRIER_UNINITIALIZED, Order()));
  EXPECT_TRUE(FailsWith(RSMERR_BARRIER_UNINITIALIZED, Close()));
  EXPECT_TRUE(FailsWith(RSMERR_BARRIER_UNINITIALIZED, Destroy()));
}

TEST_F(RsmBarrierFails, WithBarrierUninitializedOnceItIsDestroyed) {
  OpenNew(RSM_BARRIER_SEGMENT);
  ASSERT_TRUE(Succeeds(Destroy()));
  EXPECT_TRUE(FailsWith(RSMERR_BARRIER_UNINITIALIZED, Open()));
  EXPECT_TRUE(FailsWith(RSMERR_BARRIER_UNINITIALIZED, Order()));
  EXPECT_TRUE(FailsWith(RSMERR_BARRIER_UNINITIALIZED, Close()));
  EXPECT_TRUE(FailsWith(RSMERR_BARRIER_UNINITIALIZED, Destroy()));
}

TEST_F(RsmBarrierFails, WithBarrierNotOpenedBeforeItIsAndOnceItIsClosed) {
  for (const rsm_barrier_type_t type : kTypes) {
    ASSERT_TRUE(Succeeds(Init(type)));
    EXPECT_TRUE(FailsWith(RSMERR_BARRIER_NOT_OPENED, Order(), "open_barrier first"));
    EXPECT_TRUE(FailsWith(RSMERR_BARRIER_NOT_OPENED, Close()));
    ASSERT_TRUE(Succeeds(Open()));
    ASSERT_TRUE(Succeeds(Close()));
    EXPECT_TRUE(FailsWith(RSMERR_BARRIER_NOT_OPENED, Close()));
    EXPECT_TRUE(FailsWith(RSMERR_BARRIER_NOT_OPENED, Order()));
    ASSERT_TRUE(Succeeds(Destroy()));
  }
}

TEST_F(RsmBarrierFails, WithBarrierOpenFailedWhereTheConnectionHasEnded) {
  for (const rsm_barrier_type_t type : kTypes) {
    ASSERT_TRUE(Succeeds(Init(type)));
    if (type == kTypes[0]) {
      ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
    }
    EXPECT_TRUE(FailsWith(RSMERR_BARRIER_OPEN_FAILED, Open(), "does not publish the segment"));
    EXPECT_TRUE(FailsWith(RSMERR_BARRIER_NOT_OPENED, Close()));
  }
}

TEST_F(RsmBarrierFails, WithConnAbortedWhereTheConnectionHasEndedSinceItWasOpened) {
  rsmapi_barrier_t barriers[4] = {};
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(Succeeds(rsm_memseg_import_init_barrier(remote_.get(), kTypes[i], &barriers[i])));
    ASSERT_TRUE(Succeeds(rsm_memseg_import_open_barrier(&barriers[i])));
  }
  segment_ = nullptr;
  for (rsmapi_barrier_t& barrier : barriers) {
    EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_order_barrier(&barrier)));
    EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_order_barrier(&barrier)));
    EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_close_barrier(&barrier)));
    EXPECT_TRUE(FailsWith(RSMERR_BARRIER_NOT_OPENED, rsm_memseg_import_close_barrier(&barrier)))
        << "it is closed all the same";
    EXPECT_TRUE(Succeeds(rsm_memseg_import_destroy_barrier(&barrier)));
  }
}

TEST_F(RsmBarrierFails, WithBarrierFailureOfANodeWhereAnotherConnectionHasEnded) {
  rsmapi_barrier_t barriers[4] = {};
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(Succeeds(rsm_memseg_import_init_barrier(remote_.get(), kTypes[i], &barriers[i])));
    ASSERT_TRUE(Succeeds(rsm_memseg_import_open_barrier(&barriers[i])));
  }
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(other_segment_.get())));
  for (int i = 0; i < 4; ++i) {
    if (IsOfNode(kTypes[i])) {
      EXPECT_TRUE(FailsWith(RSMERR_BARRIER_FAILURE, rsm_memseg_import_order_barrier(&barriers[i]),
                            "since the barrier was opened"));
      EXPECT_TRUE(FailsWith(RSMERR_BARRIER_FAILURE, rsm_memseg_import_close_barrier(&barriers[i])));
      EXPECT_TRUE(
          FailsWith(RSMERR_BARRIER_NOT_OPENED, rsm_memseg_import_close_barrier(&barriers[i])));
      EXPECT_TRUE(Succeeds(rsm_memseg_import_open_barrier(&barriers[i]))) << "from now on";
    }
    EXPECT_TRUE(Succeeds(rsm_memseg_import_order_barrier(&barriers[i])));
    EXPECT_TRUE(Succeeds(rsm_memseg_import_close_barrier(&barriers[i])));
    EXPECT_TRUE(Succeeds(rsm_memseg_import_destroy_barrier(&barriers[i])));
  }
}

TEST_F(RsmBarrierFails, WithConnAbortedWhereTheExportersProcessHasDied) {
  OtherProcess exporter([this](const Line& line) {
    const TestMapping mapping(1);
    const Export segment = Create(mapping, 1);
    line.Say(Publish(segment, 0x400001));
    line.Hear();
  });
  ASSERT_EQ(exporter.Hear(), 0x400001u);
  const Import remote = Connect(0x400001);
  rsmapi_barrier_t barrier = {};
  ASSERT_TRUE(Succeeds(rsm_memseg_import_init_barrier(remote.get(), RSM_BARRIER_NODE, &barrier)));
  ASSERT_TRUE(Succeeds(rsm_memseg_import_open_barrier(&barrier)));
  OpenNew(RSM_BARRIER_NODE_THREAD);
  exporter.Kill();
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_close_barrier(&barrier)));
  EXPECT_TRUE(FailsWith(RSMERR_BARRIER_FAILURE, Close())) << "of another connection";
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, TryToConnect(0x400001)));
}

TEST_F(RsmBarrierFails, WithBadSegHndlWhereTheSegmentIsDisconnectedButForDestroy) {
  OpenNew(RSM_BARRIER_SEGMENT);
  remote_ = nullptr;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, Open()));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, Order()));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, Close()));
  EXPECT_TRUE(Succeeds(Destroy()));
}

// --- Modes --------------------------------------------------------------------------------------

class RsmMode : public RsmBarrier {
 protected:
  rsm_barrier_mode_t ModeOf(const Import& remote) const {
    rsm_barrier_mode_t mode = {};
    EXPECT_TRUE(Succeeds(rsm_memseg_import_get_mode(remote.get(), &mode)));
    return mode;
  }
};

TEST_F(RsmMode, IsImplicitAtFirstAndThatOfOneHandle) {
  rsm_memseg_import_handle_t handle = nullptr;
  const TestMapping mapping(1);
  const Export segment = Create(mapping, 1);
  ASSERT_TRUE(Succeeds(
      rsm_memseg_import_connect(controller(), 1, Publish(segment), RSM_PERM_RDWR, &handle)));
  const Import remote(handle);
  EXPECT_EQ(ModeOf(remote), RSM_BARRIER_MODE_IMPLICIT);
  ASSERT_TRUE(Succeeds(rsm_memseg_import_set_mode(handle, RSM_BARRIER_MODE_EXPLICIT)));
  EXPECT_EQ(ModeOf(remote), RSM_BARRIER_MODE_EXPLICIT);
  ASSERT_TRUE(Succeeds(rsm_memseg_import_set_mode(remote_.get(), RSM_BARRIER_MODE_IMPLICIT)));
  EXPECT_EQ(ModeOf(remote), RSM_BARRIER_MODE_EXPLICIT);
  EXPECT_EQ(ModeOf(other_), RSM_BARRIER_MODE_EXPLICIT);
}

TEST_F(RsmMode, FailsWithBadModeForAnotherAndStaysAsItIs) {
  for (const int mode : {2, -1, 100}) {
    EXPECT_TRUE(
        FailsWith(RSMERR_BAD_MODE,
                  rsm_memseg_import_set_mode(remote_.get(), static_cast<rsm_barrier_mode_t>(mode)),
                  "none of RSM_BARRIER_MODE_"));
  }
  EXPECT_EQ(ModeOf(remote_), RSM_BARRIER_MODE_EXPLICIT);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_MODE, rsm_memseg_import_get_mode(remote_.get(), nullptr)));
}

TEST_F(RsmMode, FailsWithBadSegHndlWhereTheHandleIsNone) {
  rsm_barrier_mode_t mode = {};
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL,
                        rsm_memseg_import_set_mode(nullptr, RSM_BARRIER_MODE_EXPLICIT)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_get_mode(nullptr, &mode)));
}

TEST_F(RsmMode, ImplicitNeedsABarrierForEveryGetAndPut) {
  ASSERT_TRUE(Succeeds(rsm_memseg_import_set_mode(remote_.get(), RSM_BARRIER_MODE_IMPLICIT)));
  uint64_t word = 7;
  const auto get = [&] { return rsm_memseg_import_get64(remote_.get(), 0, &word, 1); };
  EXPECT_TRUE(FailsWith(RSMERR_BARRIER_UNINITIALIZED, Put(remote_, 0, "x"), "init_barrier"));
  EXPECT_TRUE(FailsWith(RSMERR_BARRIER_UNINITIALIZED, get()));
  EXPECT_EQ(word, 7u);
  EXPECT_EQ(mapping_.page(0)[0], std::byte{0}) << "nothing was put";
  EXPECT_TRUE(
      FailsWith(RSMERR_BAD_LENGTH, rsm_memseg_import_get64(remote_.get(), 0, &word, PageSize())))
      << "which comes first";
  ASSERT_TRUE(Succeeds(Init(RSM_BAR_DEFAULT)));
  EXPECT_TRUE(Succeeds(Put(remote_, 0, "x"))) << "it need not be open";
  EXPECT_TRUE(Succeeds(get()));
  ASSERT_TRUE(Succeeds(Destroy()));
  EXPECT_TRUE(FailsWith(RSMERR_BARRIER_UNINITIALIZED, get()));
}

}  // namespace
