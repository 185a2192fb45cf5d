// Memory that is unmapped, replaced or moved while it is pinned: what the counters and the kernel's
// locks are then. Once told by mpin_forget and mpin_moved, and once seen by the library itself
// (//pinlock:interpose), from code that knows nothing of it.

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "os/memory.h"
#include "pinlock/mpin.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/test_mapping.h"

namespace {

using test_support::KernelEvidence;
using test_support::LockedBytes;
using test_support::PageSize;
using test_support::TestMapping;

#ifdef TEST_OF_INTERPOSING
constexpr bool kInterposed = true;
#else
constexpr bool kInterposed = false;
#endif

// The calls of an application, which tells the library where it does not see by itself.
class Application {
 public:
  static void Unmap(void* address, size_t bytes) {
    ASSERT_EQ(munmap(address, bytes), 0);
    Tell(address, bytes);
  }
  static void MapOver(void* address, size_t bytes) {
    ASSERT_EQ(mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                   -1, 0),
              address);
    Tell(address, bytes);
  }
  static void* Remap(void* address, size_t bytes, size_t new_bytes, int flags,
                     void* new_address = nullptr) {
    void* moved = mremap(address, bytes, new_bytes, flags, new_address);
    if (moved != MAP_FAILED && !kInterposed) {
      EXPECT_EQ(mpin_moved(address, bytes, moved, new_bytes), 0) << mpin_error();
    }
    return moved;
  }
  static void DropContents(void* address, size_t bytes) {
    constexpr int kDontNeedLocked = 24;  // newer than the headers
    ASSERT_EQ(madvise(address, bytes, kDontNeedLocked), 0);
    Tell(address, bytes);
  }

 private:
  static void Tell(void* address, size_t bytes) {
    if (kInterposed) return;
    ASSERT_EQ(mpin_forget(address, bytes), 0) << mpin_error();
  }
};

std::string CountsOf(const void* begin, size_t pages) {
  std::string counts;
  for (size_t page = 0; page < pages; ++page) {
    mpin_info info{};
    EXPECT_EQ(mpin_query(static_cast<const char*>(begin) + page * PageSize(), 1, &info), 0);
    counts += std::to_string(info.count_max);
  }
  return counts;
}

os::PageRange RangeOf(const void* begin, size_t pages) {
  return os::PageRange(os::PageNumber(reinterpret_cast<uintptr_t>(begin) / PageSize()),
                       os::PageCount(pages));
}

// As many characters as pages: whether the kernel holds them locked.
std::string LocksOf(const void* begin, size_t pages) {
  std::string locks;
  const KernelEvidence evidence = KernelEvidence::Of(RangeOf(begin, pages));
  for (size_t page = 0; page < pages; ++page) {
    const os::PageNumber number = RangeOf(begin, pages).begin() + os::PageCount(page);
    locks += evidence.IsLocked(number) ? '1' : '0';
  }
  return locks;
}

class PinlockUnmap : public testing::Test {
 protected:
  static constexpr size_t kPages = 12;

  // Pages 2 to 7 pinned, 4 and 5 of them twice.
  void SetUp() override {
    ASSERT_EQ(mpin(mapping_.page(2), 6 * PageSize()), 0) << mpin_error();
    ASSERT_EQ(mpin(mapping_.page(4), 2 * PageSize()), 0) << mpin_error();
    ASSERT_EQ(CountsOf(mapping_.page(0), kPages), "001122110000");
  }
  void TearDown() override {
    ASSERT_EQ(mpin_forget(mapping_.page(0), kPages * PageSize()), 0) << mpin_error();
    EXPECT_EQ(LockedBytes(), before_);
    mpin_stat stat{};
    ASSERT_EQ(mpin_get_stat(&stat, sizeof(stat)), 0);
    EXPECT_EQ(stat.pages_locked, 0u);
    EXPECT_EQ(stat.pages_residual, 0u);
  }
  std::string Counts() const { return CountsOf(mapping_.page(0), kPages); }
  std::string Locks() const { return LocksOf(mapping_.page(0), kPages); }

  const uint64_t before_ = LockedBytes();
  TestMapping mapping_{kPages};
};

TEST_F(PinlockUnmap, MunmapEndsThePins) {
  Application::Unmap(mapping_.page(3), 2 * PageSize());
  EXPECT_EQ(Counts(), "001002110000");
  EXPECT_EQ(Locks(), "001001110000");
  EXPECT_EQ(munpin(mapping_.page(3), 1), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(mpin(mapping_.page(3), 1), -1);
  EXPECT_EQ(errno, EINVAL);
  mapping_.MapAgain(3, 2);
  EXPECT_EQ(Counts(), "001002110000");
  ASSERT_EQ(mpin(mapping_.page(3), 1), 0) << mpin_error();
  EXPECT_EQ(Locks(), "001101110000") << "a first pin again";
}

TEST_F(PinlockUnmap, AMappingInTheirPlaceIsNotPinned) {
  Application::MapOver(mapping_.page(5), 4 * PageSize());
  EXPECT_EQ(Counts(), "001120000000");
  EXPECT_EQ(Locks(), "001110000000");
}

TEST_F(PinlockUnmap, MremapMovesTheCounts) {
  TestMapping target(kPages);
  void* moved = Application::Remap(mapping_.page(3), 3 * PageSize(), 3 * PageSize(),
                                   MREMAP_MAYMOVE | MREMAP_FIXED, target.page(1));
  ASSERT_EQ(moved, target.page(1)) << std::strerror(errno);
  EXPECT_EQ(CountsOf(target.page(0), kPages), "012200000000");
  EXPECT_EQ(LocksOf(target.page(0), kPages), "011100000000");
  EXPECT_EQ(Counts(), "001000110000");
  ASSERT_EQ(munpin(target.page(2), 2 * PageSize()), 0) << mpin_error();
  ASSERT_EQ(munpin(target.page(1), 3 * PageSize()), 0) << mpin_error();
  EXPECT_EQ(LocksOf(target.page(0), kPages), "000000000000");
}

TEST_F(PinlockUnmap, WhatALockedMappingGrowsByIsNotLocked) {
  // The last mapped page is pinned, and there is room behind it.
  Application::Unmap(mapping_.page(8), 4 * PageSize());
  void* grown = Application::Remap(mapping_.page(6), 2 * PageSize(), 5 * PageSize(), 0);
  ASSERT_EQ(grown, mapping_.page(6)) << std::strerror(errno);
  EXPECT_EQ(Counts(), "001122110000");
  EXPECT_EQ(Locks(), "001111110000");
  std::memset(mapping_.page(8), 1, 3 * PageSize());
}

TEST_F(PinlockUnmap, WhatIsCutOffIsNotPinned) {
  ASSERT_EQ(Application::Remap(mapping_.page(2), 6 * PageSize(), 3 * PageSize(), 0),
            mapping_.page(2))
      << std::strerror(errno);
  EXPECT_EQ(Counts(), "001120000000");
  EXPECT_EQ(Locks(), "001110000000");
}

TEST_F(PinlockUnmap, GrowingWithAMoveTakesTheCountsAlong) {
  TestMapping target(kPages);
  void* moved = Application::Remap(mapping_.page(2), 6 * PageSize(), 8 * PageSize(),
                                   MREMAP_MAYMOVE | MREMAP_FIXED, target.page(3));
  ASSERT_EQ(moved, target.page(3)) << std::strerror(errno);
  EXPECT_EQ(CountsOf(target.page(0), kPages), "000112211000");
  EXPECT_EQ(LocksOf(target.page(0), kPages), "000111111000");
  EXPECT_EQ(Counts(), "000000000000");
  ASSERT_EQ(mpin_forget(target.page(0), kPages * PageSize()), 0);
}

TEST_F(PinlockUnmap, AMoveOntoPinnedMemoryReplacesIt) {
  TestMapping source(3);
  ASSERT_EQ(mpin(source.page(0), PageSize()), 0);
  void* moved = Application::Remap(source.page(0), PageSize(), PageSize(),
                                   MREMAP_MAYMOVE | MREMAP_FIXED, mapping_.page(5));
  ASSERT_EQ(moved, mapping_.page(5)) << std::strerror(errno);
  EXPECT_EQ(Counts(), "001121110000");
  EXPECT_EQ(Locks(), "001111110000");
}

TEST_F(PinlockUnmap, ContentsThatAreDroppedAreUnpinned) {
  Application::DropContents(mapping_.page(4), 3 * PageSize());
  EXPECT_EQ(Counts(), "001100010000");
  EXPECT_EQ(Locks(), "001100010000");
}

// Over a hole the kernel says ENOMEM, and has dropped what is not the hole.
TEST_F(PinlockUnmap, ContentsThatAreDroppedAroundAHoleAreUnpinned) {
  Application::Unmap(mapping_.page(5), PageSize());
  constexpr int kDontNeedLocked = 24;
  EXPECT_EQ(madvise(mapping_.page(4), 3 * PageSize(), kDontNeedLocked), -1);
  EXPECT_EQ(errno, ENOMEM);
  ASSERT_TRUE(kInterposed || mpin_forget(mapping_.page(4), 3 * PageSize()) == 0) << mpin_error();
  EXPECT_EQ(Counts(), "001100010000");
  EXPECT_EQ(Locks(), "001100010000");
}

TEST_F(PinlockUnmap, ACallThatFailsChangesNothing) {
  if (!kInterposed) return;  // nobody tells of a call that failed
  EXPECT_EQ(munmap(mapping_.page(2) + 1, PageSize()), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(mremap(mapping_.page(2), PageSize(), 0, 0), MAP_FAILED);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(mmap(mapping_.page(2), PageSize(), PROT_READ, MAP_PRIVATE | MAP_FIXED, 9999, 0),
            MAP_FAILED);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(madvise(mapping_.page(2), PageSize(), MADV_DONTNEED), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(Counts(), "001122110000");
  EXPECT_EQ(Locks(), "001111110000");
}

TEST_F(PinlockUnmap, OtherMemoryIsNotTouched) {
  TestMapping other(4);
  ASSERT_EQ(mpin(other.page(1), PageSize()), 0);
  Application::Unmap(mapping_.page(0), kPages * PageSize());
  EXPECT_EQ(CountsOf(other.page(0), 4), "0100");
  EXPECT_EQ(LocksOf(other.page(0), 4), "0100");
  ASSERT_EQ(munpin(other.page(1), PageSize()), 0);
  mapping_.MapAgain(0, kPages);
}

TEST_F(PinlockUnmap, HugeRangesMoveToo) {
  // 6 MiB and a little, pinned as a whole, moved to where it is not aligned in the same way.
  const size_t pages = 3 * 512 + 7;
  TestMapping source(pages), target(pages + 600);
  ASSERT_EQ(mpin(source.page(0), pages * PageSize()), 0) << mpin_error();
  void* moved = Application::Remap(source.page(0), pages * PageSize(), pages * PageSize(),
                                   MREMAP_MAYMOVE | MREMAP_FIXED, target.page(300));
  ASSERT_EQ(moved, target.page(300)) << std::strerror(errno);
  mpin_info info{};
  ASSERT_EQ(mpin_query(target.page(300), pages * PageSize(), &info), 0);
  EXPECT_EQ(info.count_min, 1u);
  EXPECT_EQ(info.pages_resident, pages);
  ASSERT_EQ(mpin_query(source.page(0), pages * PageSize(), &info), 0);
  EXPECT_EQ(info.count_max, 0u);
  ASSERT_EQ(munpin(target.page(300), pages * PageSize()), 0) << mpin_error();
}

// Where the kernel chooses the place: in place, if there is room, and elsewhere.
TEST_F(PinlockUnmap, GrowingWithoutAnAddressTakesTheCountsAlong) {
  TestMapping source(600);
  ASSERT_EQ(mpin(source.page(0), 600 * PageSize()), 0) << mpin_error();
  void* moved =
      Application::Remap(source.page(0), 600 * PageSize(), 1500 * PageSize(), MREMAP_MAYMOVE);
  ASSERT_NE(moved, MAP_FAILED) << std::strerror(errno);
  mpin_info info{};
  ASSERT_EQ(mpin_query(moved, 1500 * PageSize(), &info), 0);
  EXPECT_EQ(info.pages_locked, 600u);
  EXPECT_EQ(LocksOf(moved, 1500), std::string(600, '1') + std::string(900, '0'));
  ASSERT_EQ(munpin(moved, 600 * PageSize()), 0) << mpin_error();
  Application::Unmap(moved, 1500 * PageSize());
  if (moved != source.page(0)) source.MapAgain(0, 600);
}

// The table is as large as what is pinned, not as what is moved.
TEST_F(PinlockUnmap, MovingAHugeReservationTakesNoMemory) {
  constexpr size_t kBytes = size_t{64} << 30;
  // Past the sanitizers, which keep a record of what is mapped.
  const long mapped = syscall(SYS_mmap, nullptr, kBytes, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(mapped, -1) << std::strerror(errno);
  void* reserved = reinterpret_cast<void*>(mapped);
  const uint64_t resident = test_support::ResidentBytes();
  void* moved = Application::Remap(reserved, kBytes, kBytes + PageSize(), MREMAP_MAYMOVE);
  ASSERT_NE(moved, MAP_FAILED) << std::strerror(errno);
  EXPECT_LE(test_support::ResidentBytes(), resident + 4 * 1024 * 1024);
  ASSERT_EQ(syscall(SYS_munmap, moved, kBytes + PageSize()), 0);
}

#ifdef TEST_OF_INTERPOSING
// A handler that interrupts a call of the library does not wait for what it has interrupted.
TEST_F(PinlockUnmap, ASignalHandlerMayUnmap) {
  static std::atomic<int> handled{0};
  struct sigaction action {};
  action.sa_handler = [](int) {
    const int saved = errno;
    void* mapped = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped != MAP_FAILED && munmap(mapped, 4096) == 0) handled.fetch_add(1);
    errno = saved;
  };
  struct sigaction old {};
  ASSERT_EQ(sigaction(SIGALRM, &action, &old), 0);
  const itimerval often{{0, 200}, {0, 200}}, never{};
  ASSERT_EQ(setitimer(ITIMER_REAL, &often, nullptr), 0);
  while (handled.load() < 2000) {
    EXPECT_EQ(mpin(mapping_.page(8), 2 * PageSize()), 0);
    EXPECT_EQ(mpin(mapping_.page(4), PageSize()), 0);
    EXPECT_EQ(munpin(mapping_.page(4), PageSize()), 0);
    EXPECT_EQ(munpin(mapping_.page(8), 2 * PageSize()), 0);
  }
  ASSERT_EQ(setitimer(ITIMER_REAL, &never, nullptr), 0);
  ASSERT_EQ(sigaction(SIGALRM, &old, nullptr), 0);
}
#endif

TEST(PinlockMoved, RefusesRangesThatOverlapOrWrap) {
  TestMapping mapping(8);
  ASSERT_EQ(mpin(mapping.page(0), 4 * PageSize()), 0);
  EXPECT_EQ(mpin_moved(mapping.page(0), 4 * PageSize(), mapping.page(1), 4 * PageSize()), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_NE(std::string(mpin_error()).find("overlap"), std::string::npos) << mpin_error();
  EXPECT_EQ(mpin_moved(mapping.page(0), SIZE_MAX, mapping.page(1), PageSize()), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(mpin_moved(mapping.page(0), PageSize(), mapping.page(5), SIZE_MAX), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(CountsOf(mapping.page(0), 8), "11110000");
  ASSERT_EQ(munpin(mapping.page(0), 4 * PageSize()), 0);
}

}  // namespace
