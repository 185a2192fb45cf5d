// mpin(3) where a memory cgroup bounds the process: it is refused what does not fit, before the
// kernel kills somebody for it, and never what does.

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "os/file.h"
#include "os/memory.h"
#include "pinlock/mpin.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/memory_cgroup.h"
#include "tests/support/temporary_swap.h"
#include "tests/support/test_mapping.h"

namespace {

using test_support::KernelEvidence;
using test_support::MemoryCgroup;
using test_support::PageSize;
using test_support::RunInChild;
using test_support::TestMapping;

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kLimit = 64 * kMiB;

size_t PagesOf(size_t bytes) { return bytes / PageSize(); }

// Runs the body in a child in a cgroup of 64 MiB, with the privilege to lock what it likes.
void InCgroup(const std::function<void(const MemoryCgroup& group)>& body) {
  const std::optional<MemoryCgroup> group = MemoryCgroup::Create(kLimit);
  if (!group) GTEST_SKIP() << "no memory cgroup can be made here";
  RunInChild([&] {
    ASSERT_EQ(group->Enter(), os::kSuccess);
    const TestMapping more_than_the_limit(PagesOf(16 * kMiB));
    const os::Errno error = test_support::RawMlock(more_than_the_limit.page(0), 16 * kMiB);
    if (!error.ok()) GTEST_SKIP() << "the lock limit binds here: " << error.Name();
    ASSERT_EQ(test_support::RawMunlock(more_than_the_limit.page(0), 16 * kMiB), os::kSuccess);
    body(*group);
  });
}

void Touch(const TestMapping& mapping, size_t bytes) {
  for (size_t page = 0; page < PagesOf(bytes); ++page) *mapping.page(page) = std::byte{1};
}

// Expects EAGAIN, and that the kernel holds locked what it held before.
void ExpectRefused(const TestMapping& mapping, size_t bytes) {
  const KernelEvidence before = KernelEvidence::Of(mapping.all());
  errno = 0;
  EXPECT_EQ(mpin_check(mapping.page(0), bytes), -1);
  EXPECT_EQ(os::Errno::Last(), os::Errno(EAGAIN)) << os::Errno::Last().Name();
  errno = 0;
  EXPECT_EQ(mpin(mapping.page(0), bytes), -1);
  EXPECT_EQ(os::Errno::Last(), os::Errno(EAGAIN)) << os::Errno::Last().Name();
  EXPECT_EQ(KernelEvidence::Of(mapping.all()), before);
}

TEST(MpinInACgroup, FailsWithEagainWhereThePagesDoNotFitAndLocksNothing) {
  InCgroup([](const MemoryCgroup& group) {
    const TestMapping mapping(PagesOf(128 * kMiB));
    ExpectRefused(mapping, 128 * kMiB);
    const std::string text = mpin_error();
    const std::string name = group.directory().substr(group.directory().rfind('/') + 1);
    EXPECT_NE(text.find(name), std::string::npos) << text;
    EXPECT_TRUE(text.find("64 MiB") != std::string::npos ||
                text.find("65536 KiB") != std::string::npos)
        << text;
    EXPECT_EQ(KernelEvidence::Of(mapping.all()).locked_bytes, 0u);
    EXPECT_EQ(munpin(mapping.page(0), PageSize()), -1) << "nothing is counted either";
  });
}

TEST(MpinInACgroup, SucceedsWhereThePagesFit) {
  InCgroup([](const MemoryCgroup&) {
    const TestMapping mapping(PagesOf(40 * kMiB));
    ASSERT_EQ(mpin(mapping.page(0), 40 * kMiB), 0) << mpin_error();
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.all()));
    EXPECT_TRUE(test_support::AllResident(mapping.all()));
    EXPECT_EQ(munpin(mapping.page(0), 40 * kMiB), 0);
  });
}

TEST(MpinInACgroup, ARefusedCallLeavesWhatIsPinnedAndRoomForWhatFits) {
  InCgroup([](const MemoryCgroup&) {
    const TestMapping mapping(PagesOf(128 * kMiB));
    ASSERT_EQ(mpin(mapping.page(0), 16 * kMiB), 0) << mpin_error();
    ExpectRefused(mapping, 128 * kMiB);
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.range(0, PagesOf(16 * kMiB))));
    EXPECT_EQ(mpin(mapping.page(0), 40 * kMiB), 0) << mpin_error();
    EXPECT_EQ(munpin(mapping.page(0), 40 * kMiB), 0);
    EXPECT_EQ(munpin(mapping.page(0), 16 * kMiB), 0);
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks({}));
  });
}

TEST(MpinInACgroup, PageCacheDoesNotTakeTheRoom) {
  InCgroup([](const MemoryCgroup& group) {
    os::Result<os::OwnedDescriptor> file = os::CreateUnnamedFile(testing::TempDir());
    ASSERT_TRUE(file.ok()) << file.error().Name();
    if (os::IsInMemory(file->get())) GTEST_SKIP() << "the test's directory has no page cache";
    const std::vector<std::byte> block(kMiB, std::byte{1});
    for (int i = 0; i < 96; ++i) {
      ASSERT_EQ(write(file->get(), block.data(), block.size()), static_cast<ssize_t>(kMiB));
    }
    ASSERT_EQ(fsync(file->get()), 0);
    ASSERT_GE(group.used_bytes(), 52 * kMiB) << "less than 16 MiB are free";
    const TestMapping mapping(PagesOf(16 * kMiB));
    ASSERT_EQ(mpin(mapping.page(0), 16 * kMiB), 0) << mpin_error();
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.all()));
    EXPECT_EQ(munpin(mapping.page(0), 16 * kMiB), 0);
  });
}

TEST(MpinInACgroup, PagesThatAreResidentNeedNoRoom) {
  InCgroup([](const MemoryCgroup& group) {
    const TestMapping mapping(PagesOf(40 * kMiB));
    Touch(mapping, 40 * kMiB);
    ASSERT_GE(group.used_bytes(), 40 * kMiB);
    ASSERT_EQ(mpin(mapping.page(0), 40 * kMiB), 0) << mpin_error();
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.all()));
    // All that is left is not enough for as many pages that are not.
    const TestMapping other(PagesOf(40 * kMiB));
    ExpectRefused(other, 40 * kMiB);
    EXPECT_EQ(munpin(mapping.page(0), 40 * kMiB), 0);
  });
}

// Memory that was only read shows the zero page everywhere, and the lock makes a page of each.
TEST(MpinInACgroup, PagesThatWereOnlyReadNeedRoom) {
  if (!test_support::HasZeroPage()) GTEST_SKIP() << "what is read has pages of its own here";
  InCgroup([](const MemoryCgroup&) {
    const TestMapping mapping(PagesOf(96 * kMiB));
    ASSERT_EQ(madvise(mapping.page(0), 96 * kMiB, MADV_NOHUGEPAGE), 0);
    ASSERT_TRUE(os::RealMemory().Populate(mapping.all()).ok());
    ASSERT_TRUE(test_support::AllResident(mapping.all()));
    ExpectRefused(mapping, 96 * kMiB);
    EXPECT_EQ(mpin(mapping.page(0), 40 * kMiB), 0) << mpin_error();
    EXPECT_EQ(munpin(mapping.page(0), 40 * kMiB), 0);
  });
}

// A child has its parent's pages, and locking them makes copies.
TEST(MpinInACgroup, PagesThatAreSharedWithTheParentNeedRoom) {
  InCgroup([](const MemoryCgroup&) {
    const TestMapping mapping(PagesOf(40 * kMiB));
    Touch(mapping, 40 * kMiB);
    ASSERT_EQ(mpin(mapping.page(0), 40 * kMiB), 0) << mpin_error();
    RunInChild([&] {
      ExpectRefused(mapping, 40 * kMiB);
      EXPECT_EQ(mpin(mapping.page(0), 2 * kMiB), 0) << mpin_error();
      EXPECT_EQ(munpin(mapping.page(0), 2 * kMiB), 0);
    });
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (;;) pause();
    }
    EXPECT_EQ(mpin_refresh(mapping.page(0), 40 * kMiB), -1);
    EXPECT_EQ(errno, EAGAIN);
    EXPECT_EQ(waitpid(child, nullptr, WNOHANG), 0) << "the child died";
    EXPECT_EQ(kill(child, SIGKILL), 0);
    EXPECT_EQ(waitpid(child, nullptr, 0), child);
    EXPECT_EQ(mpin_refresh(mapping.page(0), 40 * kMiB), 0) << mpin_error();
    EXPECT_EQ(munpin(mapping.page(0), 40 * kMiB), 0);
  });
}

// What is unpinned stays in memory, so pinning one piece after another fills the cgroup as well.
TEST(MpinInACgroup, UnpinningMakesNoRoom) {
  InCgroup([](const MemoryCgroup&) {
    const TestMapping mapping(PagesOf(128 * kMiB));
    size_t pinned = 0;
    while (pinned < 128 && mpin(mapping.page(PagesOf(pinned * kMiB)), kMiB) == 0) {
      ASSERT_EQ(munpin(mapping.page(PagesOf(pinned * kMiB)), kMiB), 0);
      ++pinned;
    }
    EXPECT_EQ(errno, EAGAIN);
    EXPECT_GT(pinned, 30u);
    EXPECT_LT(pinned, 64u);
  });
}

// The kernel kills rather than swap out what was unlocked a moment ago.
TEST(MpinInACgroup, SwapSpaceIsNoRoom) {
  const test_support::TemporarySwap swap;
  if (!swap.problem().empty()) GTEST_SKIP() << swap.problem();
  InCgroup([](const MemoryCgroup&) {
    const TestMapping unlocked(PagesOf(16 * kMiB));
    ASSERT_EQ(mpin(unlocked.page(0), 16 * kMiB), 0) << mpin_error();
    ASSERT_EQ(munpin(unlocked.page(0), 16 * kMiB), 0) << mpin_error();
    const TestMapping mapping(PagesOf(128 * kMiB));
    ExpectRefused(mapping, 128 * kMiB);
    EXPECT_EQ(mpin(unlocked.page(0), 16 * kMiB), 0) << mpin_error();
    EXPECT_EQ(munpin(unlocked.page(0), 16 * kMiB), 0);
  });
}

TEST(MpinInACgroup, NobodyElseInTheCgroupIsKilled) {
  InCgroup([](const MemoryCgroup&) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    // Larger than the caller, so that the kernel would choose it.
    const pid_t sibling = fork();
    ASSERT_GE(sibling, 0);
    if (sibling == 0) {
      const TestMapping mapping(PagesOf(32 * kMiB));
      Touch(mapping, 32 * kMiB);
      (void)!write(ends[1], "x", 1);
      for (;;) pause();
    }
    char ready = 0;
    EXPECT_EQ(read(ends[0], &ready, 1), 1);
    const TestMapping mapping(PagesOf(128 * kMiB));
    ExpectRefused(mapping, 128 * kMiB);
    ExpectRefused(mapping, 40 * kMiB);
    EXPECT_EQ(waitpid(sibling, nullptr, WNOHANG), 0) << "the sibling died";
    EXPECT_EQ(kill(sibling, SIGKILL), 0);
    EXPECT_EQ(waitpid(sibling, nullptr, 0), sibling);
    EXPECT_EQ(mpin(mapping.page(0), 40 * kMiB), 0) << mpin_error();
    EXPECT_EQ(munpin(mapping.page(0), 40 * kMiB), 0);
  });
}

}  // namespace
