#include "os/poll.h"

#include <sys/resource.h>

#include <array>
#include <cerrno>

#include "gtest/gtest.h"
#include "os/event.h"
#include "tests/support/child.h"

namespace os {
namespace {

using Clock = std::chrono::steady_clock;

TEST(WaitForDescriptors, TellsWhichIsReady) {
  const Result<Event> event = Event::Create();
  pollfd descriptors[] = {{event->descriptor(), POLLIN, 0}, {-1, POLLIN, 0}};
  EXPECT_EQ(WaitForDescriptors(descriptors, Clock::time_point::min()), Errno(ETIMEDOUT));
  EXPECT_EQ(WaitForDescriptors(descriptors, Clock::now() + std::chrono::milliseconds(3)),
            Errno(ETIMEDOUT));
  event->Set();
  EXPECT_EQ(WaitForDescriptors(descriptors, Clock::time_point::max()), kSuccess);
  EXPECT_EQ(descriptors[0].revents, POLLIN);
}

TEST(WaitForDescriptors, RefusesMoreThanThereCanBe) {
  test_support::RunInChild([] {
    const rlimit limit = {8, 8};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    std::array<pollfd, 9> many;
    many.fill({-1, 0, 0});
    EXPECT_EQ(WaitForDescriptors(many, Clock::now()), Errno(EINVAL));
    EXPECT_EQ(WaitForDescriptors(std::span(many).first(8), Clock::now()), Errno(ETIMEDOUT));
  });
}

}  // namespace
}  // namespace os
