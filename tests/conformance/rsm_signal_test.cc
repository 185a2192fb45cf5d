// rsm_intr_signal_post(3) and _wait(3), sentence by sentence.

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

using test_support::Export;
using test_support::FailsWith;
using test_support::Import;
using test_support::Line;
using test_support::OtherProcess;
using test_support::RunInChild;
using test_support::Succeeds;
using test_support::TestMapping;

constexpr rsm_memseg_id_t kNumber = 0x400001;
constexpr int kMillisecondsMax = 60'000;

template <typename Segment>
int Post(const Segment& segment, uint_t flags = 0) {
  return rsm_intr_signal_post(segment.get(), flags);
}
template <typename Segment>
int Wait(const Segment& segment, int milliseconds = kMillisecondsMax) {
  return rsm_intr_signal_wait(segment.get(), milliseconds);
}

// A segment, and a connection to it.
class RsmSignal : public test_support::RsmTest {
 protected:
  RsmSignal() {
    segment_ = Create(mapping_, 1);
    Publish(segment_, kNumber);
    remote_ = Connect(kNumber);
  }

  const TestMapping mapping_{1};
  Export segment_;
  Import remote_;
};

TEST_F(RsmSignal, OfAnImporterReachesTheExporter) {
  EXPECT_TRUE(Succeeds(Post(remote_)));
  EXPECT_TRUE(Succeeds(Wait(segment_)));
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(remote_, 0))) << "and nobody else";
}

TEST_F(RsmSignal, OfTheExporterReachesEveryImporter) {
  const Import other = Connect(kNumber), reader = Connect(kNumber, RSM_PERM_READ);
  EXPECT_TRUE(Succeeds(Post(segment_)));
  for (const Import* const each : {&other, &reader, static_cast<const Import*>(&remote_)}) {
    EXPECT_TRUE(Succeeds(Wait(*each)));
    EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(*each, 0)));
  }
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(segment_, 0)));
  const Import later = Connect(kNumber);
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(later, 0))) << "who connects later has missed it";
}

TEST_F(RsmSignal, IsCountedAndEachWaitTakesOne) {
  const Import other = Connect(kNumber);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Succeeds(Post(remote_)));
    EXPECT_TRUE(Succeeds(Post(other)));
    EXPECT_TRUE(Succeeds(Post(segment_)));
  }
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(Succeeds(Wait(segment_)));
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(segment_, 0), "no signal came"));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Succeeds(Wait(other)));
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(other, 0)));
  EXPECT_TRUE(Succeeds(Wait(remote_))) << "of its own";
}

TEST_F(RsmSignal, DoesNotAccumulateWhereOneIsPendingAndItIsAskedNotTo) {
  const Import other = Connect(kNumber);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Succeeds(Post(remote_, RSM_SIGPOST_NO_ACCUMULATE)));
    EXPECT_TRUE(Succeeds(Post(segment_, RSM_SIGPOST_NO_ACCUMULATE)));
  }
  EXPECT_TRUE(Succeeds(Wait(remote_)));
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(remote_, 0)));
  EXPECT_TRUE(Succeeds(Post(segment_, RSM_SIGPOST_NO_ACCUMULATE)));
  EXPECT_TRUE(Succeeds(Wait(remote_))) << "none was pending any more";
  EXPECT_TRUE(Succeeds(Wait(other)));
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(other, 0))) << "one was pending there";
  EXPECT_TRUE(Succeeds(Post(other, RSM_SIGPOST_NO_ACCUMULATE))) << "of another connection";
  EXPECT_TRUE(Succeeds(Wait(segment_)));
  EXPECT_TRUE(Succeeds(Wait(segment_)));
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(segment_, 0)));
}

TEST_F(RsmSignal, WakesWhoWaitsForIt) {
  std::thread exporter([this] { EXPECT_TRUE(Succeeds(Wait(segment_, -1))); });
  std::thread importer([this] { EXPECT_TRUE(Succeeds(Wait(remote_, -1))); });
  EXPECT_TRUE(Succeeds(Post(remote_)));
  EXPECT_TRUE(Succeeds(Post(segment_)));
  exporter.join();
  importer.join();
}

TEST_F(RsmSignal, WakesAnotherProcess) {
  OtherProcess importer([this](const Line& line) {
    const Import remote = Connect(kNumber);
    line.Say(1);
    for (int i = 0; i < 100; ++i) {
      EXPECT_TRUE(Succeeds(Wait(remote)));
      EXPECT_TRUE(Succeeds(Post(remote)));
    }
    line.Hear();
  });
  ASSERT_EQ(importer.Hear(), 1u);
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(Succeeds(Post(segment_)));
    ASSERT_TRUE(Succeeds(Wait(segment_)));
  }
}

TEST_F(RsmSignal, WakesAnExporterThatWaitsSinceBeforeTheImporterConnected) {
  remote_ = nullptr;
  std::thread exporter([this] { EXPECT_TRUE(Succeeds(Wait(segment_, -1))); });
  const Import late = Connect(kNumber);
  EXPECT_TRUE(Succeeds(Post(late)));
  exporter.join();
}

TEST_F(RsmSignal, WakesAnExporterOfManyImporters) {
  std::vector<Import> many;
  for (int i = 0; i < 150; ++i) many.push_back(Connect(kNumber));
  for (const size_t i : {size_t{0}, size_t{149}}) {
    std::thread exporter([this] { EXPECT_TRUE(Succeeds(Wait(segment_, -1))); });
    EXPECT_TRUE(Succeeds(Post(many[i])));
    exporter.join();
  }
}

TEST_F(RsmSignal, OfAnImporterIsNotLostWhenItDisconnects) {
  EXPECT_TRUE(Succeeds(Post(remote_)));
  EXPECT_TRUE(Succeeds(Post(remote_)));
  remote_ = nullptr;
  EXPECT_TRUE(Succeeds(Wait(segment_)));
  EXPECT_TRUE(Succeeds(Wait(segment_)));
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(segment_, 0)));
}

TEST_F(RsmSignal, OfAnImporterIsNotLostWhenItDiesOrTheSegmentIsUnpublished) {
  OtherProcess importer([this](const Line& line) {
    const Import remote = Connect(kNumber);
    EXPECT_TRUE(Succeeds(Post(remote)));
    line.Say(1);
    line.Hear();
  });
  ASSERT_EQ(importer.Hear(), 1u);
  importer.Kill();
  EXPECT_TRUE(Succeeds(Post(remote_)));
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
  EXPECT_TRUE(Succeeds(Wait(segment_)));
  EXPECT_TRUE(Succeeds(Wait(segment_)));
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(segment_, 0)));
}

TEST_F(RsmSignal, OfAnExporterWithoutImportersReachesNobody) {
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
  EXPECT_TRUE(Succeeds(Post(segment_)));
  Publish(segment_, kNumber);
  EXPECT_TRUE(Succeeds(Post(segment_)));
  const Import remote = Connect(kNumber);
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(remote, 0)));
}

// --- What fails ---------------------------------------------------------------------------------

using RsmSignalFails = RsmSignal;

TEST_F(RsmSignalFails, WithBadSegHndlWhereTheHandleIsNone) {
  for (void* const handle : {static_cast<void*>(nullptr), static_cast<void*>(controller())}) {
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_intr_signal_post(handle, 0),
                          "is no segment of this process, exported or imported"));
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_intr_signal_wait(handle, 0)));
  }
}

TEST_F(RsmSignalFails, WithNotCreatorInAForkedChildOfTheExporter) {
  RunInChild([this] {
    EXPECT_TRUE(FailsWith(RSMERR_NOT_CREATOR, Post(segment_), "forked from"));
    EXPECT_TRUE(FailsWith(RSMERR_NOT_CREATOR, Wait(segment_, 0)));
    pollfd descriptor = {};
    EXPECT_TRUE(FailsWith(RSMERR_NOT_CREATOR, rsm_memseg_get_pollfd(segment_.get(), &descriptor)));
    EXPECT_TRUE(FailsWith(RSMERR_NOT_CREATOR, rsm_memseg_release_pollfd(segment_.get())));
  });
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(remote_, 0))) << "nothing was posted";
}

TEST_F(RsmSignalFails, WithTimeoutWhereNoneComesInThatTime) {
  for (const int milliseconds : {0, 1, 20}) {
    EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(segment_, milliseconds)));
    EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(remote_, milliseconds)));
  }
}

TEST_F(RsmSignalFails, WithInterruptedWhereASignalOfAnotherKindComesFirst) {
  const test_support::Interruptions interruptions;
  EXPECT_TRUE(FailsWith(RSMERR_INTERRUPTED, Wait(segment_, -1), "a signal of signal(7)"));
  EXPECT_TRUE(FailsWith(RSMERR_INTERRUPTED, Wait(remote_, kMillisecondsMax)));
}

TEST_F(RsmSignalFails, WithConnAbortedForAnImporterOnceHeHasTakenWhatWasPending) {
  EXPECT_TRUE(Succeeds(Post(segment_)));
  EXPECT_TRUE(Succeeds(Post(segment_)));
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
  EXPECT_TRUE(Succeeds(Wait(remote_)));
  EXPECT_TRUE(Succeeds(Wait(remote_)));
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, Wait(remote_, -1), "the exporter has ended"));
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, Wait(remote_, 0))) << "before TIMEOUT";
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, Post(remote_)));
}

TEST_F(RsmSignalFails, WithConnAbortedForImportersWhoWaitWhenTheExporterUnpublishes) {
  const Import other = Connect(kNumber);
  std::thread one([this] { EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, Wait(remote_, -1))); });
  std::thread two([this] { EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, Wait(remote_, -1))); });
  std::thread three([&] { EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, Wait(other, -1))); });
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
  one.join();
  two.join();
  three.join();
}

TEST_F(RsmSignalFails, WithConnAbortedForImportersWhoWaitWhenTheExporterDies) {
  OtherProcess exporter([this](const Line& line) {
    const TestMapping mapping(1);
    const Export segment = Create(mapping, 1);
    line.Say(Publish(segment, 0x400002));
    line.Hear();
  });
  ASSERT_EQ(exporter.Hear(), 0x400002u);
  const Import remote = Connect(0x400002);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, Wait(remote, -1))); });
  }
  exporter.Kill();
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, TryToConnect(0x400002)));
}

TEST_F(RsmSignalFails, WithBadSegHndlWhereTheHandleIsGivenBackMeanwhile) {
  const auto expect_end = [](void* handle) {
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_intr_signal_wait(handle, -1)));
  };
  std::thread importer(expect_end, static_cast<void*>(remote_.get()));
  remote_ = nullptr;
  importer.join();
  std::thread exporter(expect_end, static_cast<void*>(segment_.get()));
  segment_ = nullptr;
  exporter.join();
}

}  // namespace
