// mpin(3), sentence by sentence, on the kernel: what fails, why, and that nothing has changed then.

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "os/file.h"
#include "os/limits.h"
#include "pinlock/mpin.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/sanitizer.h"
#include "tests/support/test_mapping.h"

namespace {

using test_support::KernelEvidence;
using test_support::Limited;
using test_support::PageSize;
using test_support::RunInChild;
using test_support::TestMapping;

mpin_stat Stat() {
  mpin_stat stat{};
  EXPECT_EQ(mpin_get_stat(&stat, sizeof(stat)), 0);
  return stat;
}

// Expects that pinning these pages fails with `error` and a text that has `words`, and that nothing
// has changed, neither in the counters nor in the kernel.
void ExpectRefused(const TestMapping& mapping, size_t first, size_t count, int error,
                   const std::string& words) {
  const KernelEvidence before = KernelEvidence::Of(mapping.all());
  const mpin_stat stat = Stat();
  errno = 0;
  EXPECT_EQ(mpin(mapping.page(first), count * PageSize()), -1);
  EXPECT_EQ(os::Errno::Last(), os::Errno(error)) << os::Errno::Last().Name();
  EXPECT_NE(std::string(mpin_error()).find(words), std::string::npos) << mpin_error();
  EXPECT_EQ(KernelEvidence::Of(mapping.all()), before);
  EXPECT_EQ(Stat().pages_locked, stat.pages_locked);
  EXPECT_EQ(Stat().pages_residual, 0u);
  EXPECT_EQ(Stat().failures, stat.failures + 1);
}

os::OwnedDescriptor FileOfPages(size_t pages) {
  os::Result<os::OwnedDescriptor> file = os::CreateUnnamedFile(testing::TempDir());
  EXPECT_TRUE(file.ok()) << file.error().Name();
  EXPECT_EQ(ftruncate(file->get(), static_cast<off_t>(pages * PageSize())), 0);
  return std::move(*file);
}

// --- EINVAL -------------------------------------------------------------------------------------

TEST(MpinFails, WithEinvalWhereAPageIsNotMapped) {
  TestMapping mapping(8);
  mapping.Unmap(5, 1);
  ExpectRefused(mapping, 0, 8, EINVAL, "is not mapped; map the whole range first");
  ExpectRefused(mapping, 5, 1, EINVAL, "is not mapped");
}

TEST(MpinFails, OverAHoleWithNothingChangedWhereMlockLeavesHalf) {
  TestMapping mapping(8);
  mapping.Unmap(5, 1);
  const KernelEvidence before = KernelEvidence::Of(mapping.all());
  EXPECT_EQ(test_support::RawMlock(mapping.page(0), 8 * PageSize()), os::Errno(ENOMEM));
  const KernelEvidence half = KernelEvidence::Of(mapping.all());
  EXPECT_EQ(half.locked_bytes, before.locked_bytes + 5 * PageSize());
  EXPECT_TRUE(half.Locks(mapping.range(0, 5)));
  ASSERT_TRUE(test_support::RawMunlock(mapping.page(0), 5 * PageSize()).ok());
  ExpectRefused(mapping, 0, 8, EINVAL, "is not mapped");
}

TEST(MpinFails, OverAHoleWithoutTouchingPagesThatArePinned) {
  TestMapping mapping(8);
  mapping.Unmap(6, 1);
  ASSERT_EQ(mpin(mapping.page(1), 2 * PageSize()), 0);
  ASSERT_EQ(mpin(mapping.page(4), PageSize()), 0);
  ExpectRefused(mapping, 0, 8, EINVAL, "is not mapped");
  ASSERT_EQ(munpin(mapping.page(1), 2 * PageSize()), 0);
  ASSERT_EQ(munpin(mapping.page(4), PageSize()), 0);
  EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks({}));
}

TEST(MpinFails, WithEinvalWhereAPageIsMappedProtNone) {
  TestMapping mapping(8);
  mapping.Forbid(3, 2);
  ExpectRefused(mapping, 0, 8, EINVAL, "PROT_NONE");
  ASSERT_EQ(mpin(mapping.page(6), PageSize()), 0);
  ExpectRefused(mapping, 2, 6, EINVAL, "PROT_NONE");
  ASSERT_EQ(munpin(mapping.page(6), PageSize()), 0);
}

TEST(MpinFails, WithEinvalWhereAPageLiesPastTheEndOfItsFile) {
  const os::OwnedDescriptor file = FileOfPages(3);
  TestMapping mapping(8, file.get());
  ExpectRefused(mapping, 0, 8, EINVAL, "past the end of its file");
  ASSERT_EQ(mpin(mapping.page(0), 3 * PageSize()), 0) << mpin_error();
  ExpectRefused(mapping, 0, 8, EINVAL, "past the end of its file");
  ASSERT_EQ(munpin(mapping.page(0), 3 * PageSize()), 0);
}

TEST(MpinFails, WithEinvalOnMemoryThatIsNeverLocked) {
  constexpr long kMemfdSecret = 447;  // the system call's number
  const os::OwnedDescriptor file(static_cast<int>(syscall(kMemfdSecret, 0)));
  if (file.get() < 0) GTEST_SKIP() << "memfd_secret: " << os::Errno::Last().Name();
  ASSERT_EQ(ftruncate(file.get(), static_cast<off_t>(2 * PageSize())), 0);
  ExpectRefused(TestMapping(2, file.get()), 0, 2, EINVAL, "never locks");
}

TEST(MpinFails, WithEinvalWhereTheRangeIsBeyondTheAddressSpace) {
  TestMapping mapping(1);
  const KernelEvidence before = KernelEvidence::Of(mapping.all());
  for (const size_t length : {SIZE_MAX, SIZE_MAX - PageSize(), SIZE_MAX / 2, size_t{1} << 56}) {
    errno = 0;
    EXPECT_EQ(mpin(mapping.page(0), length), -1) << length;
    EXPECT_EQ(errno, EINVAL) << length;
    EXPECT_EQ(munpin(mapping.page(0), length), -1) << length;
    EXPECT_EQ(errno, EINVAL) << length;
  }
  mpin_info info;
  EXPECT_EQ(mpin_query(mapping.page(0), SIZE_MAX, &info), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(KernelEvidence::Of(mapping.all()), before);
  EXPECT_EQ(test_support::RawMlock(mapping.page(0), SIZE_MAX), os::kSuccess) << "mlock wraps to 0";
}

// --- ENOMEM -------------------------------------------------------------------------------------

TEST(MpinFails, WithEnomemBeyondTheLimit) {
  RunInChild(Limited(8 * PageSize()), [] {
    TestMapping mapping(16);
    ExpectRefused(mapping, 0, 9, ENOMEM, "over RLIMIT_MEMLOCK");
    ASSERT_EQ(mpin(mapping.page(0), 8 * PageSize()), 0) << mpin_error();
    ExpectRefused(mapping, 4, 6, ENOMEM, "over RLIMIT_MEMLOCK");
    const std::string text = mpin_error();
    EXPECT_NE(text.find("32 KiB allowed, 32 KiB locked, 8 KiB more asked for"), std::string::npos)
        << text;
    EXPECT_EQ(mpin(mapping.page(0), 8 * PageSize()), 0) << "pages that are pinned cost nothing";
    ASSERT_EQ(munpin(mapping.page(0), 8 * PageSize()), 0);
    ASSERT_EQ(munpin(mapping.page(0), 2 * PageSize()), 0);
    EXPECT_EQ(mpin(mapping.page(8), 2 * PageSize()), 0) << mpin_error();
  });
}

TEST(MpinFails, WithEnomemWhereTheLimitIs0) {
  RunInChild(Limited(0), [] {
    TestMapping mapping(1);
    EXPECT_EQ(test_support::RawMlock(mapping.page(0), 1), os::Errno(EPERM)) << "the kernel's word";
    ExpectRefused(mapping, 0, 1, ENOMEM, "RLIMIT_MEMLOCK is 0");
  });
}

TEST(MpinFails, WithEinvalForABadRangeThatIsBeyondTheLimitToo) {
  RunInChild(Limited(2 * PageSize()), [] {
    TestMapping mapping(8);
    mapping.Unmap(6, 1);
    ExpectRefused(mapping, 0, 8, EINVAL, "is not mapped");
  });
}

TEST(MpinFails, WithEnomemWherePrivilegeIsThatOfAUserNamespaceAlone) {
  test_support::ChildOptions options = Limited(4 * PageSize());
  options.drop_privilege = false;
  options.namespaces = CLONE_NEWUSER;
  RunInChild(options, [] {
    ASSERT_TRUE(*os::ClaimsLockCapability());
    TestMapping mapping(8);
    ExpectRefused(mapping, 0, 5, ENOMEM, "over RLIMIT_MEMLOCK");
    EXPECT_NE(std::string(mpin_error()).find("CAP_IPC_LOCK held here belongs to a user namespace"),
              std::string::npos)
        << mpin_error();
    EXPECT_EQ(mpin(mapping.page(0), 4 * PageSize()), 0) << mpin_error();
  });
}

// --- EAGAIN -------------------------------------------------------------------------------------

TEST(MpinFails, WithEagainWhereACounterIsAtItsMaximum) {
  constexpr int kMaxCount = 32767;
  TestMapping mapping(3);
  for (int i = 0; i < kMaxCount; ++i) ASSERT_EQ(mpin(mapping.page(1), 1), 0);
  ExpectRefused(mapping, 0, 3, EAGAIN, "as often as can be counted");
  for (int i = 0; i < kMaxCount; ++i) ASSERT_EQ(munpin(mapping.page(1), 1), 0);
  EXPECT_EQ(munpin(mapping.page(1), 1), -1);
}

// Takes all mappings that the kernel allows: pages of one with two protections in turn. Gives them
// back at its end.
class MappingHog {
 public:
  MappingHog() : pages_(*os::MaxMappings() + 16) {
    begin_ = mmap(nullptr, pages_ * PageSize(), PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (begin_ == MAP_FAILED) std::abort();
    auto* page = static_cast<std::byte*>(begin_);
    while (mprotect(page += PageSize(), PageSize(), PROT_READ) == 0) page += PageSize();
  }
  ~MappingHog() { munmap(begin_, pages_ * PageSize()); }

 private:
  const size_t pages_;
  void* begin_;
};

// These sanitizers' runtimes die where they get no mapping themselves.
constexpr bool kNeedsMappings = test_support::kAddressSanitizer || test_support::kThreadSanitizer;

TEST(MpinFails, WithEagainAtMaxMapCount) {
  if (kNeedsMappings) GTEST_SKIP() << "the sanitizer's runtime needs mappings of its own";
  RunInChild([] {
    TestMapping mapping(8);
    ASSERT_EQ(mpin(mapping.page(0), PageSize()), 0);  // table memory is there from now on
    int result = 0, error = 0;
    {
      const MappingHog hog;
      result = mpin(mapping.page(4), PageSize());
      error = errno;
    }
    EXPECT_EQ(result, -1);
    EXPECT_EQ(error, EAGAIN);
    EXPECT_NE(std::string(mpin_error()).find("vm.max_map_count"), std::string::npos)
        << mpin_error();
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.range(0, 1)));
    EXPECT_EQ(mpin(mapping.page(4), PageSize()), 0);
  });
}

TEST(Munpin, CountsAPageAsResidualThatTheKernelRefusesToUnlock) {
  if (kNeedsMappings) GTEST_SKIP() << "the sanitizer's runtime needs mappings of its own";
  RunInChild([] {
    TestMapping mapping(8);
    ASSERT_EQ(mpin(mapping.page(0), 8 * PageSize()), 0);
    int result = 0;
    mpin_stat stat;
    {
      const MappingHog hog;
      result = munpin(mapping.page(4), PageSize());
      stat = Stat();
    }
    EXPECT_EQ(result, 0);
    EXPECT_EQ(stat.pages_locked, 7u);
    EXPECT_EQ(stat.pages_residual, 1u);
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.all()));
    EXPECT_EQ(mpin(mapping.page(0), 0), 0) << "a later call";
    EXPECT_EQ(Stat().pages_residual, 0u);
    EXPECT_EQ(KernelEvidence::Of(mapping.all()).locked.size(), 2u);
  });
}

// Twice the memory of the machine. Who has no privilege meets the lock limit first.
TEST(MpinFails, WithEagainAtOnceWhereTheMachineHasNoRoom) {
  if (!os::RealLimits().Privileged()) {
    GTEST_SKIP() << "needs CAP_IPC_LOCK in the initial user namespace";
  }
  const size_t bytes = 2 * os::PhysicalMemoryBytes();
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED) << std::strerror(errno);
  const mpin_stat before = Stat();
  EXPECT_EQ(mpin(memory, bytes), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_NE(std::string(mpin_error()).find("beyond that the kernel kills a process"),
            std::string::npos)
      << mpin_error();
  EXPECT_EQ(Stat().kernel_locks, before.kernel_locks) << "not a page was locked";
  ASSERT_EQ(munmap(memory, bytes), 0);
}

// --- ENOSPC -------------------------------------------------------------------------------------

TEST(MpinFails, WithEnospcWhereTheFileSystemOfAMappedFileHasNoBlockForAPage) {
  test_support::ChildOptions options;
  options.namespaces = CLONE_NEWUSER | CLONE_NEWNS;
  const std::string directory = testing::TempDir() + "/mpin_full";
  ASSERT_TRUE(mkdir(directory.c_str(), 0777) == 0 || errno == EEXIST);
  RunInChild(options, [&] {
    const std::string size = "size=" + std::to_string(4 * PageSize());
    if (mount("full", directory.c_str(), "tmpfs", 0, size.c_str()) != 0) {
      GTEST_SKIP() << "no tmpfs can be mounted here: " << std::strerror(errno);
    }
    const std::string path = directory + "/file";
    const os::OwnedDescriptor file(creat(path.c_str(), 0600));
    const os::OwnedDescriptor opened(open(path.c_str(), O_RDWR));
    ASSERT_EQ(ftruncate(opened.get(), static_cast<off_t>(8 * PageSize())), 0);
    TestMapping mapping(8, opened.get());
    ExpectRefused(mapping, 0, 8, ENOSPC, "no space left on the file system");
    EXPECT_EQ(mpin(mapping.page(0), 2 * PageSize()), 0) << mpin_error();
  });
  EXPECT_EQ(rmdir(directory.c_str()), 0);
}

// --- munpin -------------------------------------------------------------------------------------

TEST(MunpinFails, WithEinvalWhereACounterIs0AndNothingChanges) {
  TestMapping mapping(6);
  ASSERT_EQ(mpin(mapping.page(0), 4 * PageSize()), 0);
  const KernelEvidence before = KernelEvidence::Of(mapping.all());
  for (const size_t first : {0u, 3u, 4u}) {
    EXPECT_EQ(munpin(mapping.page(first), (6 - first) * PageSize()), -1);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_NE(std::string(mpin_error()).find("is not pinned"), std::string::npos) << mpin_error();
  }
  EXPECT_EQ(KernelEvidence::Of(mapping.all()), before);
  ASSERT_EQ(munpin(mapping.page(0), 4 * PageSize()), 0);
}

TEST(MunpinFails, WithEinvalWhereAPageWasUnmappedAndNothingElseChanges) {
  TestMapping mapping(8);
  ASSERT_EQ(mpin(mapping.page(0), 8 * PageSize()), 0);
  ASSERT_EQ(mpin(mapping.page(2), PageSize()), 0);
  mapping.Unmap(5, 1);
  const KernelEvidence before = KernelEvidence::Of(mapping.all());
  EXPECT_EQ(munpin(mapping.page(0), 8 * PageSize()), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_NE(std::string(mpin_error()).find("is not mapped"), std::string::npos) << mpin_error();
  EXPECT_EQ(KernelEvidence::Of(mapping.all()), before);
  mpin_info info;
  ASSERT_EQ(mpin_query(mapping.page(0), 5 * PageSize(), &info), 0);
  EXPECT_EQ(info.count_min, 1u);
  mapping.MapAgain(5, 1);
  EXPECT_EQ(munpin(mapping.page(0), 8 * PageSize()), 0);
  EXPECT_EQ(munpin(mapping.page(2), PageSize()), 0);
}

}  // namespace
