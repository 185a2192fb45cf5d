// rsm_memseg_get_pollfd(3), _release_pollfd(3) and rsm_intr_signal_wait_pollfd(3), sentence by sentence.

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "os/descriptor.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/interruptions.h"
#include "tests/support/other_process.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::DescriptorHog;
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

// A segment, two connections to it, and a pipe.
class RsmPollfd : public test_support::RsmTest {
 protected:
  RsmPollfd() {
    segment_ = Create(mapping_, 1);
    Publish(segment_, kNumber);
    remote_ = Connect(kNumber);
    other_ = Connect(kNumber);
    int ends[2] = {-1, -1};
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    pipe_out_ = os::OwnedDescriptor(ends[0]);
    pipe_in_ = os::OwnedDescriptor(ends[1]);
  }

  static pollfd DescriptorOf(void* segment) {
    pollfd descriptor = {-1, 0, -1};
    EXPECT_TRUE(Succeeds(rsm_memseg_get_pollfd(segment, &descriptor)));
    return descriptor;
  }
  static void Release(void* segment) { EXPECT_TRUE(Succeeds(rsm_memseg_release_pollfd(segment))); }
  static int Wait(std::vector<pollfd>& descriptors, int milliseconds, int* ready) {
    return rsm_intr_signal_wait_pollfd(descriptors.data(), descriptors.size(), milliseconds, ready);
  }
  // By poll(2) itself; a signal takes a moment to get there.
  static bool BecomesReady(pollfd descriptor) {
    return poll(&descriptor, 1, kMillisecondsMax) == 1 && (descriptor.revents & POLLIN) != 0;
  }
  static bool IsReady(pollfd descriptor) { return poll(&descriptor, 1, 0) == 1; }

  void WriteToPipe() const { EXPECT_EQ(write(pipe_in_.get(), "x", 1), 1); }

  const TestMapping mapping_{1};
  Export segment_;
  Import remote_, other_;
  os::OwnedDescriptor pipe_out_, pipe_in_;
};

TEST_F(RsmPollfd, IsADescriptorThatIsReadyWhileASignalIsPending) {
  const pollfd descriptor = DescriptorOf(segment_.get());
  EXPECT_GE(descriptor.fd, 0);
  EXPECT_EQ(descriptor.events, POLLIN | POLLRDNORM);
  EXPECT_EQ(descriptor.revents, 0);
  EXPECT_FALSE(IsReady(descriptor));
  ASSERT_TRUE(Succeeds(rsm_intr_signal_post(remote_.get(), 0)));
  EXPECT_TRUE(BecomesReady(descriptor));
  std::vector<pollfd> descriptors = {descriptor};
  ASSERT_TRUE(Succeeds(Wait(descriptors, -1, nullptr)));
  EXPECT_FALSE(IsReady(descriptor));
  Release(segment_.get());
}

TEST_F(RsmPollfd, IsReadyForASignalThatWasPendingBefore) {
  ASSERT_TRUE(Succeeds(rsm_intr_signal_post(segment_.get(), 0)));
  const pollfd descriptor = DescriptorOf(remote_.get());
  EXPECT_TRUE(BecomesReady(descriptor));
  Release(remote_.get());
}

TEST_F(RsmPollfd, IsTheSameUntilItIsReleasedAsOftenAsItWasGot) {
  const pollfd one = DescriptorOf(segment_.get()), two = DescriptorOf(segment_.get());
  EXPECT_EQ(one.fd, two.fd);
  EXPECT_NE(DescriptorOf(remote_.get()).fd, one.fd);
  Release(segment_.get());
  ASSERT_TRUE(Succeeds(rsm_intr_signal_post(remote_.get(), 0)));
  EXPECT_TRUE(BecomesReady(one));
  EXPECT_TRUE(FailsWith(RSMERR_POLLFD_IN_USE, rsm_memseg_export_unpublish(segment_.get())));
  Release(segment_.get());
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_release_pollfd(segment_.get()),
                        "has no descriptor for poll(2)"));
  Release(remote_.get());
}

TEST_F(RsmPollfd, OfAnImporterIsReadyForTheExportersSignalsOfAnotherProcess) {
  const OtherProcess exporter([this](const Line& line) {
    const TestMapping mapping(1);
    const Export segment = Create(mapping, 1);
    line.Say(Publish(segment, 0x400002));
    line.Hear();
    EXPECT_TRUE(Succeeds(rsm_intr_signal_post(segment.get(), 0)));
    line.Hear();
  });
  ASSERT_EQ(exporter.Hear(), 0x400002u);
  const Import remote = Connect(0x400002);
  const pollfd descriptor = DescriptorOf(remote.get());
  EXPECT_FALSE(IsReady(descriptor));
  exporter.Say(0);
  EXPECT_TRUE(BecomesReady(descriptor));
  Release(remote.get());
}

// --- Waiting ------------------------------------------------------------------------------------

TEST_F(RsmPollfd, WaitTakesOneSignalOfEachSegmentThatIsReady) {
  std::vector<pollfd> descriptors = {DescriptorOf(remote_.get()), DescriptorOf(other_.get())};
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(Succeeds(rsm_intr_signal_post(segment_.get(), 0)));
  }
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(BecomesReady(descriptors[0]));
    EXPECT_TRUE(BecomesReady(descriptors[1]));
    int ready = -1;
    ASSERT_TRUE(Succeeds(Wait(descriptors, kMillisecondsMax, &ready)));
    EXPECT_EQ(ready, 2);
    EXPECT_EQ(descriptors[0].revents, POLLRDNORM);
    EXPECT_EQ(descriptors[1].revents, POLLRDNORM);
  }
  int ready = -1;
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(descriptors, 0, &ready)));
  EXPECT_EQ(ready, 0);
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, rsm_intr_signal_wait(remote_.get(), 0)));
  Release(remote_.get());
  Release(other_.get());
}

TEST_F(RsmPollfd, WaitTakesNoSignalOfASegmentThatIsNotInTheList) {
  const pollfd unlisted = DescriptorOf(other_.get());
  std::vector<pollfd> descriptors = {DescriptorOf(remote_.get())};
  ASSERT_TRUE(Succeeds(rsm_intr_signal_post(segment_.get(), 0)));
  ASSERT_TRUE(Succeeds(Wait(descriptors, -1, nullptr)));
  EXPECT_TRUE(BecomesReady(unlisted));
  EXPECT_TRUE(Succeeds(rsm_intr_signal_wait(other_.get(), 0)));
  Release(remote_.get());
  Release(other_.get());
}

TEST_F(RsmPollfd, WaitTakesOrdinaryDescriptorsToo) {
  std::vector<pollfd> descriptors = {
      {pipe_out_.get(), POLLIN, 0}, DescriptorOf(segment_.get()), {-1, POLLIN, 0}};
  int ready = -1;
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(descriptors, 10, &ready)));
  EXPECT_EQ(ready, 0);
  WriteToPipe();
  ASSERT_TRUE(Succeeds(Wait(descriptors, -1, &ready)));
  EXPECT_EQ(ready, 1);
  EXPECT_EQ(descriptors[0].revents, POLLIN);
  EXPECT_EQ(descriptors[1].revents, 0);
  ASSERT_TRUE(Succeeds(rsm_intr_signal_post(remote_.get(), 0)));
  EXPECT_TRUE(BecomesReady(descriptors[1]));
  ASSERT_TRUE(Succeeds(Wait(descriptors, -1, &ready)));
  EXPECT_EQ(ready, 2);
  EXPECT_EQ(descriptors[0].revents, POLLIN);
  EXPECT_EQ(descriptors[1].revents, POLLRDNORM);
  EXPECT_EQ(descriptors[2].revents, 0);
  Release(segment_.get());
}

TEST_F(RsmPollfd, WaitIsWokenByASignal) {
  std::vector<pollfd> descriptors = {DescriptorOf(segment_.get())};
  std::thread importer([this] { EXPECT_TRUE(Succeeds(rsm_intr_signal_post(remote_.get(), 0))); });
  EXPECT_TRUE(Succeeds(Wait(descriptors, -1, nullptr)));
  importer.join();
  Release(segment_.get());
}

TEST_F(RsmPollfd, WaitDoesNotReturnForASignalThatSomebodyElseHasTaken) {
  std::vector<pollfd> descriptors = {DescriptorOf(segment_.get())};
  ASSERT_TRUE(Succeeds(rsm_intr_signal_post(remote_.get(), 0)));
  EXPECT_TRUE(BecomesReady(descriptors[0]));
  ASSERT_TRUE(Succeeds(rsm_intr_signal_wait(segment_.get(), 0)));
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(descriptors, 20, nullptr)));
  Release(segment_.get());
}

TEST_F(RsmPollfd, WaitTellsOfTheExportersEndByPollhup) {
  std::vector<pollfd> descriptors = {DescriptorOf(remote_.get()), {pipe_out_.get(), POLLIN, 0}};
  ASSERT_TRUE(Succeeds(rsm_intr_signal_post(segment_.get(), 0)));
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
  int ready = -1;
  ASSERT_TRUE(Succeeds(Wait(descriptors, kMillisecondsMax, &ready)));
  EXPECT_EQ(descriptors[0].revents, POLLRDNORM) << "a signal was pending";
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(Succeeds(Wait(descriptors, 5'000, &ready)));
    EXPECT_EQ(ready, 1);
    EXPECT_EQ(descriptors[0].revents, POLLHUP);
    EXPECT_EQ(descriptors[1].revents, 0);
  }
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_intr_signal_wait(remote_.get(), 0)));
  Release(remote_.get());
}

TEST_F(RsmPollfd, WaitForNothingWaitsForTheTime) {
  int ready = -1;
  EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, rsm_intr_signal_wait_pollfd(nullptr, 0, 5, &ready)));
  EXPECT_EQ(ready, 0);
}

// --- What fails ---------------------------------------------------------------------------------

using RsmPollfdFails = RsmPollfd;

TEST_F(RsmPollfdFails, WithBadAddrAtNull) {
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, rsm_memseg_get_pollfd(segment_.get(), nullptr)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, rsm_intr_signal_wait_pollfd(nullptr, 1, 0, nullptr)));
}

TEST_F(RsmPollfdFails, WithBadSegHndlWhereTheHandleIsNoneAndTheDescriptorIsNotSet) {
  pollfd descriptor = {7, 8, 9};
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_get_pollfd(nullptr, &descriptor)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_get_pollfd(controller(), &descriptor)));
  EXPECT_EQ(descriptor.fd, 7);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_release_pollfd(nullptr)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_release_pollfd(remote_.get())))
      << "it has none";
}

TEST_F(RsmPollfdFails, WithSegNotPublishedWhereItIsNot) {
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
  pollfd descriptor = {};
  EXPECT_TRUE(
      FailsWith(RSMERR_SEG_NOT_PUBLISHED, rsm_memseg_get_pollfd(segment_.get(), &descriptor)));
}

TEST_F(RsmPollfdFails, WithInsufficientResourcesForTheThirtyFirstSegment) {
  std::vector<Import> many;
  for (int i = 0; i < 31; ++i) many.push_back(Connect(kNumber));
  for (int i = 0; i < 30; ++i) (void)DescriptorOf(many[static_cast<size_t>(i)].get());
  pollfd descriptor = {};
  EXPECT_TRUE(FailsWith(RSMERR_INSUFFICIENT_RESOURCES,
                        rsm_memseg_get_pollfd(many[30].get(), &descriptor),
                        "30 segments have descriptors for poll(2) already; release one"));
  (void)DescriptorOf(many[0].get());
  Release(many[0].get());
  Release(many[1].get());
  std::vector<pollfd> descriptors = {DescriptorOf(many[30].get())};
  ASSERT_TRUE(Succeeds(rsm_intr_signal_post(segment_.get(), 0)));
  EXPECT_TRUE(Succeeds(Wait(descriptors, -1, nullptr)));
  for (size_t i = 0; i < many.size(); ++i) {
    if (i != 1) Release(many[i].get());
  }
}

TEST_F(RsmPollfdFails, WithInsufficientResourcesWhereNoDescriptorIsLeft) {
  pollfd descriptor = {-1, 0, 0};
  {
    const DescriptorHog hog(0);
    EXPECT_TRUE(FailsWith(RSMERR_INSUFFICIENT_RESOURCES,
                          rsm_memseg_get_pollfd(segment_.get(), &descriptor),
                          "Too many open files"));
  }
  EXPECT_EQ(descriptor.fd, -1);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_release_pollfd(segment_.get())));
  (void)DescriptorOf(segment_.get());
  Release(segment_.get());
}

TEST_F(RsmPollfdFails, WithInterruptedWhereASignalOfAnotherKindComesFirst) {
  std::vector<pollfd> descriptors = {DescriptorOf(segment_.get())};
  {
    const test_support::Interruptions interruptions;
    EXPECT_TRUE(FailsWith(RSMERR_INTERRUPTED, Wait(descriptors, -1, nullptr)));
  }
  Release(segment_.get());
}

TEST_F(RsmPollfdFails, WithBadArgsErrorsForMoreDescriptorsThanAProcessCanHave) {
  RunInChild([] {
    const rlimit limit = {200, 200};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    std::vector<pollfd> descriptors(201, pollfd{-1, 0, 0});
    EXPECT_TRUE(FailsWith(RSMERR_BAD_ARGS_ERRORS, Wait(descriptors, 0, nullptr), "poll(2)"));
    descriptors.pop_back();
    EXPECT_TRUE(FailsWith(RSMERR_TIMEOUT, Wait(descriptors, 0, nullptr)));
  });
}

TEST_F(RsmPollfdFails, WithPollfdInUseForDestroyUnpublishAndDisconnectUntilItIsReleased) {
  (void)DescriptorOf(segment_.get());
  (void)DescriptorOf(remote_.get());
  EXPECT_TRUE(FailsWith(RSMERR_POLLFD_IN_USE, rsm_memseg_export_destroy(segment_.get())));
  EXPECT_TRUE(FailsWith(RSMERR_POLLFD_IN_USE, rsm_memseg_export_unpublish(segment_.get())));
  EXPECT_TRUE(FailsWith(RSMERR_POLLFD_IN_USE, rsm_memseg_import_disconnect(remote_.get())));
  EXPECT_TRUE(Succeeds(rsm_memseg_export_republish(segment_.get(), nullptr, 0)));
  Release(segment_.get());
  Release(remote_.get());
}

}  // namespace
