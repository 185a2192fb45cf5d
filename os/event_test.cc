#include "os/event.h"

#include <poll.h>

#include "gtest/gtest.h"

namespace os {
namespace {

bool IsReadable(const Event& event) {
  pollfd poll_descriptor = {event.descriptor(), POLLIN, 0};
  EXPECT_GE(poll(&poll_descriptor, 1, 0), 0);
  return (poll_descriptor.revents & POLLIN) != 0;
}

TEST(Event, IsReadableAsLongAsItIsSet) {
  const Result<Event> event = Event::Create();
  ASSERT_TRUE(event.ok());
  EXPECT_FALSE(IsReadable(*event));
  event->Clear();
  EXPECT_FALSE(IsReadable(*event));
  event->Set();
  event->Set();
  EXPECT_TRUE(IsReadable(*event));
  event->Clear();
  EXPECT_FALSE(IsReadable(*event)) << "it does not count";
}

}  // namespace
}  // namespace os
