// Where writers cannot be stopped or memory not be moved, and where nobody need be stopped.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cerrno>
#include <fstream>
#include <optional>
#include <utility>

#include "os/descriptor.h"
#include "os/live_replace_fixture.h"
#include "tests/support/child.h"
#include "tests/support/forbid_syscalls.h"
#include "tests/support/sanitizer.h"

namespace os {
namespace {

using test_support::RunInChild;

// Private pages with, in their midst, some of a file: the program itself.
class MixedMemory {
 public:
  MixedMemory() : range_(NewMemory(Kind::kPrivate, 4)) {
    const OwnedDescriptor file = *OpenForReading("/proc/self/exe");
    on_disk_ = !IsInMemory(file.get());
    EXPECT_EQ(mmap(range_ + kPage, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
                   file.get(), 0),
              range_ + kPage);
  }
  MixedMemory(const MixedMemory&) = delete;
  MixedMemory& operator=(const MixedMemory&) = delete;
  ~MixedMemory() { EXPECT_EQ(UnmapShared(range_, 4 * kPage), kSuccess); }
  std::byte* at(size_t page) const { return range_ + page * kPage; }
  bool on_disk() const { return on_disk_; }

 private:
  std::byte* const range_;
  bool on_disk_ = false;
};

TEST_F(LiveReplaceTest, PrivateMappingsOfFilesAreEINVAL) {
  const MixedMemory memory;
  if (!memory.on_disk()) GTEST_SKIP() << "no file on a disk is at hand";
  Word(memory.at(0)).store(5);
  const Writer other([] {});
  const size_t descriptors = OpenDescriptors();
  for (const bool older : {false, true}) {
    std::optional<OlderKernel> older_kernel;
    if (older) older_kernel.emplace();
    for (const auto& [page, pages] : {std::pair<size_t, size_t>{1, 1}, {1, 2}, {0, 4}, {2, 2}}) {
      LiveReplacement replacement(memory.at(page), pages * kPage);
      EXPECT_EQ(replacement.StopWriters(), Errno(EINVAL)) << page;
      EXPECT_EQ(OpenDescriptors(), descriptors);
      ExpectNothingIsStopped(memory.at(0), 4);  // while there still is the object
    }
  }
  EXPECT_EQ(Word(memory.at(0)).load(), 5u);
}

TEST(LiveReplace, AThreadAloneStopsNobody) {
  if (test_support::kThreadSanitizer) GTEST_SKIP() << "its runtime has a thread";
  RunInChild([] {
    const long calls[] = {SYS_userfaultfd};
    test_support::ForbidSyscalls(calls, ENOSYS);
    const MixedMemory memory;
    Word(memory.at(3)).store(5);
    std::byte* const copy = NewMemory(Kind::kShared, 4);
    {
      LiveReplacement replacement(memory.at(0), 4 * kPage);
      EXPECT_EQ(replacement.StopWriters(), kSuccess);
      CopyWords(copy, memory.at(0), 4 * kPage);
      EXPECT_EQ(replacement.MoveHere(copy), kSuccess);
    }
    EXPECT_EQ(Word(memory.at(3)).load(), 5u);
    Word(memory.at(1)).store(6);
    EXPECT_EQ(Word(memory.at(1)).load(), 6u);
  });
}

TEST(LiveReplace, SaysWhereItIsForbidden) {
  for (const int error : {EPERM, ENOSYS}) {
    RunInChild([&] {
      const long calls[] = {SYS_userfaultfd};
      test_support::ForbidSyscalls(calls, error);
      if (testing::Test::IsSkipped()) return;
      const Writer other([] {});
      std::byte* const range = NewMemory(Kind::kPrivate, 2);
      LiveReplacement replacement(range, 2 * kPage);
      EXPECT_EQ(replacement.StopWriters(), Errno(error));
      ExpectNothingIsStopped(range, 2);
    });
  }
}

TEST_F(LiveReplaceTest, NeedsADescriptor) {
  RunInChild([] {
    const Writer other([] {});
    std::byte* const range = NewMemory(Kind::kPrivate, 2);
    rlimit limit{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 0;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    LiveReplacement replacement(range, 2 * kPage);
    EXPECT_EQ(replacement.StopWriters(), Errno(EMFILE));
    limit.rlim_cur = before;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ExpectNothingIsStopped(range, 2);
  });
}

// The program itself may have a use for userfaultfd(2).
TEST_F(LiveReplaceTest, MemoryThatIsWatchedAlreadyIsEBUSYAndStaysWatched) {
  std::byte* const range = NewMemory(Kind::kPrivate, 3);
  for (size_t page = 0; page < 3; ++page) Word(range + page * kPage).store(1);
  const OwnedDescriptor faults(
      static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY)));
  uffdio_api agreement{.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP, .ioctls = 0};
  ASSERT_EQ(ioctl(faults.get(), UFFDIO_API, &agreement), 0);
  const uffdio_range middle{.start = reinterpret_cast<uintptr_t>(range + kPage), .len = kPage};
  uffdio_register registration{.range = middle, .mode = UFFDIO_REGISTER_MODE_WP, .ioctls = 0};
  ASSERT_EQ(ioctl(faults.get(), UFFDIO_REGISTER, &registration), 0);
  uffdio_writeprotect protection{.range = middle, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
  ASSERT_EQ(ioctl(faults.get(), UFFDIO_WRITEPROTECT, &protection), 0);
  const Writer other([] {});
  Writer writer(range + kPage, 2);
  for (const auto& [page, pages] : {std::pair<size_t, size_t>{0, 3}, {1, 1}, {1, 2}}) {
    LiveReplacement replacement(range + page * kPage, pages * kPage);
    EXPECT_EQ(replacement.StopWriters(), Errno(EBUSY));
  }
  EXPECT_EQ(ProtectedPages(range, 3), 1u);
  writer.Begin();
  EXPECT_FALSE(writer.IsDone());
  protection.mode = 0;
  EXPECT_EQ(ioctl(faults.get(), UFFDIO_WRITEPROTECT, &protection), 0);
  EXPECT_TRUE(writer.Finish());
  EXPECT_EQ(UnmapShared(range, 3 * kPage), kSuccess);
}

// As many mappings as a process may have.
class ManyMappings {
 public:
  ManyMappings() {
    std::ifstream("/proc/sys/vm/max_map_count") >> pages_;
    memory_ = mmap(nullptr, pages_ * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    EXPECT_NE(memory_, MAP_FAILED);
  }
  ManyMappings(const ManyMappings&) = delete;
  ManyMappings& operator=(const ManyMappings&) = delete;
  // By the kernel alone: a sanitizer would want more mappings for this.
  ~ManyMappings() { (void)syscall(SYS_munmap, memory_, pages_ * kPage); }
  // Allocates nothing.
  void Make() {
    for (size_t page = 0; page < pages_; page += 2) {
      if (mprotect(static_cast<char*>(memory_) + page * kPage, kPage, PROT_READ) != 0) return;
    }
  }

 private:
  size_t pages_ = 0;
  void* memory_;
};

TEST_F(LiveReplaceTest, NeedsMappings) {
  RunInChild([] {
    std::byte* const range = NewMemory(Kind::kPrivate, 4);
    std::byte* const copy = NewMemory(Kind::kShared, 2);
    const auto at = [range](size_t page) { return Word(range + page * kPage); };
    at(1).store(5);
    std::atomic<bool> end{false};
    // A thread that ended meanwhile would have a sanitizer want more mappings.
    Writer writer([&] {
      at(2).store(1, std::memory_order_relaxed);
      while (!end) std::this_thread::yield();
    });
    {
      ManyMappings many;
      {
        LiveReplacement replacement(range + kPage, 2 * kPage);
        ASSERT_EQ(replacement.StopWriters(), kSuccess);
        writer.Begin();
        many.Make();
        EXPECT_EQ(replacement.MoveHere(copy), Errno(ENOMEM));
        EXPECT_EQ(at(1).load(), 5u);
        EXPECT_EQ(at(2).load(), 0u);
      }
      EXPECT_TRUE(WaitUntil([&] { return at(2).load() == 1; }));
    }
    end = true;
    EXPECT_EQ(at(1).load(), 5u);
    ExpectNothingIsStopped(range, 4);
    const Writer other([] {});
    ManyMappings many;
    many.Make();
    EXPECT_EQ(LiveReplacement(range + kPage, 2 * kPage).StopWriters(), Errno(ENOMEM));
    at(1).store(6);
    at(2).store(6);
  });
}

// --- Threads

TEST(HasOtherThreads, TellsWhetherThereAreAny) {
  if (test_support::kThreadSanitizer) GTEST_SKIP() << "its runtime has a thread";
  RunInChild([] {
    EXPECT_FALSE(HasOtherThreads());
    {
      const Writer other([] {});
      EXPECT_TRUE(HasOtherThreads());
      EXPECT_FALSE(HasOtherThreads(1)) << "it was said to be harmless";
    }
    EXPECT_TRUE(WaitUntil([] { return !HasOtherThreads(); }));
  });
}

TEST(HasOtherThreads, IsSoWhereItCannotBeTold) {
  RunInChild([] {
    const long calls[] = {SYS_stat, SYS_newfstatat, SYS_statx};
    test_support::ForbidSyscalls(calls, ENOSYS);
    if (testing::Test::IsSkipped()) return;
    EXPECT_TRUE(HasOtherThreads());
  });
}

}  // namespace
}  // namespace os
