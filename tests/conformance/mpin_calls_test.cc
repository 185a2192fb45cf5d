// mpin(3) and pinlock(7), sentence by sentence: the calls beyond mpin and munpin, on the kernel.

#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "os/fault_count.h"
#include "os/limits.h"
#include "pinlock/mpin.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/sanitizer.h"
#include "tests/support/test_mapping.h"

namespace {

using test_support::ChildOptions;
using test_support::KernelEvidence;
using test_support::PageSize;
using test_support::RunInChild;
using test_support::TestMapping;

uint64_t CountAt(const TestMapping& mapping, size_t page) {
  mpin_info info{};
  EXPECT_EQ(mpin_query(mapping.page(page), 1, &info), 0) << mpin_error();
  return info.count_max;
}

void ExpectError(int result, int error, const std::string& words) {
  EXPECT_EQ(result, -1);
  EXPECT_EQ(os::Errno::Last(), os::Errno(error)) << os::Errno::Last().Name();
  EXPECT_NE(std::string(mpin_error()).find(words), std::string::npos) << mpin_error();
}

// --- mpin_io_begin and mpin_io_end --------------------------------------------------------------

// Runs `body` in another thread.
template <typename Body>
void Elsewhere(Body body) {
  std::thread(body).join();
}

class MpinIo : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(mpin(mapping_.page(0), 4 * PageSize()), 0) << mpin_error();
    ASSERT_EQ(mpin(mapping_.page(1), PageSize()), 0);
    before_ = KernelEvidence::Of(mapping_.all());
  }
  void TearDown() override {
    ASSERT_EQ(munpin(mapping_.page(1), PageSize()), 0) << mpin_error();
    ASSERT_EQ(munpin(mapping_.page(0), 4 * PageSize()), 0) << mpin_error();
  }
  TestMapping mapping_{6};
  KernelEvidence before_;
};

TEST_F(MpinIo, KeepsOtherThreadsFromUnpinning) {
  ASSERT_EQ(mpin_io_begin(mapping_.page(1), 2 * PageSize()), 0) << mpin_error();
  Elsewhere([&] {
    ExpectError(munpin(mapping_.page(0), 4 * PageSize()), EBUSY, "for I/O; wait for its");
    ExpectError(munpin(mapping_.page(1), 1), EBUSY, "mpin_io_end");  // a nested pin too
    EXPECT_EQ(mpin(mapping_.page(1), 1), 0) << "pinning goes on";
    ExpectError(munpin(mapping_.page(1), 1), EBUSY, "for I/O");
    EXPECT_EQ(munpin(mapping_.page(3), 1), 0) << "another page";
    EXPECT_EQ(mpin(mapping_.page(3), 1), 0);
  });
  EXPECT_EQ(CountAt(mapping_, 1), 3u);
  EXPECT_EQ(KernelEvidence::Of(mapping_.all()), before_);
  ASSERT_EQ(mpin_io_end(mapping_.page(1), 2 * PageSize()), 0) << mpin_error();
  Elsewhere([&] { EXPECT_EQ(munpin(mapping_.page(1), 1), 0) << mpin_error(); });
}

TEST_F(MpinIo, LetsTheThreadItselfUnpin) {
  ASSERT_EQ(mpin_io_begin(mapping_.page(0), 1), 0) << mpin_error();
  EXPECT_EQ(munpin(mapping_.page(0), 1), 0) << mpin_error();
  EXPECT_EQ(mpin(mapping_.page(0), 1), 0);
  EXPECT_EQ(mpin_io_end(mapping_.page(0), 1), 0) << mpin_error();
}

TEST_F(MpinIo, NeedsPinnedPages) {
  ExpectError(mpin_io_begin(mapping_.page(3), 2 * PageSize()), EINVAL, "is not pinned");
  ExpectError(mpin_io_begin(mapping_.page(0), SIZE_MAX), EINVAL, "beyond the address space");
}

TEST_F(MpinIo, EndsWithTheSameThreadAndRange) {
  ExpectError(mpin_io_end(mapping_.page(0), 1), EINVAL, "has not begun I/O");
  ASSERT_EQ(mpin_io_begin(mapping_.page(0), 2 * PageSize()), 0);
  ExpectError(mpin_io_end(mapping_.page(1), PageSize()), EINVAL, "has not begun I/O");
  Elsewhere([&] {
    ExpectError(mpin_io_end(mapping_.page(0), 2 * PageSize()), EINVAL, "has not begun I/O");
  });
  EXPECT_EQ(mpin_io_end(mapping_.page(0), 2 * PageSize()), 0) << mpin_error();
}

TEST_F(MpinIo, EndsWithTheThread) {
  std::thread([&] { ASSERT_EQ(mpin_io_begin(mapping_.page(0), 1), 0); }).join();
  // The kernel takes the thread's number away a little later.
  while (munpin(mapping_.page(0), 1) != 0) {
    ASSERT_EQ(errno, EBUSY) << mpin_error();
    std::this_thread::yield();
  }
  ASSERT_EQ(mpin(mapping_.page(0), 1), 0);
}

// --- mpin_set_max_pages, RLIMIT_RSS -------------------------------------------------------------

ChildOptions WithoutPrivilege() {
  ChildOptions options;
  options.drop_privilege = true;
  return options;
}

TEST(MpinSetMaxPages, CountsDistinctPagesNotPins) {
  RunInChild(WithoutPrivilege(), [] {
    TestMapping mapping(16);
    ASSERT_EQ(mpin_set_max_pages(8), 0) << mpin_error();
    ExpectError(mpin(mapping.page(0), 9 * PageSize()), ENOMEM, "over PLOCK_MAX: 32 KiB allowed");
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks({}));
    ASSERT_EQ(mpin(mapping.page(0), 8 * PageSize()), 0) << mpin_error();
    EXPECT_EQ(mpin(mapping.page(0), 8 * PageSize()), 0) << mpin_error();
    ExpectError(mpin(mapping.page(6), 3 * PageSize()), ENOMEM, "32 KiB pinned, 4 KiB more asked");
    EXPECT_EQ(CountAt(mapping, 7), 2u);
    ASSERT_EQ(mpin_set_max_pages(0), 0);
    EXPECT_EQ(mpin(mapping.page(6), 3 * PageSize()), 0) << mpin_error();
  });
}

TEST(MpinSetMaxPages, LeavesWhatIsPinned) {
  RunInChild(WithoutPrivilege(), [] {
    TestMapping mapping(8);
    ASSERT_EQ(mpin(mapping.page(0), 4 * PageSize()), 0);
    ASSERT_EQ(mpin_set_max_pages(2), 0);
    EXPECT_EQ(CountAt(mapping, 3), 1u);
    EXPECT_EQ(mpin(mapping.page(0), 4 * PageSize()), 0) << "pages that are pinned cost nothing";
    ExpectError(mpin(mapping.page(4), 1), ENOMEM, "PLOCK_MAX");
    EXPECT_EQ(munpin(mapping.page(0), 4 * PageSize()), 0);
  });
}

TEST(MpinSetMaxPages, IsInheritedByAForkedChild) {
  RunInChild(WithoutPrivilege(), [] {
    ASSERT_EQ(mpin_set_max_pages(2), 0);
    RunInChild([] {
      TestMapping mapping(4);
      ExpectError(mpin(mapping.page(0), 3 * PageSize()), ENOMEM, "PLOCK_MAX");
      EXPECT_EQ(mpin(mapping.page(0), 2 * PageSize()), 0) << mpin_error();
    });
  });
}

TEST(MpinSetMaxPages, DoesNotBindAPrivilegedProcess) {
  if (!os::RealLimits().Privileged()) {
    GTEST_SKIP() << "needs CAP_IPC_LOCK in the initial user namespace";
  }
  RunInChild([] {
    TestMapping mapping(4);
    ASSERT_EQ(mpin_set_max_pages(2), 0);
    EXPECT_EQ(mpin(mapping.page(0), 4 * PageSize()), 0) << mpin_error();
  });
}

TEST(MpinFails, WithEnomemBeyondRlimitRss) {
  RunInChild(WithoutPrivilege(), [] {
    const rlimit limit{4 * PageSize(), RLIM_INFINITY};
    ASSERT_EQ(setrlimit(RLIMIT_RSS, &limit), 0) << std::strerror(errno);
    TestMapping mapping(8);
    ExpectError(mpin(mapping.page(0), 5 * PageSize()), ENOMEM, "over RLIMIT_RSS: 16 KiB allowed");
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks({}));
    EXPECT_EQ(mpin(mapping.page(0), 4 * PageSize()), 0) << mpin_error();
    EXPECT_EQ(mpin(mapping.page(0), 4 * PageSize()), 0) << mpin_error();
    const rlimit lower{PageSize(), RLIM_INFINITY};
    ASSERT_EQ(setrlimit(RLIMIT_RSS, &lower), 0);
    ASSERT_EQ(munpin(mapping.page(0), 4 * PageSize()), 0);
    ASSERT_EQ(munpin(mapping.page(0), 4 * PageSize()), 0);
    ExpectError(mpin(mapping.page(0), 2 * PageSize()), ENOMEM, "4 KiB allowed");  // read anew
    ExpectError(mpin(mapping.page(7), 2 * PageSize()), EINVAL, "not mapped");  // a bad range first
  });
}

// --- mpin_check ---------------------------------------------------------------------------------

TEST(MpinCheck, CountsLocksAndTouchesNothing) {
  const TestMapping mapping(4);
  const KernelEvidence before = KernelEvidence::Of(mapping.all());
  EXPECT_EQ(mpin_check(mapping.page(0), 4 * PageSize()), 0) << mpin_error();
  EXPECT_EQ(KernelEvidence::Of(mapping.all()), before);
  EXPECT_EQ(CountAt(mapping, 0), 0u);
  EXPECT_EQ(mpin_check(mapping.page(0), 0), 0) << mpin_error();
}

TEST(MpinCheck, FailsAsMpinBeyondEachLimit) {
  ChildOptions options = WithoutPrivilege();
  options.memlock_bytes = 4 * PageSize();
  RunInChild(options, [] {
    const TestMapping mapping(8);
    EXPECT_EQ(mpin_check(mapping.page(0), 4 * PageSize()), 0) << mpin_error();
    ExpectError(mpin_check(mapping.page(0), 5 * PageSize()), ENOMEM, "RLIMIT_MEMLOCK");
    ASSERT_EQ(mpin(mapping.page(0), 3 * PageSize()), 0) << mpin_error();
    EXPECT_EQ(mpin_check(mapping.page(0), 4 * PageSize()), 0) << "three of them are pinned";
    ExpectError(mpin_check(mapping.page(3), 2 * PageSize()), ENOMEM, "RLIMIT_MEMLOCK");
    ASSERT_EQ(mpin_set_max_pages(3), 0);
    ExpectError(mpin_check(mapping.page(0), 4 * PageSize()), ENOMEM, "PLOCK_MAX");
    EXPECT_EQ(mpin_check(mapping.page(0), 3 * PageSize()), 0) << mpin_error();
    ASSERT_EQ(mpin_set_max_pages(0), 0);
    const rlimit limit{3 * PageSize(), RLIM_INFINITY};
    ASSERT_EQ(setrlimit(RLIMIT_RSS, &limit), 0);
    ExpectError(mpin_check(mapping.page(0), 4 * PageSize()), ENOMEM, "RLIMIT_RSS");
  });
}

TEST(MpinCheck, FailsAsMpinOfABadRange) {
  TestMapping mapping(4);
  mapping.Unmap(2, 1);
  ExpectError(mpin_check(mapping.page(0), 3 * PageSize()), EINVAL, "is not mapped");
  ExpectError(mpin_check(mapping.page(0), SIZE_MAX), EINVAL, "mpin_check of");
  mapping.Forbid(0, 1);
  ExpectError(mpin_check(mapping.page(0), PageSize()), EINVAL, "PROT_NONE");
}

TEST(MpinCheck, FailsWhereACounterIsAtItsMaximum) {
  const TestMapping mapping(2);
  constexpr int kMost = 32'767;
  for (int i = 0; i < kMost; ++i) ASSERT_EQ(mpin(mapping.page(1), PageSize()), 0) << mpin_error();
  ExpectError(mpin_check(mapping.page(0), 2 * PageSize()), EAGAIN, "as often as can be counted");
  EXPECT_EQ(mpin_check(mapping.page(0), PageSize()), 0) << mpin_error();
  for (int i = 0; i < kMost; ++i) ASSERT_EQ(munpin(mapping.page(1), PageSize()), 0);
}

// --- mpin_refresh -------------------------------------------------------------------------------

// A child that lives until it is let go.
class Sleeper {
 public:
  Sleeper() {
    if (pipe(ends_) != 0) std::abort();
    child_ = fork();
    if (child_ == 0) {
      char byte;
      (void)close(ends_[1]);
      _exit(read(ends_[0], &byte, 1) == 0 ? 0 : 1);
    }
  }
  ~Sleeper() {
    (void)close(ends_[1]);
    int status = 0;
    EXPECT_EQ(waitpid(child_, &status, 0), child_);
    (void)close(ends_[0]);
  }

 private:
  int ends_[2];
  pid_t child_;
};

uint64_t FaultsOfWriting(const TestMapping& mapping, size_t pages) {
  test_support::CopyOwnMemoryAfterFork();
  const os::FaultCount before = os::FaultCount::OfThisThread();
  for (size_t page = 0; page < pages; ++page) {
    *reinterpret_cast<volatile std::byte*>(mapping.page(page)) = std::byte{7};
  }
  return (os::FaultCount::OfThisThread() - before).total();
}

TEST(MpinRefresh, SparesTheParentTheCopyingFaultsAfterAFork) {
  if (test_support::kThreadSanitizer || test_support::kAddressSanitizer) {
    GTEST_SKIP() << "the sanitizer's own memory is copied after the fork, too";
  }
  constexpr size_t kPages = 64;
  TestMapping mapping(kPages);
  ASSERT_EQ(mpin(mapping.page(0), kPages * PageSize()), 0) << mpin_error();
  {
    const Sleeper child;
    EXPECT_GE(FaultsOfWriting(mapping, kPages), kPages) << "this is what it is for";
  }
  // Copies would be faults of all pages, each time. The process' other memory takes one now and then.
  uint64_t faults = kPages;
  for (int i = 0; i < 5 && faults > 0; ++i) {
    const Sleeper child;
    ASSERT_EQ(mpin_refresh(mapping.page(0), kPages * PageSize()), 0) << mpin_error();
    faults = FaultsOfWriting(mapping, kPages);
    ASSERT_LT(faults, 8u);
  }
  EXPECT_EQ(faults, 0u);
  EXPECT_EQ(CountAt(mapping, 0), 1u) << "it does not count";
  ASSERT_EQ(munpin(mapping.page(0), kPages * PageSize()), 0);
}

TEST(MpinRefresh, LocksAgainWhatSomebodyHasUnlocked) {
  TestMapping mapping(4);
  ASSERT_EQ(mpin(mapping.page(0), 4 * PageSize()), 0);
  ASSERT_TRUE(test_support::RawMunlock(mapping.page(1), 2 * PageSize()).ok());
  ASSERT_EQ(KernelEvidence::Of(mapping.all()).locked.size(), 2u);
  ASSERT_EQ(mpin_refresh(mapping.page(0), 4 * PageSize()), 0) << mpin_error();
  EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.all()));
  ASSERT_EQ(munpin(mapping.page(0), 4 * PageSize()), 0);
}

TEST(MpinRefresh, NeedsPinnedPages) {
  TestMapping mapping(4);
  ASSERT_EQ(mpin(mapping.page(0), 2 * PageSize()), 0);
  ExpectError(mpin_refresh(mapping.page(0), 3 * PageSize()), EINVAL, "is not pinned");
  EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.range(0, 2)));
  ASSERT_EQ(munpin(mapping.page(0), 2 * PageSize()), 0);
}

TEST(MpinRefresh, FailsWhereAPinnedPageIsNotMapped) {
  TestMapping mapping(4);
  ASSERT_EQ(mpin(mapping.page(0), 4 * PageSize()), 0);
  mapping.Unmap(2, 1);
  ExpectError(mpin_refresh(mapping.page(0), 4 * PageSize()), EINVAL, "is not mapped");
  ASSERT_EQ(mpin_forget(mapping.page(2), PageSize()), 0);
  mapping.MapAgain(2, 1);
  ASSERT_EQ(munpin(mapping.page(0), 2 * PageSize()), 0);
  ASSERT_EQ(munpin(mapping.page(3), PageSize()), 0);
}

// --- mpin_forget --------------------------------------------------------------------------------

TEST(MpinForget, UnlocksWhatIsStillMapped) {
  TestMapping mapping(4);
  ASSERT_EQ(mpin(mapping.page(0), 4 * PageSize()), 0);
  ASSERT_EQ(mpin(mapping.page(1), PageSize()), 0);
  ASSERT_EQ(mpin_forget(mapping.page(1), 2 * PageSize()), 0) << mpin_error();
  EXPECT_EQ(CountAt(mapping, 1), 0u);
  EXPECT_EQ(CountAt(mapping, 3), 1u);
  EXPECT_EQ(KernelEvidence::Of(mapping.all()).locked.size(), 2u);
  mpin_stat stat{};
  ASSERT_EQ(mpin_get_stat(&stat, sizeof(stat)), 0);
  EXPECT_EQ(stat.pages_locked, 2u);
  EXPECT_GE(stat.forgotten, 2u);
  ASSERT_EQ(mpin_forget(mapping.page(0), 4 * PageSize()), 0);
  EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks({}));
}

TEST(MpinForget, OfMemoryThatIsNotPinnedDoesNothing) {
  TestMapping mapping(2);
  EXPECT_EQ(mpin_forget(mapping.page(0), 2 * PageSize()), 0);
  EXPECT_EQ(mpin_forget(mapping.page(0), 0), 0);
  ExpectError(mpin_forget(mapping.page(0), SIZE_MAX), EINVAL, "beyond the address space");
}

// --- mpin over what was unmapped ----------------------------------------------------------------

TEST(MpinFails, WithEinvalWhereACountedPageOfTheRangeWasUnmapped) {
  TestMapping mapping(4);
  ASSERT_EQ(mpin(mapping.page(1), PageSize()), 0);
  mapping.Unmap(1, 1);
  ExpectError(mpin(mapping.page(0), 4 * PageSize()), EINVAL, "is not mapped");
  EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks({}));
  ASSERT_EQ(mpin_forget(mapping.page(1), PageSize()), 0);
}

// --- PINLOCK_VERIFY -----------------------------------------------------------------------------

class PinlockVerify : public testing::Test {
 protected:
  // Runs in a child, where the setting is read anew.
  static void Verified(const std::function<void()>& body) {
    ASSERT_EQ(setenv("PINLOCK_VERIFY", "1", 1), 0);
    RunInChild(body);
    ASSERT_EQ(unsetenv("PINLOCK_VERIFY"), 0);
  }
};

TEST_F(PinlockVerify, FindsNothingWhereNothingIsWrong) {
  Verified([] {
    TestMapping mapping(8);
    for (int i = 0; i < 3; ++i) ASSERT_EQ(mpin(mapping.page(0), 8 * PageSize()), 0);
    for (int i = 0; i < 3; ++i) ASSERT_EQ(munpin(mapping.page(0), 8 * PageSize()), 0);
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks({}));
  });
}

TEST_F(PinlockVerify, AcceptsMemoryThatIsNeverLocked) {
  void* vdso = reinterpret_cast<void*>(getauxval(AT_SYSINFO_EHDR));
  if (vdso == nullptr) GTEST_SKIP() << "no vdso";
  Verified([vdso] {
    for (int i = 0; i < 2; ++i) ASSERT_EQ(mpin(vdso, 1), 0) << mpin_error();
    for (int i = 0; i < 2; ++i) ASSERT_EQ(munpin(vdso, 1), 0) << mpin_error();
  });
}

TEST_F(PinlockVerify, AbortsWithBothSidesStoryWhereALockIsGone) {
  GTEST_FLAG_SET(death_test_style, "fast");
  Verified([] {
    TestMapping mapping(4);
    const auto pin_again = [&] {
      // What a death test forks has no counts: both pins are its own.
      if (mpin(mapping.page(0), 4 * PageSize()) != 0) std::_Exit(1);
      if (!test_support::RawMunlock(mapping.page(2), PageSize()).ok()) std::_Exit(1);
      (void)mpin(mapping.page(0), 4 * PageSize());
    };
    EXPECT_DEATH(pin_again(),
                 "PINLOCK_VERIFY: mpin of 16384 bytes .* counted as pinned 1 times, "
                 "but in the kernel it is mapped but not locked");
  });
}

TEST_F(PinlockVerify, AbortsWithBothSidesStoryWhereAPageIsGone) {
  GTEST_FLAG_SET(death_test_style, "fast");
  Verified([] {
    TestMapping mapping(4);
    const auto unpin = [&] {
      for (int i = 0; i < 2; ++i) {
        if (mpin(mapping.page(0), 4 * PageSize()) != 0) std::_Exit(1);
      }
      mapping.Unmap(3, 1);
      (void)munpin(mapping.page(0), 4 * PageSize());
    };
    EXPECT_DEATH(unpin(),
                 "PINLOCK_VERIFY: munpin of 16384 bytes .* pinned 2 times, but in the "
                 "kernel it is not mapped");
  });
}

}  // namespace
