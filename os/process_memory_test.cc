#include "os/process_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "os/descriptor.h"
#include "os/fake_tree.h"

namespace os {
namespace {

TEST(ProcessMemory, ReadsWhatTheKernelSays) {
  testing::FakeTree tree;
  tree.Write(
      "/proc/77/status",
      "Name:\tx\nVmLck:\t    1024 kB\nVmRSS:\t     2048 kB\nVmSwap:\t       4 kB\nThreads:\t3\n");
  tree.Write("/proc/77/stat",
             "77 (a) b (c) S 1 77 77 0 -1 4194304 123 9 45 9 1 2 0 0 20 0 3 0 1\n");
  const Result<ProcessMemory> memory = ProcessMemory::Of(77, tree.proc());
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ(memory->name, "a) b (c");
  EXPECT_EQ(memory->locked_bytes, 1u << 20);
  EXPECT_EQ(memory->resident_bytes, 2u << 20);
  EXPECT_EQ(memory->swapped_bytes, 4096u);
  EXPECT_EQ(memory->minor_faults, 123u);
  EXPECT_EQ(memory->major_faults, 45u);
  EXPECT_EQ(memory->threads, 3u);
}

TEST(ProcessMemory, OfAKernelThreadIsNothing) {
  testing::FakeTree tree;
  tree.Write("/proc/2/status", "Name:\tkthreadd\nThreads:\t1\n");
  tree.Write("/proc/2/stat", "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0\n");
  const Result<ProcessMemory> memory = ProcessMemory::Of(2, tree.proc());
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ(memory->resident_bytes, 0u);
}

TEST(ProcessMemory, OfNoProcessIsAnError) {
  const testing::FakeTree tree;
  EXPECT_EQ(ProcessMemory::Of(77, tree.proc()).error(), Errno(ENOENT));
  EXPECT_EQ(FindFileMapping(77, "/x", tree.proc()).error(), Errno(ENOENT));
  EXPECT_EQ(PresentPages(0, 0, 1).error(), Errno(ENOENT));
}

TEST(ProcessMemory, OfThisProcessCountsItsFaults) {
  const Result<ProcessMemory> before = ProcessMemory::Of(getpid());
  ASSERT_TRUE(before.ok());
  EXPECT_GT(before->resident_bytes, 0u);
  EXPECT_GE(before->threads, 1u);
  constexpr size_t kBytes = 64 * 4096;
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  (void)madvise(memory, kBytes, MADV_NOHUGEPAGE);
  std::memset(memory, 1, kBytes);
  const Result<ProcessMemory> after = ProcessMemory::Of(getpid());
  ASSERT_TRUE(after.ok());
  EXPECT_GE(after->minor_faults, before->minor_faults + 64);
  munmap(memory, kBytes);
}

TEST(FindFileMapping, TellsWhereTheFileBegins) {
  testing::FakeTree tree;
  tree.Write(
      "/proc/77/maps",
      "7f0000000000-7f0000001000 rw-s 00000000 00:01 5                  /dev/shm/other\n"
      "7f0000200000-7f0000300000 rw-s 00100000 00:01 6                  /dev/shm/mpool.0.1\n");
  const auto found = FindFileMapping(77, "/dev/shm/mpool.0.1", tree.proc());
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(*found, 0x7f0000100000u);
  const auto none = FindFileMapping(77, "/dev/shm/mpool.0", tree.proc());
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(*none, std::nullopt);
}

TEST(PresentPages, AreThoseThatWereTouched) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  char* memory = static_cast<char*>(
      mmap(nullptr, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(memory, MAP_FAILED);
  (void)madvise(memory, 4 * page, MADV_NOHUGEPAGE);
  memory[page] = 1;
  memory[3 * page] = 1;
  const auto present = PresentPages(getpid(), reinterpret_cast<uintptr_t>(memory), 4);
  ASSERT_TRUE(present.ok());
  EXPECT_EQ(*present, (std::vector<bool>{false, true, false, true}));
  munmap(memory, 4 * page);
}

}  // namespace
}  // namespace os
