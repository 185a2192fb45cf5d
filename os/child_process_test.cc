#include "os/child_process.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <stdexcept>

#include "os/memory.h"

namespace os::testing {
namespace {

TEST(RunInChild, GivesTheExitStatus) {
  EXPECT_EQ(RunInChild([] { return 0; }), 0);
  EXPECT_EQ(RunInChild([] { return 7; }), 7);
  EXPECT_EQ(RunInChild([]() -> int { throw std::runtime_error("lost"); }), 255);
}

TEST(RunInChild, GivesTheSignal) {
  EXPECT_EQ(RunInChild([] { return raise(SIGKILL); }), 256 + SIGKILL);
}

TEST(RunInChild, LeavesTheParentAlone) {
  int value = 1;
  EXPECT_EQ(RunInChild([&value] { return ++value; }), 2);
  EXPECT_EQ(value, 1);
}

TEST(DropLockPrivilege, MakesTheLimitHold) {
  EXPECT_EQ(RunInChild([] {
              const size_t page = RealMemory().page_size();
              if (!DropLockPrivilege().ok() || !SetMemlockLimit(2 * page).ok()) return 1;
              if (!RealMemory().CheckLockLimit(PageCount(2)).ok()) return 2;
              return RealMemory().CheckLockLimit(PageCount(3)) == Errno(ENOMEM) ? 0 : 3;
            }),
            0);
}

TEST(SetMemlockLimit, KeepsTheHardLimit) {
  EXPECT_EQ(RunInChild([] {
              rlimit before{}, after{};
              if (getrlimit(RLIMIT_MEMLOCK, &before) != 0 || !SetMemlockLimit(0).ok()) return 1;
              if (getrlimit(RLIMIT_MEMLOCK, &after) != 0) return 2;
              return after.rlim_cur == 0 && after.rlim_max == before.rlim_max ? 0 : 3;
            }),
            0);
}

}  // namespace
}  // namespace os::testing
