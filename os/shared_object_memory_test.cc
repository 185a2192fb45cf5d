// The bytes of an object, and mappings of it.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <string>

#include "os/shared_object.h"
#include "os/shared_object_fixture.h"
#include "tests/support/child.h"
#include "tests/support/small_disk.h"

namespace {
// How often fallocate(2) answers EINTR to a thread that does not block signals.
int interruptions = 0;
}  // namespace

// The C library's, or a kernel's before Linux 6.11 in a process that gets signals all the time.
extern "C" int fallocate(int file, int mode, off_t offset, off_t bytes) {
  sigset_t blocked;
  if (interruptions > 0 && pthread_sigmask(SIG_SETMASK, nullptr, &blocked) == 0 &&
      sigismember(&blocked, SIGALRM) == 0) {
    --interruptions;
    errno = EINTR;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fallocate, file, mode, offset, bytes));
}

namespace os {
namespace {

using test_support::DiskKind;
using test_support::OnSmallDisk;
using test_support::RunInChild;
using test_support::SmallDisk;

// --- Its bytes

using SharedObjectBytes = SharedObjectTest;

TEST_F(SharedObjectBytes, AreZerosWithoutMemoryAtFirst) {
  const SharedObject object = Make();
  EXPECT_EQ(object.Resize(64 * kPage), kSuccess);
  EXPECT_EQ(*object.Size(), 64 * kPage);
  EXPECT_EQ(object.Blocks(), 0u);
  EXPECT_EQ(Read(object, 63 * kPage, 3), std::string(3, '\0'));
}

TEST_F(SharedObjectBytes, AreReadAsFarAsTheyGo) {
  const SharedObject object = Make();
  ASSERT_EQ(Write(object, "0123456789", 0), kSuccess);
  EXPECT_EQ(Read(object, 2, 3), "234");
  EXPECT_EQ(Read(object, 8, 5), "89");
  EXPECT_EQ(Read(object, 10, 5), "");
  EXPECT_EQ(lseek(object.descriptor(), 0, SEEK_CUR), 0);
}

TEST_F(SharedObjectBytes, GetMemoryWhereItIsAskedFor) {
  const SharedObject object = Make();
  ASSERT_EQ(object.Resize(64 * kPage), kSuccess);
  EXPECT_EQ(object.Allocate(16 * kPage, 8 * kPage), kSuccess);
  EXPECT_EQ(*object.Size(), 64 * kPage);
  const uint64_t blocks = object.Blocks();
  EXPECT_GE(blocks * 512, 8 * kPage);
  EXPECT_LT(blocks * 512, 64 * kPage);
  EXPECT_EQ(object.Allocate(16 * kPage, 8 * kPage), kSuccess) << "they have it";
  EXPECT_EQ(object.Blocks(), blocks);
}

TEST_F(SharedObjectBytes, AreGoneOnceThereWereNone) {
  const SharedObject object = Make();
  ASSERT_EQ(object.Resize(8 * kPage), kSuccess);
  ASSERT_EQ(object.Allocate(0, 8 * kPage), kSuccess);
  ASSERT_EQ(Write(object, "text", kPage), kSuccess);
  EXPECT_EQ(object.Resize(0), kSuccess);
  EXPECT_EQ(*object.Size(), 0u);
  EXPECT_EQ(object.Blocks(), 0u);
  EXPECT_EQ(object.Resize(8 * kPage), kSuccess);
  EXPECT_EQ(Read(object, kPage, 4), std::string(4, '\0'));
}

TEST_F(SharedObjectBytes, KeepTheirContentsWhenThereAreMore) {
  const SharedObject object = Make();
  ASSERT_EQ(Write(object, "text", 0), kSuccess);
  EXPECT_EQ(object.Resize(8 * kPage), kSuccess);
  EXPECT_EQ(object.Allocate(0, 8 * kPage), kSuccess);
  EXPECT_EQ(Read(object, 0, 5), std::string("text\0", 5));
}

TEST_F(SharedObjectBytes, CannotBeAnyNumber) {
  const SharedObject object = Make();
  EXPECT_EQ(object.Resize(UINT64_MAX), Errno(EINVAL));
  EXPECT_EQ(object.Allocate(0, 0), Errno(EINVAL));
  EXPECT_EQ(object.Allocate(UINT64_MAX, 1), Errno(EINVAL));
  EXPECT_EQ(*object.Size(), 0u);
}

// A timer's signals may come faster than the memory.
TEST_F(SharedObjectBytes, GetMemoryInAProcessThatIsInterruptedAllTheTime) {
  const SharedObject object = Make();
  ASSERT_EQ(object.Resize(8 * kPage), kSuccess);
  interruptions = 1000;
  EXPECT_EQ(object.Allocate(0, 8 * kPage), kSuccess);
  EXPECT_EQ(interruptions, 999) << "it did not go on as before";
  interruptions = 0;
  EXPECT_GE(object.Blocks() * 512, 8 * kPage);
  sigset_t blocked;
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &blocked), 0);
  EXPECT_EQ(sigismember(&blocked, SIGALRM), 0) << "signals are as they were";
}

TEST(SharedObjectOnAFullDisk, GetsNoMemoryOrAll) {
  OnSmallDisk(DiskKind::kTmpfs, [](SmallDisk& disk) {
    const Result<SharedObject> object = SharedObject::Create(disk.directory(), "object");
    ASSERT_TRUE(object.ok()) << object.error().Name();
    ASSERT_EQ(object->Resize(64 * kPage), kSuccess);
    disk.LeaveBlocks(8);
    const uint64_t free = disk.free_blocks();
    EXPECT_EQ(object->Allocate(0, 64 * kPage), Errno(ENOSPC));
    EXPECT_EQ(object->Blocks(), 0u);
    EXPECT_EQ(disk.free_blocks(), free);
    EXPECT_EQ(object->Allocate(kPage, 4 * kPage), kSuccess);
    disk.LeaveBlocks(0);
    // No SIGBUS: they have it.
    const Result<void*> mapped = object->Map(64 * kPage, kPage);
    ASSERT_TRUE(mapped.ok());
    std::memset(static_cast<char*>(*mapped) + kPage, 'x', 4 * kPage);
    SharedObject::Unmap(*mapped, 64 * kPage);
    EXPECT_EQ(Read(*object, 5 * kPage - 1, 2), std::string("x\0", 2));
  });
}

// --- Mappings

using SharedObjectMapping = SharedObjectTest;

// Address space of this process, in bytes.
int64_t AddressSpace() {
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<int64_t>(kPage);
}

// How a child ends that runs this.
int StatusOfChild(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none{0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    for (const int fault : {SIGSEGV, SIGBUS}) (void)signal(fault, SIG_DFL);  // not a sanitizer's
    (void)alarm(60);
    body();
    for (;;) syscall(SYS_exit_group, 0);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

TEST_F(SharedObjectMapping, BeginsAtAMultipleOfTheAlignment) {
  const SharedObject object = Make();
  ASSERT_EQ(object.Resize(2 * kPage), kSuccess);
  for (const uint64_t alignment : {uint64_t{1}, kPage, 16 * kPage, uint64_t{1} << 21}) {
    for (int round = 0; round < 3; ++round) {
      const Result<void*> mapped = object.Map(2 * kPage, alignment);
      ASSERT_TRUE(mapped.ok()) << mapped.error().Name();
      EXPECT_EQ(reinterpret_cast<uintptr_t>(*mapped) % alignment, 0u) << alignment;
      std::memset(*mapped, 'a' + round, 2 * kPage);
      EXPECT_EQ(Read(object, 2 * kPage - 1, 2), std::string(1, static_cast<char>('a' + round)));
      SharedObject::Unmap(*mapped, 2 * kPage);
    }
  }
}

TEST_F(SharedObjectMapping, IsSharedWithOthers) {
  const SharedObject object = Make(), again = Again();
  ASSERT_EQ(object.Resize(kPage), kSuccess);
  const Result<void*> first = object.Map(kPage, kPage), second = again.Map(kPage, kPage);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_NE(*first, *second);
  std::strcpy(static_cast<char*>(*first), "text");
  EXPECT_STREQ(static_cast<const char*>(*second), "text");
  RunInChild([&] {
    const Result<void*> third = Again().Map(kPage, kPage);
    ASSERT_TRUE(third.ok());
    EXPECT_STREQ(static_cast<const char*>(*third), "text");
    std::strcpy(static_cast<char*>(*third), "answer");
  });
  EXPECT_STREQ(static_cast<const char*>(*first), "answer");
  SharedObject::Unmap(*first, kPage);
  SharedObject::Unmap(*second, kPage);
}

TEST_F(SharedObjectMapping, OutlivesItsObject) {
  std::optional<SharedObject> object = Make();
  ASSERT_EQ(object->Resize(kPage), kSuccess);
  const Result<void*> mapped = object->Map(kPage, kPage);
  ASSERT_TRUE(mapped.ok());
  object.reset();
  std::strcpy(static_cast<char*>(*mapped), "text");
  EXPECT_EQ(Read(Again(), 0, 4), "text");
  SharedObject::Unmap(*mapped, kPage);
}

TEST_F(SharedObjectMapping, IsNotInheritedByAForkedChild) {
  const SharedObject object = Make();
  ASSERT_EQ(object.Resize(kPage), kSuccess);
  const Result<void*> mapped = object.Map(kPage, kPage);
  ASSERT_TRUE(mapped.ok());
  auto* const byte = static_cast<volatile char*>(*mapped);
  *byte = 'x';
  const int status = StatusOfChild([byte] { *byte = 'y'; });
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) << status;
  EXPECT_EQ(*byte, 'x');
  SharedObject::Unmap(*mapped, kPage);
}

TEST_F(SharedObjectMapping, IsGoneOnceUnmapped) {
  const SharedObject object = Make();
  ASSERT_EQ(object.Resize(2 * kPage), kSuccess);
  const Result<void*> mapped = object.Map(2 * kPage, kPage);
  ASSERT_TRUE(mapped.ok());
  SharedObject::Unmap(*mapped, 2 * kPage);
  EXPECT_EQ(msync(*mapped, kPage, MS_ASYNC), -1);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_EQ(msync(static_cast<char*>(*mapped) + kPage, kPage, MS_ASYNC), -1);
  EXPECT_EQ(errno, ENOMEM);
}

// To be aligned it takes more than it needs, and must give that back: here 4 GiB, were it kept.
TEST_F(SharedObjectMapping, TakesNoMoreAddressSpaceThanItNeeds) {
  constexpr uint64_t kAlignment = uint64_t{64} << 20;
  const SharedObject object = Make();
  ASSERT_EQ(object.Resize(2 * kPage), kSuccess);
  for (const uint64_t bytes : {2 * kPage, kPage + 1, uint64_t{0}}) {
    const int64_t before = AddressSpace();
    for (int round = 0; round < 64; ++round) {
      const Result<void*> mapped = object.Map(bytes, kAlignment);
      EXPECT_EQ(mapped.error(), bytes == 0 ? Errno(EINVAL) : kSuccess);
      if (mapped.ok()) SharedObject::Unmap(*mapped, bytes);
    }
    EXPECT_LT(AddressSpace() - before, int64_t{1} << 30) << bytes;
  }
}

TEST_F(SharedObjectMapping, NeedsAddressSpace) {
  const SharedObject object = Make();
  EXPECT_EQ(object.Map(uint64_t{1} << 60, kPage).error(), Errno(ENOMEM));
  EXPECT_EQ(object.Map(UINT64_MAX - kPage, 2 * kPage).error(), Errno(ENOMEM));
}

}  // namespace
}  // namespace os
