#include "os/event_queue.h"

#include <unistd.h>

#include <thread>

#include "gtest/gtest.h"
#include "os/event.h"

namespace os {
namespace {

constexpr std::chrono::milliseconds kNoTime{0};

std::vector<uint64_t> Ready(const EventQueue& queue,
                            std::optional<std::chrono::milliseconds> timeout = kNoTime) {
  std::vector<uint64_t> ready;
  queue.Wait(timeout, ready);
  return ready;
}

TEST(EventQueue, TellsWhichDescriptorsAreReady) {
  const Result<EventQueue> queue = EventQueue::Create();
  const Result<Event> one = Event::Create(), two = Event::Create();
  ASSERT_TRUE(queue.ok() && one.ok() && two.ok());
  ASSERT_EQ(queue->Add(one->descriptor(), 1), kSuccess);
  ASSERT_EQ(queue->Add(two->descriptor(), uint64_t{2} << 40), kSuccess);
  EXPECT_EQ(Ready(*queue), std::vector<uint64_t>());
  two->Set();
  EXPECT_EQ(Ready(*queue), std::vector<uint64_t>({uint64_t{2} << 40}));
  EXPECT_EQ(Ready(*queue).size(), 1u) << "until it is taken";
  queue->Remove(two->descriptor());
  EXPECT_EQ(Ready(*queue).size(), 0u);
}

TEST(EventQueue, TellsThatTheOtherSideHasEnded) {
  const Result<EventQueue> queue = EventQueue::Create();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(queue->Add(ends[0], 7), kSuccess);
  ASSERT_EQ(close(ends[1]), 0);
  EXPECT_EQ(Ready(*queue), std::vector<uint64_t>({7}));
  ASSERT_EQ(close(ends[0]), 0);
}

TEST(EventQueue, WaitsWithoutATimeForWhatIsAddedMeanwhile) {
  const Result<EventQueue> queue = EventQueue::Create();
  const Result<Event> event = Event::Create();
  event->Set();
  std::thread other([&] { EXPECT_EQ(queue->Add(event->descriptor(), 3), kSuccess); });
  EXPECT_EQ(Ready(*queue, std::nullopt), std::vector<uint64_t>({3}));
  other.join();
}

TEST(EventQueue, RefusesWhatCannotBeWaitedFor) {
  const Result<EventQueue> queue = EventQueue::Create();
  EXPECT_EQ(queue->Add(-1, 0), Errno(EBADF));
}

}  // namespace
}  // namespace os
