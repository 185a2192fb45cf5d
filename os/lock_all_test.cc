#include "os/lock_all.h"

#include <cstddef>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "os/limits.h"
#include "os/memory.h"
#include "tests/support/child.h"

namespace os {
namespace {

TEST(LockAllPresentMappings, LocksWhatIsMappedAndNotWhatIsMappedLater) {
  test_support::RunInChild([] {
    const Result<PageRange> before =
        RealMemory().Map(PageCount(1), Memory::Access::kReadWrite, Memory::Fork::kInherit);
    ASSERT_TRUE(before.ok());
    const Errno error = LockAllPresentMappings();
    if (!error.ok()) GTEST_SKIP() << "the lock limit does not allow it: " << error.Name();
    const Result<PageRange> after =
        RealMemory().Map(PageCount(1), Memory::Access::kReadWrite, Memory::Fork::kInherit);
    ASSERT_TRUE(after.ok());
    EXPECT_TRUE(*RealMemory().AllLocked(*before));
    EXPECT_FALSE(*RealMemory().AllLocked(*after));
  });
}

TEST(LockAllPresentMappings, LocksTheHeapThatIsAllocatedNext) {
  test_support::RunInChild([] {
    const Errno error = LockAllPresentMappings(4 << 20);
    if (!error.ok()) GTEST_SKIP() << "the lock limit does not allow it: " << error.Name();
    for (int i = 0; i < 30; ++i) {
      const auto block = std::make_unique<std::byte[]>(100'000);
      const Result<PageRange> pages = PageRange::Covering(reinterpret_cast<uintptr_t>(block.get()),
                                                          100'000, RealMemory().page_size());
      ASSERT_TRUE(pages.ok());
      EXPECT_TRUE(*RealMemory().AllLocked(*pages)) << i;
      static std::vector<std::unique_ptr<std::byte[]>> kept;
      kept.push_back(std::make_unique<std::byte[]>(1000));
    }
  });
}

TEST(LockAllPresentMappings, BeyondTheLimitItLocksNothing) {
  test_support::RunInChild(test_support::Limited(65536), [] {
    EXPECT_EQ(LockAllPresentMappings(), Errno(ENOMEM));
    EXPECT_EQ(*LockedBytes(), 0u);
  });
}

}  // namespace
}  // namespace os
