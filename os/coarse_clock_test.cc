#include "os/coarse_clock.h"

#include <thread>

#include "gtest/gtest.h"

namespace os {
namespace {

TEST(CoarseClock, NeverGoesBackAndGoesOn) {
  const CoarseTime begin = CoarseNow();
  CoarseTime last = begin;
  while (last == begin) {  // a tick is at most 10 ms
    const CoarseTime now = CoarseNow();
    ASSERT_GE(now, last);
    last = now;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_GT(begin, CoarseTime(0));
}

}  // namespace
}  // namespace os
