#include "tests/support/child.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>

namespace test_support {
namespace {

// What `body` in a child makes of the calling test: "", "skipped: WHY" or "failed: WHY".
std::string Outcome(const std::function<void()>& body) {
  testing::TestPartResultArray results;
  {
    const testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ALL_THREADS, &results);
    RunInChild(body);
  }
  std::string outcome;
  for (int i = 0; i < results.size(); ++i) {
    const testing::TestPartResult& result = results.GetTestPartResult(i);
    if (result.passed()) continue;
    outcome += (result.skipped() ? "skipped: " : "failed: ") + std::string(result.message());
  }
  return outcome;
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(RunInChild, RunsInAnotherProcess) {
  const pid_t parent = getpid();
  RunInChild([parent] {
    EXPECT_NE(getpid(), parent);
    EXPECT_EQ(getppid(), parent);
  });
  EXPECT_EQ(getpid(), parent);
}

TEST(RunInChild, PassesWhereTheBodyDoes) {
  EXPECT_EQ(Outcome([] {}), "");
  EXPECT_EQ(Outcome([] { EXPECT_EQ(1, 1); }), "");
}

TEST(RunInChild, FailsWhereTheBodyDoes) {
  const std::string failures = Outcome([] {
    EXPECT_EQ(1, 2) << "the first";
    ADD_FAILURE() << "the second";
    ASSERT_TRUE(false) << "the third";
    ADD_FAILURE() << "the fourth";
  });
  EXPECT_TRUE(failures.starts_with("failed: ")) << failures;
  for (const char* part : {"child_test.cc:", "the first", "the second", "the third"}) {
    EXPECT_PRED2(Has, failures, part);
  }
  EXPECT_FALSE(Has(failures, "the fourth")) << failures;
}

TEST(RunInChild, FailsWhereTheBodyThrows) {
  const std::string known = Outcome([] { throw std::runtime_error("lost"); });
  EXPECT_TRUE(known.starts_with("failed: ")) << known;
  EXPECT_PRED2(Has, known, "lost");
  const std::string unknown = Outcome([] { throw 7; });
  EXPECT_TRUE(unknown.starts_with("failed: ")) << unknown;
}

TEST(RunInChild, FailsWhereTheChildExitsByItself) {
  const std::string failure = Outcome([] { _exit(7); });
  EXPECT_TRUE(failure.starts_with("failed: ")) << failure;
}

TEST(RunInChild, FailsWhereASignalKillsTheChild) {
  const std::string failure = Outcome([] { (void)raise(SIGKILL); });
  EXPECT_TRUE(failure.starts_with("failed: ")) << failure;
  EXPECT_PRED2(Has, failure, "died by signal " + std::to_string(SIGKILL));
}

TEST(RunInChild, SkipsWhereTheBodyDoes) {
  const std::string skip = Outcome([] { GTEST_SKIP() << "not here"; });
  EXPECT_TRUE(skip.starts_with("skipped: ")) << skip;
  EXPECT_PRED2(Has, skip, "not here");
}

TEST(RunInChild, AFailureCountsMoreThanASkip) {
  const std::string failure = Outcome([] {
    ADD_FAILURE() << "before";
    GTEST_SKIP() << "not here";
  });
  EXPECT_TRUE(failure.starts_with("failed: ")) << failure;
}

TEST(RunInChild, LeavesTheParentAlone) {
  int value = 1;
  for (const bool raw_clone : {false, true}) {
    RunInChild({.raw_clone = raw_clone}, [&value] { EXPECT_EQ(++value, 2); });
    EXPECT_EQ(value, 1);
  }
}

TEST(ChildOptions, SetTheLimitInTheChildAlone) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &before), 0);
  for (const uint64_t bytes : {before.rlim_max / 2, uint64_t{12345}, uint64_t{0}}) {
    if (bytes > before.rlim_max) continue;
    RunInChild({.memlock_bytes = bytes}, [bytes] {
      rlimit limit{};
      ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
      EXPECT_EQ(limit.rlim_cur, bytes);
      EXPECT_EQ(limit.rlim_max, bytes);
    });
  }
  rlimit after{};
  ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_cur);
  EXPECT_EQ(after.rlim_max, before.rlim_max);
}

TEST(ChildOptions, KeepTheLimitUnlessTold) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &before), 0);
  RunInChild({.drop_privilege = true}, [before] {
    rlimit limit{};
    ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
    EXPECT_EQ(limit.rlim_cur, before.rlim_cur);
    EXPECT_EQ(limit.rlim_max, before.rlim_max);
  });
}

TEST(ChildOptions, DropPrivilegeForGood) {
  const uid_t user = geteuid();
  RunInChild({.drop_privilege = true}, [user] {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
    ASSERT_EQ(syscall(SYS_capget, &header, sets), 0) << std::strerror(errno);
    for (const __user_cap_data_struct& set : sets) {
      EXPECT_EQ(set.effective, 0u);
      EXPECT_EQ(set.permitted, 0u);
      EXPECT_EQ(set.inheritable, 0u);
    }
    sets[0].effective = sets[0].permitted = uint32_t{1} << CAP_IPC_LOCK;
    EXPECT_EQ(syscall(SYS_capset, &header, sets), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(geteuid(), user);
  });
}

// Asked of the kernel itself: the sanitizers' runtimes replace mlock().
TEST(Limited, MakesTheLimitHold) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  RunInChild(Limited(2 * page), [page] {
    void* pages = mmap(nullptr, 3 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(pages, MAP_FAILED);
    EXPECT_EQ(syscall(SYS_mlock, pages, 2 * page), 0) << std::strerror(errno);
    EXPECT_EQ(syscall(SYS_munlock, pages, 2 * page), 0) << std::strerror(errno);
    EXPECT_EQ(syscall(SYS_mlock, pages, 3 * page), -1);
    EXPECT_EQ(errno, ENOMEM);
  });
}

}  // namespace
}  // namespace test_support
