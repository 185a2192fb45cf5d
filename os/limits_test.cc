#include "os/limits.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>

#include "os/memory.h"
#include "tests/support/child.h"

namespace os {
namespace {

Memory& memory() { return RealMemory(); }

PageRange Map(uint64_t count) {
  return *memory().Map(PageCount(count), Memory::Access::kReadWrite, Memory::Fork::kInherit);
}

TEST(MemlockLimit, AgreesWithGetrlimit) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
  const ByteLimit ours = MemlockLimit();
  EXPECT_EQ(ours.soft.value_or(RLIM_INFINITY), limit.rlim_cur);
  EXPECT_EQ(ours.hard.value_or(RLIM_INFINITY), limit.rlim_max);
}

// In bytes: /proc/self/limits prints them, "Max locked memory  SOFT  HARD  bytes".
TEST(MemlockLimit, AgreesWithProc) {
  std::ifstream limits("/proc/self/limits");
  const std::string key = "Max locked memory";
  std::string line;
  while (std::getline(limits, line) && !line.starts_with(key)) {
  }
  ASSERT_TRUE(line.starts_with(key));
  const std::optional<uint64_t> soft = MemlockLimit().soft;
  const std::string expected = soft ? std::to_string(*soft) : "unlimited";
  const size_t begin = line.find_first_not_of(' ', key.size());
  EXPECT_EQ(line.substr(begin, expected.size() + 1), expected + " ");
}

TEST(MemlockLimit, IsReadAnew) {
  test_support::RunInChild([] {
    rlimit limit{};
    ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
    for (const rlim_t bytes : {12345u, 0u}) {
      limit.rlim_cur = bytes;
      ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0) << Errno::Last().Name();
      EXPECT_EQ(MemlockLimit().soft, bytes);
    }
  });
}

TEST(LockedBytes, GrowsByExactlyWhatIsLocked) {
  const size_t page = memory().page_size();
  const PageRange pages = Map(10);
  const uint64_t before = *LockedBytes();
  for (uint64_t count = 1; count <= 10; ++count) {
    ASSERT_EQ(memory().Lock(PageRange(pages.begin(), PageCount(count))), kSuccess);
    EXPECT_EQ(*LockedBytes(), before + count * page);
  }
  ASSERT_EQ(memory().Unlock(PageRange(pages.begin(), PageCount(4))), kSuccess);
  EXPECT_EQ(*LockedBytes(), before + 6 * page);
  ASSERT_EQ(memory().Unmap(pages), kSuccess);
  EXPECT_EQ(*LockedBytes(), before);
}

TEST(LockedBytes, IsZeroInANewChild) {
  const PageRange pages = Map(1);
  ASSERT_EQ(memory().Lock(pages), kSuccess);
  test_support::RunInChild([] { EXPECT_EQ(*LockedBytes(), 0u); });
  ASSERT_EQ(memory().Unmap(pages), kSuccess);
}

TEST(ClaimsLockCapability, IsGoneOnceDropped) {
  ASSERT_TRUE(ClaimsLockCapability().ok());
  test_support::RunInChild({.drop_privilege = true}, [] { EXPECT_FALSE(*ClaimsLockCapability()); });
}

// Who holds the capability where it is worth something has no limit; the reverse need not be true.
TEST(ClaimsLockCapability, IsWorthSomethingInTheInitialNamespaceAlone) {
  test_support::RunInChild({.memlock_bytes = 0}, [] {
    const bool claimed = *ClaimsLockCapability();
    const bool allowed = memory().CheckLockLimit(PageCount(1)).ok();
    if (claimed && *InInitialUserNamespace()) {
      EXPECT_TRUE(allowed);
    }
    if (!claimed) {
      EXPECT_FALSE(allowed);
    }
  });
}

TEST(MaxMappings, IsWhatTheKernelSays) {
  std::ifstream file("/proc/sys/vm/max_map_count");
  uint64_t expected = 0;
  ASSERT_TRUE(file >> expected);
  EXPECT_EQ(*MaxMappings(), expected);
}

// Lines of /proc/self/maps, but for that of the kernel's own page; found without allocating.
uint64_t CountLines() {
  static char text[1 << 20];
  const int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  size_t size = 0;
  ssize_t bytes = 0;
  while ((bytes = read(file, text + size, sizeof(text) - size)) > 0) {
    size += static_cast<size_t>(bytes);
  }
  (void)close(file);
  const std::string_view lines(text, size);
  const bool kernels_own = lines.find("[vsyscall]") != std::string_view::npos;
  return static_cast<uint64_t>(std::count(lines.begin(), lines.end(), '\n')) - kernels_own;
}

TEST(CountMappings, CountsWhatTheKernelLists) {
  const uint64_t before = CountLines();
  const uint64_t count = *CountMappings();
  EXPECT_LE(before, count);
  EXPECT_LE(count, CountLines());  // the sanitizers map memory on the way
}

TEST(CountMappings, CountsASplitMapping) {
  const PageRange pages = Map(3);
  const uint64_t whole = *CountMappings();
  ASSERT_EQ(memory().Lock(PageRange(pages.begin() + PageCount(1), PageCount(1))), kSuccess);
  EXPECT_GE(*CountMappings(), whole + 2);
  ASSERT_EQ(memory().Unmap(pages), kSuccess);
}

TEST(PhysicalMemoryBytes, AgreesWithSysinfo) {
  struct sysinfo info {};
  ASSERT_EQ(sysinfo(&info), 0);
  EXPECT_EQ(PhysicalMemoryBytes(), uint64_t{info.totalram} * info.mem_unit);
}

TEST(InInitialUserNamespace, IsFalseInANewOne) {
  test_support::RunInChild({.namespaces = CLONE_NEWUSER},
                           [] { EXPECT_FALSE(*InInitialUserNamespace()); });
}

TEST(RealLimits, AreThoseOfTheFunctions) {
  Limits& limits = RealLimits();
  EXPECT_EQ(&limits, &RealLimits());
  EXPECT_EQ(limits.Memlock().soft, MemlockLimit().soft);
  EXPECT_EQ(limits.Memlock().hard, MemlockLimit().hard);
  const PageRange pages = Map(3);
  const uint64_t before = limits.LockedBytes();
  ASSERT_EQ(memory().Lock(pages), kSuccess);
  EXPECT_EQ(limits.LockedBytes(), before + 3 * memory().page_size());
  ASSERT_EQ(memory().Unmap(pages), kSuccess);
  EXPECT_NE(limits.ReadHeadroom().bound, Headroom::Bound::kNone);
}

TEST(RealLimits, RssIsReadAnew) {
  test_support::RunInChild([] {
    rlimit limit{};
    ASSERT_EQ(getrlimit(RLIMIT_RSS, &limit), 0);
    EXPECT_EQ(RealLimits().Rss().value_or(RLIM_INFINITY), limit.rlim_cur);
    limit.rlim_cur = 12345;
    ASSERT_EQ(setrlimit(RLIMIT_RSS, &limit), 0) << Errno::Last().Name();
    EXPECT_EQ(RealLimits().Rss(), 12345u);
  });
}

}  // namespace
}  // namespace os
