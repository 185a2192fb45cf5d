// What only the kernel's Memory does: real pages, real locks, real children.

#include "os/memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>

#include "os/fault_count.h"
#include "os/limits.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"

namespace os {
namespace {

using Access = Memory::Access;
using Fork = Memory::Fork;

const size_t kPage = RealMemory().page_size();

// Pages that go at the end of a test.
class ScopedPages {
 public:
  explicit ScopedPages(uint64_t count, Access access = Access::kReadWrite,
                       Fork fork = Fork::kInherit, uint64_t alignment = 1) {
    const Result<PageRange> pages =
        RealMemory().Map(PageCount(count), access, fork, PageCount(alignment));
    EXPECT_TRUE(pages.ok()) << pages.error().Name();
    pages_ = *pages;
    (void)madvise(data(), pages_.bytes(kPage), MADV_NOHUGEPAGE);  // pages come one by one
  }
  ScopedPages(const ScopedPages&) = delete;
  ScopedPages& operator=(const ScopedPages&) = delete;
  ~ScopedPages() { EXPECT_EQ(RealMemory().Unmap(pages_), kSuccess); }

  PageRange pages() const { return pages_; }
  PageRange Part(uint64_t begin, uint64_t count) const {
    return PageRange(pages_.begin() + PageCount(begin), PageCount(count));
  }
  char* data() const { return static_cast<char*>(pages_.address(kPage)); }
  char& FirstByte(uint64_t page) const { return data()[page * kPage]; }
  uint64_t Present() const { return RealMemory().CountPresent(pages_)->value(); }

 private:
  PageRange pages_;
};

TEST(RealMemory, PageSizeIsTheKernels) {
  EXPECT_EQ(kPage, static_cast<size_t>(sysconf(_SC_PAGESIZE)));
}

TEST(RealMemory, CountPresentFollowsEveryTouch) {
  const ScopedPages memory(3000);  // more than is read from the kernel in one go
  EXPECT_EQ(memory.Present(), 0u);
  uint64_t touched = 0;
  for (const uint64_t page : {0u, 1u, 1023u, 1024u, 2047u, 2999u}) {
    memory.FirstByte(page) = 1;
    EXPECT_EQ(memory.Present(), ++touched);
    EXPECT_EQ(RealMemory().CountPresent(memory.Part(page, 1))->value(), 1u);
  }
  EXPECT_EQ(madvise(memory.data(), kPage, MADV_DONTNEED), 0);
  EXPECT_EQ(memory.Present(), touched - 1);
}

// What mlock(2) of a private writable mapping will copy needs memory, though it is present.
TEST(RealMemory, PagesThatALockWouldCopyNeedMemory) {
  const ScopedPages memory(8);
  const auto needing = [&] { return RealMemory().CountNeedingMemory(memory.pages())->value(); };
  EXPECT_EQ(needing(), 8u);
  ASSERT_EQ(RealMemory().Populate(memory.Part(0, 6)), kSuccess);
  EXPECT_EQ(memory.Present(), 6u);
  // Where the machine has no zero page, they are the mapping's own by now.
  const uint64_t only_read = test_support::HasZeroPage() ? 4 : 0;
  EXPECT_EQ(needing(), only_read == 0 ? 2u : 8u);
  memory.FirstByte(1) = 1;
  memory.FirstByte(2) = 1;
  EXPECT_EQ(needing(), 2 + only_read);
  // Shared with a child, as long as that lives.
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    char byte = 0;
    (void)!read(ends[0], &byte, 1);
    _exit(0);
  }
  EXPECT_EQ(needing(), 8u);
  memory.FirstByte(2) = 2;
  EXPECT_EQ(needing(), 7u);
  ASSERT_EQ(write(ends[1], "x", 1), 1);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_EQ(needing(), 2 + only_read);
  ASSERT_EQ(mprotect(memory.data(), 8 * kPage, PROT_READ), 0);
  EXPECT_EQ(needing(), 2u) << "what may not be written is not copied";
  close(ends[0]);
  close(ends[1]);
}

TEST(RealMemory, MapAlignsAndTheWholeRangeCanBeUsed) {
  for (const uint64_t alignment : {1u, 2u, 64u, 512u, 4096u}) {
    const ScopedPages memory(33, Access::kReadWrite, Fork::kInherit, alignment);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.data()) % (alignment * kPage), 0u);
    for (size_t i = 0; i < 33 * kPage; ++i) ASSERT_EQ(memory.data()[i], 0);
    std::memset(memory.data(), 0x5a, 33 * kPage);
  }
}

// The size of the address space in bytes, found without allocating.
uint64_t AddressSpaceBytes() {
  char text[100] = {};
  const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  EXPECT_GT(read(file, text, sizeof(text) - 1), 0);
  EXPECT_EQ(close(file), 0);
  return std::strtoull(text, nullptr, 10) * kPage;
}

TEST(RealMemory, MapLeavesNothingBesideTheAlignedRange) {
  const uint64_t before = AddressSpaceBytes();
  {
    const ScopedPages memory(3, Access::kNone, Fork::kOmit, 512);
    EXPECT_EQ(AddressSpaceBytes(), before + 3 * kPage);
  }
  EXPECT_EQ(AddressSpaceBytes(), before);
}

// The sanitizers' runtimes replace mlock() by a function that does nothing.
TEST(RealMemory, LockReachesTheKernel) {
  const ScopedPages memory(8);
  const uint64_t before = *LockedBytes();
  ASSERT_EQ(RealMemory().Lock(memory.Part(1, 6)), kSuccess);
  EXPECT_EQ(*LockedBytes(), before + 6 * kPage);
  ASSERT_EQ(RealMemory().Lock(memory.Part(0, 3)), kSuccess);
  EXPECT_EQ(*LockedBytes(), before + 7 * kPage);
  ASSERT_EQ(RealMemory().Unlock(memory.Part(2, 2)), kSuccess);
  EXPECT_EQ(*LockedBytes(), before + 5 * kPage);
  ASSERT_EQ(RealMemory().Unlock(memory.pages()), kSuccess);
  EXPECT_EQ(*LockedBytes(), before);
}

TEST(RealMemory, AFailedLockIsChargedForThePartBeforeTheHole) {
  const ScopedPages memory(8);
  ASSERT_EQ(RealMemory().Unmap(memory.Part(5, 1)), kSuccess);
  const uint64_t before = *LockedBytes();
  EXPECT_EQ(RealMemory().Lock(memory.pages()), Errno(ENOMEM));
  EXPECT_EQ(*LockedBytes(), before + 5 * kPage);
}

TEST(RealMemory, CheckLockLimitChangesNothing) {
  const uint64_t locked = *LockedBytes();
  for (const uint64_t more : {0u, 1u, 2u, 100u}) {
    EXPECT_EQ(RealMemory().CheckLockLimit(PageCount(more)), kSuccess);
  }
  EXPECT_EQ(*LockedBytes(), locked);
}

// With the privilege there is no limit; without it the limit is that of getrlimit(2).
TEST(RealMemory, CheckLockLimitAgreesWithAnAttempt) {
  const ByteLimit limit = MemlockLimit();
  if (!limit.soft || *limit.soft > (uint64_t{64} << 20)) {
    GTEST_SKIP() << "RLIMIT_MEMLOCK is too high to be exceeded here";
  }
  const uint64_t beyond = *limit.soft / kPage + 1;
  const ScopedPages memory(beyond);
  const Errno predicted = RealMemory().CheckLockLimit(PageCount(beyond));
  EXPECT_EQ(RealMemory().Lock(memory.pages()), predicted) << predicted.Name();
}

TEST(RealMemory, PageOutSparesLockedPages) {
  const ScopedPages memory(16);
  std::memset(memory.data(), 0x5a, 16 * kPage);
  ASSERT_EQ(RealMemory().Lock(memory.Part(4, 8)), kSuccess);
  EXPECT_EQ(RealMemory().PageOut(memory.Part(4, 8)), Errno(EINVAL));
  EXPECT_EQ(RealMemory().PageOut(memory.Part(4, 1)), Errno(EINVAL));
  EXPECT_EQ(RealMemory().PageOut(memory.Part(0, 4)), kSuccess);
  EXPECT_EQ(RealMemory().PageOut(memory.Part(12, 4)), kSuccess);
  EXPECT_EQ(RealMemory().CountPresent(memory.Part(4, 8))->value(), 8u);
  for (size_t i = 0; i < 16 * kPage; ++i) ASSERT_EQ(memory.data()[i], 0x5a);
}

TEST(RealMemory, LockSurvivesWhatHappensBesideIt) {
  const ScopedPages memory(8);
  ASSERT_EQ(RealMemory().Lock(memory.Part(2, 3)), kSuccess);
  EXPECT_EQ(RealMemory().Unlock(memory.Part(0, 2)), kSuccess);
  EXPECT_EQ(RealMemory().Decommit(memory.Part(5, 1)), kSuccess);
  EXPECT_EQ(RealMemory().Unmap(memory.Part(6, 2)), kSuccess);
  EXPECT_EQ(mprotect(&memory.FirstByte(2), kPage, PROT_READ), 0);
  for (uint64_t page = 2; page < 5; ++page) {
    EXPECT_EQ(RealMemory().PageOut(memory.Part(page, 1)), Errno(EINVAL));
  }
}

TEST(RealMemory, LockedPagesDoNotFault) {
  const ScopedPages memory(64);
  ASSERT_EQ(RealMemory().Lock(memory.pages()), kSuccess);
  // The kernel may migrate a page in between: one quiet round of several is evidence enough.
  uint64_t least = UINT64_MAX;
  for (int round = 0; round < 10; ++round) {
    const FaultCount before = FaultCount::OfThisThread();
    for (uint64_t page = 0; page < 64; ++page) {
      *const_cast<volatile char*>(&memory.FirstByte(page)) = 1;
    }
    least = std::min(least, (FaultCount::OfThisThread() - before).total());
  }
  EXPECT_EQ(least, 0u);
}

// Faults of a write to each page; not those of ThreadSanitizer's shadow memory.
__attribute__((no_sanitize("thread"), noinline)) FaultCount FaultsOfWriting(char* data,
                                                                            uint64_t pages) {
  const FaultCount before = FaultCount::OfThisThread();
  for (uint64_t page = 0; page < pages; ++page) {
    *const_cast<volatile char*>(data + page * kPage) = 1;
  }
  return FaultCount::OfThisThread() - before;
}

TEST(RealMemory, PagesPopulatedForWritingDoNotFaultAtTheirFirstWrite) {
  const ScopedPages memory(64);
  ASSERT_EQ(RealMemory().PopulateForWriting(memory.pages()), kSuccess);
  EXPECT_LE(FaultsOfWriting(memory.data(), 64).total(), 8u) << "those of pages that were moved";
}

TEST(RealMemory, PagesThatMayNotBeWrittenAreNotPopulatedForWriting) {
  const ScopedPages memory(2);
  ASSERT_EQ(mprotect(memory.data(), 2 * kPage, PROT_READ), 0);
  EXPECT_EQ(RealMemory().Populate(memory.pages()), kSuccess);
  EXPECT_EQ(RealMemory().PopulateForWriting(memory.pages()), Errno(EINVAL));
}

TEST(RealMemory, PagesOmittedFromForkAreAHoleThereAndTakeNoCopyHere) {
  const ScopedPages memory(64);
  std::memset(memory.data(), 0x5a, 64 * kPage);
  ASSERT_EQ(RealMemory().OmitFromFork(memory.pages()), kSuccess);
  test_support::RunInChild([&] {
    EXPECT_EQ(RealMemory().CheckMapped(memory.pages()), Errno(ENOMEM));
    EXPECT_EQ(RealMemory().CountPresent(memory.pages())->value(), 0u);
  });
  // A child that is still there, so that a copy would have to be made.
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    for (;;) pause();
  }
  const uint64_t faults = FaultsOfWriting(memory.data(), 64).total();
  EXPECT_EQ(kill(child, SIGKILL), 0);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_LE(faults, 8u) << "those of the stack and of the program's own data";
}

// VmFlags of the mapping that begins at an address: of /proc/self/smaps.
std::string FlagsOf(const void* address) {
  std::ifstream smaps("/proc/self/smaps");
  char begin[32];
  (void)std::snprintf(begin, sizeof(begin), "%lx-", reinterpret_cast<unsigned long>(address));
  std::string line;
  while (std::getline(smaps, line) && !line.starts_with(begin)) {
  }
  while (std::getline(smaps, line) && !line.starts_with("VmFlags:")) {
  }
  return line + " ";
}

TEST(RealMemory, PagesOmittedFromDumpsAreMarkedSo) {
  const ScopedPages memory(8);
  ASSERT_EQ(RealMemory().OmitFromDumps(memory.Part(2, 4)), kSuccess);
  EXPECT_NE(FlagsOf(&memory.FirstByte(2)).find(" dd "), std::string::npos);
  EXPECT_EQ(FlagsOf(&memory.FirstByte(6)).find(" dd "), std::string::npos);
}

// In bytes, of the whole process.
uint64_t HugeBytes() {
  std::ifstream rollup("/proc/self/smaps_rollup");
  for (std::string word; rollup >> word;) {
    uint64_t kib = 0;
    if (word == "AnonHugePages:" && rollup >> kib) return kib * 1024;
  }
  return 0;
}

TEST(RealMemory, SmallPagesBecomeHugeOnesWhereTheyAreAskedForAtOnce) {
  const PageCount huge((size_t{2} << 20) / RealMemory().page_size());
  const Result<PageRange> pages =
      RealMemory().Map(huge, Memory::Access::kReadWrite, Memory::Fork::kInherit, huge);
  ASSERT_TRUE(pages.ok());
  ASSERT_EQ(RealMemory().AdviseHugePages(*pages, Memory::HugePages::kForbid), kSuccess);
  const uint64_t before = HugeBytes();
  std::memset(pages->address(RealMemory().page_size()), 1, size_t{2} << 20);
  EXPECT_EQ(HugeBytes(), before);
  ASSERT_EQ(RealMemory().AdviseHugePages(*pages, Memory::HugePages::kAllow), kSuccess);
  const Errno error = RealMemory().AdviseHugePages(*pages, Memory::HugePages::kMakeNow);
  if (error.ok()) {
    EXPECT_EQ(HugeBytes(), before + (size_t{2} << 20));
  } else {
    std::cout << "no huge page can be made here: " << error.Name() << std::endl;
    EXPECT_EQ(HugeBytes(), before);
  }
  EXPECT_EQ(RealMemory().Unmap(*pages), kSuccess);
}

TEST(RealMemory, DecommittedPagesComeBackAsZeros) {
  const ScopedPages memory(4, Access::kNone);
  ASSERT_EQ(RealMemory().Commit(memory.pages()), kSuccess);
  std::memset(memory.data(), 0x5a, 4 * kPage);
  ASSERT_EQ(RealMemory().Lock(memory.Part(1, 1)), kSuccess);
  ASSERT_EQ(RealMemory().Decommit(memory.Part(0, 3)), kSuccess);
  ASSERT_EQ(RealMemory().Commit(memory.Part(0, 3)), kSuccess);
  EXPECT_EQ(memory.Present(), 1u);
  for (size_t i = 0; i < 3 * kPage; ++i) ASSERT_EQ(memory.data()[i], 0);
  EXPECT_EQ(memory.FirstByte(3), 0x5a);
}

// ---- fork(2) ----

TEST(RealMemory, AChildInheritsACopyWipedPagesOrAHole) {
  const ScopedPages copied(2), wiped(2, Access::kReadWrite, Fork::kWipe),
      omitted(2, Access::kReadWrite, Fork::kOmit, 16);
  for (const ScopedPages* memory : {&copied, &wiped, &omitted}) {
    std::memset(memory->data(), 0x5a, 2 * kPage);
  }
  test_support::RunInChild([&] {
    EXPECT_EQ(copied.FirstByte(1), 0x5a);
    EXPECT_EQ(wiped.FirstByte(0), 0);
    EXPECT_EQ(wiped.FirstByte(1), 0);
    const auto mapping = RealMemory().MappingAt(omitted.pages().begin());
    ASSERT_TRUE(mapping.ok()) << mapping.error().Name();
    EXPECT_FALSE(*mapping && (*mapping)->pages.contains(omitted.pages().begin()));
    copied.FirstByte(0) = wiped.FirstByte(0) = 1;  // its own
  });
  for (const ScopedPages* memory : {&copied, &wiped, &omitted}) {
    EXPECT_EQ(memory->FirstByte(0), 0x5a);
    EXPECT_EQ(memory->FirstByte(1), 0x5a);
  }
}

TEST(RealMemory, AChildHoldsNoLocks) {
  const ScopedPages memory(4);
  ASSERT_EQ(RealMemory().Lock(memory.pages()), kSuccess);
  test_support::RunInChild([&] {
    EXPECT_EQ(*LockedBytes(), 0u);
    EXPECT_EQ(RealMemory().PageOut(memory.pages()), kSuccess);
    // What it asks of /proc is about itself, not about its parent.
    EXPECT_EQ(RealMemory().Lock(memory.Part(0, 1)), kSuccess);
    EXPECT_EQ(*LockedBytes(), kPage);
  });
  EXPECT_EQ(RealMemory().PageOut(memory.pages()), Errno(EINVAL));
}

// ---- MappingAt against the text of /proc/self/maps ----

// The line of the mapping that begins at `address`; empty: there is none.
std::string MapsLine(const void* address) {
  std::ifstream maps("/proc/self/maps");
  std::string line;
  while (std::getline(maps, line)) {
    if (std::stoull(line, nullptr, 16) == reinterpret_cast<uintptr_t>(address)) return line;
  }
  return "";
}

// As the kernel would print it, up to the device.
std::string Printed(const Mapping& mapping) {
  char text[100];
  (void)std::snprintf(text, sizeof(text), "%lx-%lx %c%c%c%c %08lx ",
                      mapping.pages.begin().address(kPage), mapping.pages.end().address(kPage),
                      mapping.readable ? 'r' : '-', mapping.writable ? 'w' : '-',
                      mapping.executable ? 'x' : '-', mapping.shared ? 's' : 'p',
                      mapping.file_offset);
  return text;
}

Mapping MappingAt(PageRange pages) { return **RealMemory().MappingAt(pages.begin()); }

TEST(RealMemory, MappingAtAgreesWithTheKernelsList) {
  const ScopedPages memory(8, Access::kNone);
  ASSERT_EQ(RealMemory().Commit(memory.Part(3, 2)), kSuccess);
  ASSERT_EQ(RealMemory().Unmap(memory.Part(5, 1)), kSuccess);

  const Mapping usable = MappingAt(memory.Part(4, 1));  // from its second page
  EXPECT_EQ(MapsLine(&memory.FirstByte(3)).find(Printed(usable)), 0u) << Printed(usable);
  EXPECT_TRUE(usable.accessible());

  const Mapping after_hole = MappingAt(memory.Part(5, 1));
  EXPECT_EQ(after_hole.pages.begin(), memory.Part(6, 1).begin());
  EXPECT_EQ(MapsLine(&memory.FirstByte(6)).find(Printed(after_hole)), 0u) << Printed(after_hole);
  EXPECT_FALSE(after_hole.accessible());
  EXPECT_FALSE(after_hole.file_backed);
  EXPECT_EQ(after_hole.file_path, "");
}

TEST(RealMemory, MappingAtNamesTheFile) {
  const char* directory = std::getenv("TEST_TMPDIR");
  std::string path = std::string(directory != nullptr ? directory : "/tmp") + "/mapping.XXXXXX";
  const int file = mkstemp(path.data());
  ASSERT_GE(file, 0);
  ASSERT_EQ(ftruncate(file, static_cast<off_t>(3 * kPage + 1)), 0);
  void* address =
      mmap(nullptr, 2 * kPage, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, static_cast<off_t>(kPage));
  if (address == MAP_FAILED) {  // mounted noexec
    address = mmap(nullptr, 2 * kPage, PROT_READ, MAP_PRIVATE, file, static_cast<off_t>(kPage));
  }
  ASSERT_NE(address, MAP_FAILED);
  const PageRange pages(PageNumber(reinterpret_cast<uintptr_t>(address) / kPage), PageCount(2));
  const Mapping mapping = MappingAt(pages);
  EXPECT_EQ(mapping.pages, pages);
  EXPECT_EQ(MapsLine(address).find(Printed(mapping)), 0u) << Printed(mapping);
  EXPECT_TRUE(mapping.file_backed);
  EXPECT_EQ(mapping.file_offset, kPage);
  EXPECT_EQ(RealMemory().FileBytes(mapping), 3 * kPage + 1);
  EXPECT_TRUE(MapsLine(address).ends_with(mapping.file_path)) << mapping.file_path;
  EXPECT_TRUE(mapping.file_path.ends_with(path.substr(path.rfind('/'))));
  EXPECT_EQ(unlink(path.c_str()), 0);
  EXPECT_EQ(RealMemory().FileBytes(MappingAt(pages)), 3 * kPage + 1);  // the descriptor can tell
  EXPECT_EQ(close(file), 0);
  EXPECT_EQ(RealMemory().FileBytes(MappingAt(pages)), std::nullopt);  // nobody can tell any more
  EXPECT_EQ(munmap(address, 2 * kPage), 0);
}

}  // namespace
}  // namespace os
