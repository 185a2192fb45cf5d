#include "pinlock/testing.h"

#include <gtest/gtest-spi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "os/fault_plan.h"
#include "os/faulty_memory.h"
#include "os/memory.h"
#include "pinlock/mpin.h"
#include "pinlock/page_lock.h"
#include "tests/support/child.h"
#include "tests/support/forbid_dispatch.h"
#include "tests/support/test_mapping.h"

namespace pinlock::testing {
namespace {

using test_support::PageSize;
using test_support::TestMapping;
using ::testing::Not;

void Touch(const TestMapping& mapping, size_t first, size_t count) {
  for (size_t page = first; page < first + count; ++page) {
    *const_cast<volatile std::byte*>(mapping.page(page)) = std::byte{1};
  }
}

std::span<std::byte> Bytes(const TestMapping& mapping, size_t pages) {
  return {mapping.page(0), pages * PageSize()};
}

// What a failed check says.
std::string TextOf(const ::testing::AssertionResult& result) { return result.message(); }

// The failures of `body`, which are not those of the test.
int FailuresOf(const std::function<void()>& body) {
  ::testing::TestPartResultArray results;
  {
    const ::testing::ScopedFakeTestPartResultReporter reporter(
        ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &results);
    body();
  }
  return results.size();
}

// The kernel may move a page at any moment, which is a fault that nobody is to blame for.
bool PassesInOneOfTen(const std::function<void()>& body) {
  for (int round = 0; round < 10; ++round) {
    if (FailuresOf(body) == 0) return true;
  }
  return false;
}

TEST(IsResident, IsTrueOfTouchedPages) {
  TestMapping mapping(4);
  Touch(mapping, 0, 4);
  EXPECT_TRUE(IsResident(mapping.page(0), 4 * PageSize()));
  EXPECT_EQ(TextOf(IsResident(mapping.page(0), 4 * PageSize())), "all 4 pages are resident");
  EXPECT_THAT(Bytes(mapping, 4), IsResident());
}

TEST(IsResident, SaysHowManyPagesAreAndWhichIsTheFirstThatIsNot) {
  TestMapping mapping(8);
  Touch(mapping, 0, 3);
  Touch(mapping, 5, 2);
  const ::testing::AssertionResult result = IsResident(mapping.page(0), 8 * PageSize());
  EXPECT_FALSE(result);
  EXPECT_EQ(TextOf(result), "5 of 8 pages are resident; the first that is not begins at offset " +
                                std::to_string(3 * PageSize()));
  EXPECT_EQ(TextOf(IsResident(mapping.page(2) + 10, 2 * PageSize())),
            "1 of 3 pages are resident; the first that is not begins at offset " +
                std::to_string(PageSize() - 10));
  EXPECT_EQ(TextOf(IsResident(mapping.page(7) + 10, 1)),
            "0 of 1 pages are resident; the first that is not begins at offset 0");
}

TEST(IsResident, IsFalseOfWhatIsNotMapped) {
  TestMapping mapping(3);
  Touch(mapping, 0, 3);
  mapping.Unmap(1, 1);
  EXPECT_FALSE(IsResident(mapping.page(0), 3 * PageSize()));
  EXPECT_FALSE(IsResident(mapping.page(0), SIZE_MAX));
}

TEST(IsLocked, IsTrueOfPagesThatAnybodyLocked) {
  TestMapping mapping(4);
  ASSERT_EQ(mpin(mapping.page(0), 2 * PageSize()), 0);
  ASSERT_EQ(test_support::RawMlock(mapping.page(2), 2 * PageSize()), os::kSuccess);
  EXPECT_TRUE(IsLocked(mapping.page(0), 4 * PageSize()));
  EXPECT_THAT(Bytes(mapping, 4), IsLocked());
  ASSERT_EQ(munpin(mapping.page(0), 2 * PageSize()), 0);
  EXPECT_THAT(Bytes(mapping, 4), Not(IsLocked()));
}

TEST(IsLocked, SaysHowManyPagesAreAndWhichIsTheFirstThatIsNot) {
  TestMapping mapping(8);
  ASSERT_EQ(mpin(mapping.page(1), 2 * PageSize()), 0);
  ASSERT_EQ(mpin(mapping.page(5), PageSize()), 0);
  mapping.Unmap(7, 1);
  EXPECT_EQ(TextOf(IsLocked(mapping.page(1), 7 * PageSize())),
            "3 of 7 pages are locked; the first that is not begins at offset " +
                std::to_string(2 * PageSize()));
  EXPECT_EQ(TextOf(IsLocked(mapping.page(5), 3 * PageSize())),
            "1 of 3 pages are locked; the first that is not begins at offset " +
                std::to_string(PageSize()));
  ASSERT_EQ(munpin(mapping.page(1), 2 * PageSize()), 0);
  ASSERT_EQ(munpin(mapping.page(5), PageSize()), 0);
}

TEST(IsLocked, ResidentIsNotLocked) {
  TestMapping mapping(2);
  Touch(mapping, 0, 2);
  EXPECT_FALSE(IsLocked(mapping.page(0), 2 * PageSize()));
}

TEST(Matchers, AnEmptyRangeMatches) {
  EXPECT_TRUE(IsResident(nullptr, 0));
  EXPECT_TRUE(IsLocked(nullptr, 0));
  EXPECT_THAT(std::vector<int>(), IsResident());
  EXPECT_THAT(std::vector<int>(), IsLocked());
}

TEST(Matchers, TakeWhatHasDataAndSize) {
  int array[100] = {};
  volatile int hidden[100] = {};
  const std::array<double, 100> doubles{};
  std::vector<int> vector(100);
  const std::string string(100, 'x');
  EXPECT_THAT(array, IsResident());
  EXPECT_THAT(hidden, IsResident());
  EXPECT_THAT(doubles, IsResident());
  EXPECT_THAT(vector, IsResident());
  EXPECT_THAT(string, IsResident());
  EXPECT_THAT(std::span(vector), IsResident());
  EXPECT_THAT(absl::MakeSpan(vector), IsResident());
}

TEST(Matchers, CountElementsInBytes) {
  TestMapping mapping(8);
  Touch(mapping, 0, 7);
  const std::span<uint64_t> words(reinterpret_cast<uint64_t*>(mapping.page(0)),
                                  8 * PageSize() / sizeof(uint64_t));
  EXPECT_THAT(words, Not(IsResident()));
  EXPECT_THAT(words.first(words.size() * 7 / 8), IsResident());
}

TEST(Matchers, FailWithTheReason) {
  TestMapping mapping(2);
  Touch(mapping, 0, 1);
  const std::span<std::byte> bytes = Bytes(mapping, 2);
  EXPECT_NONFATAL_FAILURE(EXPECT_THAT(bytes, IsResident()), "Expected: is resident\n  Actual: ");
  TestMapping again(2);
  Touch(again, 0, 1);
  const std::span<std::byte> unprinted = Bytes(again, 2);
  EXPECT_NONFATAL_FAILURE(EXPECT_THAT(unprinted, IsResident()), "1 of 2 pages are resident");
  EXPECT_NONFATAL_FAILURE(EXPECT_THAT(unprinted, IsLocked()), "0 of 2 pages are locked");
  EXPECT_NONFATAL_FAILURE(EXPECT_TRUE(IsLocked(again.page(0), 1)), "0 of 1 pages are locked");
  EXPECT_NONFATAL_FAILURE(EXPECT_THAT(unprinted.first(1), Not(IsResident())),
                          "Expected: is not all resident");
}

TEST(Matchers, WhatCannotBeToldFailsTheTestWhateverWasExpected) {
  using Kind = os::testing::FaultPlan::Kind;
  TestMapping mapping(2);
  Touch(mapping, 0, 2);
  os::testing::FaultPlan plan;
  const os::testing::FaultyMemory memory(os::RealMemory(), plan);
  const auto is_resident = [&] {
    EXPECT_FALSE(internal::CheckResident(memory, mapping.page(0), PageSize()));
  };
  const auto is_locked = [&] {
    EXPECT_FALSE(internal::CheckLocked(memory, mapping.page(0), PageSize()));
  };
  plan.Arm({.error = os::Errno(ENOENT), .kind = Kind::kCountPresent});
  EXPECT_NONFATAL_FAILURE(is_resident(), "cannot be told here (ENOENT)");
  plan.Arm({.error = os::Errno(ENOENT), .kind = Kind::kMappingAt});
  EXPECT_NONFATAL_FAILURE(is_locked(), "cannot be told here (ENOENT)");
  plan.Arm({.error = os::Errno(EMFILE), .kind = Kind::kAllLocked});
  EXPECT_NONFATAL_FAILURE(is_locked(), "cannot be told here (EMFILE)");
}

TEST(NoPageFaults, PassesOnPagesThatAreThere) {
  TestMapping mapping(16);
  ASSERT_EQ(mpin(mapping.page(0), 16 * PageSize()), 0);
  Touch(mapping, 0, 16);
  EXPECT_TRUE(PassesInOneOfTen([&] { EXPECT_NO_PAGE_FAULTS(Touch(mapping, 0, 16)); }));
  EXPECT_TRUE(PassesInOneOfTen([&] { ASSERT_NO_PAGE_FAULTS(Touch(mapping, 0, 16)); }));
  ASSERT_EQ(munpin(mapping.page(0), 16 * PageSize()), 0);
}

TEST(NoPageFaults, ItsOwnMachineryTakesNone) {
  EXPECT_TRUE(PassesInOneOfTen([] { EXPECT_NO_PAGE_FAULTS(); }));
}

TEST(NoPageFaults, FailsWithTheNumbersAndTheStatement) {
  TestMapping mapping(16);
  Touch(mapping, 0, 1);
  EXPECT_NONFATAL_FAILURE(EXPECT_NO_PAGE_FAULTS(Touch(mapping, 0, 16)),
                          " minor and 0 major page faults of this thread");
  TestMapping other(16);
  EXPECT_NONFATAL_FAILURE(EXPECT_NO_PAGE_FAULTS(Touch(other, 0, 16)), "Touch(other, 0, 16)");
  TestMapping more(16);
  EXPECT_NONFATAL_FAILURE(EXPECT_NO_PAGE_FAULTS(Touch(more, 0, 16)) << "appended " << 7,
                          "appended 7");
}

TEST(NoPageFaults, FailsForASinglePage) {
  TestMapping mapping(1);
  Touch(mapping, 0, 0);
  EXPECT_EQ(FailuresOf([&] { EXPECT_NO_PAGE_FAULTS(Touch(mapping, 0, 1)); }), 1);
}

TEST(NoPageFaults, TheFatalFormEndsTheFunction) {
  TestMapping mapping(1);
  bool reached = false;
  const auto body = [&] {
    ASSERT_NO_PAGE_FAULTS(Touch(mapping, 0, 1));
    reached = true;
  };
  EXPECT_EQ(FailuresOf(body), 1);
  EXPECT_FALSE(reached);
}

class NoSyscallsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!CanCountSyscalls()) GTEST_SKIP() << "system calls cannot be counted here";
  }
};

using Statements = NoSyscallsTest;

// What the statement may be; each runs once.
TEST_F(Statements, CommasBlocksDeclarationsAndReturns) {
  std::pair<int, int> pair;
  int runs = 0;
  EXPECT_NO_SYSCALLS(pair = std::pair<int, int>(1, 2));
  EXPECT_EQ(pair, std::make_pair(1, 2));
  EXPECT_NO_SYSCALLS({
    const int one = 1, two = 2;
    for (int i = 0; i < two; ++i) {
      if (i == one) break;
    }
    ++runs;
  });
  EXPECT_NO_SYSCALLS(int a = 1; int b = 2; runs += b - a);
  const auto returns = [&runs] {
    EXPECT_NO_SYSCALLS(++runs; return );
    runs += 100;
  };
  returns();
  EXPECT_EQ(runs, 3);
  EXPECT_NO_SYSCALLS() << "nothing";
  // As the branches of an if.
  for (bool choice : {false, true}) {
    if (choice)
      EXPECT_NO_SYSCALLS(++runs);
    else
      EXPECT_NO_SYSCALLS(--runs);
  }
  EXPECT_EQ(runs, 3);
}

TEST_F(Statements, OneKindInTheOther) {
  int runs = 0;
  EXPECT_TRUE(PassesInOneOfTen([&] { EXPECT_NO_PAGE_FAULTS(EXPECT_NO_SYSCALLS(++runs)); }));
  EXPECT_GE(runs, 1);
}

TEST_F(Statements, AnExceptionComesThrough) {
  const auto throws = [] { EXPECT_NO_SYSCALLS(throw std::runtime_error("on purpose")); };
  EXPECT_THROW(throws(), std::runtime_error);
  EXPECT_NO_SYSCALLS() << "the one before has ended";
}

TEST_F(NoSyscallsTest, PassesWithoutACall) {
  volatile int sum = 0;
  EXPECT_NO_SYSCALLS(for (int i = 0; i < 1000; ++i) sum = sum + i);
  ASSERT_NO_SYSCALLS(sum = sum + 1);
  EXPECT_EQ(sum, 499501);
}

TEST_F(NoSyscallsTest, ANestedPinMakesNone) {
  TestMapping mapping(4);
  ASSERT_EQ(mpin(mapping.page(0), 4 * PageSize()), 0);
  ASSERT_EQ(mpin(mapping.page(0), 4 * PageSize()), 0);  // the counters' memory is there now
  EXPECT_NO_SYSCALLS(EXPECT_EQ(mpin(mapping.page(1), PageSize()), 0));
  EXPECT_NO_SYSCALLS(EXPECT_EQ(munpin(mapping.page(1), PageSize()), 0));
  ASSERT_EQ(munpin(mapping.page(0), 4 * PageSize()), 0);
  ASSERT_EQ(munpin(mapping.page(0), 4 * PageSize()), 0);
}

TEST_F(NoSyscallsTest, FailsWithTheNumberTheFirstNameAndTheStatement) {
  const auto one = [] { EXPECT_NO_SYSCALLS(syscall(SYS_getpid)); };
  EXPECT_NONFATAL_FAILURE(one(),
                          "1 system call of this thread, expected none; the first is getpid, in\n"
                          "  syscall(SYS_getpid)");
  EXPECT_NONFATAL_FAILURE(EXPECT_NO_SYSCALLS(syscall(SYS_gettid); syscall(SYS_getpid)),
                          "2 system calls of this thread, expected none; the first is gettid");
  EXPECT_NONFATAL_FAILURE(EXPECT_NO_SYSCALLS(syscall(SYS_getpid)) << "appended", "appended");
}

TEST_F(NoSyscallsTest, AThreadThatIsStartedIsSeen) {
  EXPECT_NONFATAL_FAILURE(EXPECT_NO_SYSCALLS(std::thread([] {}).join()), "at least ");
}

TEST_F(NoSyscallsTest, TheFatalFormEndsTheFunction) {
  bool reached = false;
  const auto body = [&] {
    ASSERT_NO_SYSCALLS(syscall(SYS_getpid));
    reached = true;
  };
  EXPECT_EQ(FailuresOf(body), 1);
  EXPECT_FALSE(reached);
}

TEST_F(NoSyscallsTest, WhereItCannotCountItFails) {
  test_support::RunInChild([] {
    test_support::ForbidSyscallDispatch(EPERM);
    if (::testing::Test::IsSkipped()) return;
    EXPECT_FALSE(CanCountSyscalls());
    bool ran = false;
    EXPECT_NONFATAL_FAILURE(EXPECT_NO_SYSCALLS(ran = true),
                            "system calls cannot be counted here (EPERM)");
    EXPECT_FALSE(ran);
  });
}

class FakeLockLimitTest : public ::testing::Test {
 protected:
  int Pin(size_t first, size_t count) { return mpin(mapping_.page(first), count * PageSize()); }
  int Unpin(size_t first, size_t count) { return munpin(mapping_.page(first), count * PageSize()); }

  TestMapping mapping_{8};
};

TEST_F(FakeLockLimitTest, AllowsThatMuchAndNoMore) {
  FakeLockLimit limit(4 * PageSize());
  EXPECT_EQ(Pin(0, 3), 0);
  EXPECT_EQ(limit.locked_bytes(), 3 * PageSize());
  EXPECT_EQ(Pin(4, 2), -1);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_NE(std::strstr(mpin_error(), "over RLIMIT_MEMLOCK"), nullptr) << mpin_error();
  EXPECT_EQ(limit.locked_bytes(), 3 * PageSize());
  EXPECT_EQ(Pin(4, 1), 0);
  EXPECT_EQ(Unpin(4, 1), 0);
  EXPECT_EQ(Unpin(0, 3), 0);
  EXPECT_EQ(limit.locked_bytes(), 0u);
}

TEST_F(FakeLockLimitTest, ZeroForbidsAllLocks) {
  const FakeLockLimit limit(0);
  EXPECT_EQ(Pin(0, 1), -1);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_NE(std::strstr(mpin_error(), "RLIMIT_MEMLOCK is 0"), nullptr) << mpin_error();
}

TEST_F(FakeLockLimitTest, PagesAreResidentAndLockedUnderItAlone) {
  const FakeLockLimit limit(64 * PageSize());
  EXPECT_FALSE(IsResident(mapping_.page(0), 8 * PageSize()));
  ASSERT_EQ(Pin(0, 8), 0);
  EXPECT_TRUE(IsResident(mapping_.page(0), 8 * PageSize()));
  EXPECT_TRUE(IsLocked(mapping_.page(0), 8 * PageSize()));
  EXPECT_FALSE(internal::CheckLocked(os::RealMemory(), mapping_.page(0), 8 * PageSize()));
  ASSERT_EQ(Unpin(3, 1), 0);
  EXPECT_EQ(TextOf(IsLocked(mapping_.page(1), 7 * PageSize())),
            "6 of 7 pages are locked; the first that is not begins at offset " +
                std::to_string(2 * PageSize()));
  ASSERT_EQ(Unpin(0, 3), 0);
  ASSERT_EQ(Unpin(4, 4), 0);
}

TEST_F(FakeLockLimitTest, CountersBeginAtZeroAndWork) {
  ASSERT_EQ(Pin(0, 1), 0);
  ASSERT_EQ(Unpin(0, 1), 0);
  mpin_stat before{};
  ASSERT_EQ(mpin_get_stat(&before, sizeof(before)), 0);
  {
    const FakeLockLimit limit(4 * PageSize());
    ASSERT_EQ(Pin(0, 2), 0);
    ASSERT_EQ(Pin(1, 2), 0);
    mpin_info info{};
    ASSERT_EQ(mpin_query(mapping_.page(0), 4 * PageSize(), &info), 0);
    EXPECT_EQ(info.pages_locked, 3u);
    EXPECT_EQ(info.pages_resident, 3u);
    EXPECT_EQ(info.count_max, 2u);
    mpin_stat now{};
    ASSERT_EQ(mpin_get_stat(&now, sizeof(now)), 0);
    EXPECT_EQ(now.pins, 2u);
    EXPECT_EQ(now.pages_locked, 3u);
    ASSERT_EQ(Unpin(0, 2), 0);
    ASSERT_EQ(Unpin(1, 2), 0);
  }
  mpin_stat after{};
  ASSERT_EQ(mpin_get_stat(&after, sizeof(after)), 0);
  EXPECT_EQ(std::memcmp(&before, &after, sizeof(before)), 0);
  EXPECT_EQ(Pin(0, 1), 0);
  EXPECT_TRUE(IsLocked(mapping_.page(0), 1)) << "the kernel locks again";
  EXPECT_EQ(Unpin(0, 1), 0);
}

TEST_F(FakeLockLimitTest, CanBeSetAnew) {
  FakeLockLimit limit(0);
  EXPECT_EQ(Pin(0, 2), -1);
  limit.Set(2 * PageSize());
  EXPECT_EQ(Pin(0, 2), 0);
  limit.Set(PageSize());
  EXPECT_EQ(Pin(0, 2), 0) << "a nested pin needs no lock";
  EXPECT_EQ(Pin(2, 1), -1);
  EXPECT_EQ(Unpin(0, 2), 0);
  EXPECT_EQ(Unpin(0, 2), 0);
}

TEST_F(FakeLockLimitTest, RefusesABadRangeForItsOwnReason) {
  const FakeLockLimit limit(64 * PageSize());
  mapping_.Unmap(2, 1);
  EXPECT_EQ(Pin(0, 4), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST_F(FakeLockLimitTest, BindsTheObjectsToo) {
  const FakeLockLimit limit(PageSize());
  const absl::Span<std::byte> bytes = absl::MakeSpan(mapping_.page(0), 2 * PageSize());
  EXPECT_EQ(LockPages(bytes).status().code(), absl::StatusCode::kResourceExhausted);
  const absl::StatusOr<PageLock> lock = LockPages(bytes.first(PageSize()));
  ASSERT_TRUE(lock.ok()) << lock.status();
  EXPECT_THAT(lock->bytes(), IsLocked());
}

TEST_F(FakeLockLimitTest, AChildInheritsTheLimitAndNoPins) {
  const FakeLockLimit limit(2 * PageSize());
  ASSERT_EQ(Pin(0, 2), 0);
  test_support::RunInChild([this] {
    mpin_stat stat{};
    EXPECT_EQ(mpin_get_stat(&stat, sizeof(stat)), 0);
    EXPECT_EQ(stat.pages_locked, 0u);
    EXPECT_EQ(stat.pins, 0u);
    EXPECT_EQ(Unpin(0, 2), -1);
    EXPECT_EQ(Pin(4, 2), 0);
    EXPECT_EQ(Pin(0, 1), -1);
    EXPECT_EQ(errno, ENOMEM);
  });
  EXPECT_EQ(Unpin(0, 2), 0);
}

TEST_F(FakeLockLimitTest, PagesLeftPinnedFailTheTest) {
  const auto leave = [this] {
    const FakeLockLimit limit(2 * PageSize());
    (void)Pin(0, 2);
  };
  EXPECT_NONFATAL_FAILURE(leave(), "2 pages are still pinned");
  EXPECT_EQ(Unpin(0, 2), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST(FakeLockLimitDeathTest, IsOneAtATimeAndBeginsWithNothingPinned) {
  EXPECT_DEATH(
      {
        const FakeLockLimit one(0);
        const FakeLockLimit two(0);
      },
      "FakeLockLimit: there is one already");
  const auto begin = [] {
    TestMapping mapping(1);
    (void)mpin(mapping.page(0), 1);
    const FakeLockLimit limit(0);
  };
  EXPECT_DEATH(begin(), "FakeLockLimit: pages are pinned; unpin them first");
}

}  // namespace
}  // namespace pinlock::testing
