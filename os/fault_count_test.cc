#include "os/fault_count.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <future>
#include <thread>

#include "os/memory.h"

namespace os {
namespace {

// Fresh pages, and touching them.
class FaultCountTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kPages = 64;

  FaultCountTest()
      : pages_(*RealMemory().Map(PageCount(kPages), Memory::Access::kReadWrite,
                                 Memory::Fork::kInherit)) {
    (void)madvise(pages_.address(page_size_), pages_.bytes(page_size_), MADV_NOHUGEPAGE);
  }
  ~FaultCountTest() override { EXPECT_EQ(RealMemory().Unmap(pages_), kSuccess); }

  // The faults of writing to every page.
  FaultCount Touch() {
    volatile char* data = static_cast<volatile char*>(pages_.address(page_size_));
    const FaultCount before = FaultCount::OfThisThread();
    for (uint64_t page = 0; page < kPages; ++page) data[page * page_size_] = 1;
    return FaultCount::OfThisThread() - before;
  }

  const size_t page_size_ = RealMemory().page_size();
  const PageRange pages_;
};

TEST_F(FaultCountTest, FirstTouchesFaultOnceAPage) {
  const FaultCount faults = Touch();
  EXPECT_GE(faults.minor, kPages);  // a sanitizer's own pages come on top
  EXPECT_EQ(faults.total(), faults.minor + faults.major);
}

TEST_F(FaultCountTest, SecondTouchesDoNotFault) {
  (void)Touch();
  uint64_t least = UINT64_MAX;  // the kernel may migrate a page in between
  for (int round = 0; round < 10; ++round) least = std::min(least, Touch().total());
  EXPECT_EQ(least, 0u);
}

TEST_F(FaultCountTest, FaultsOfOtherThreadsDoNotCount) {
  std::promise<void> start;
  std::promise<uint64_t> touched;
  std::thread toucher([&] {
    start.get_future().wait();
    touched.set_value(Touch().total());
  });
  const FaultCount before = FaultCount::OfThisThread();
  start.set_value();
  const uint64_t theirs = touched.get_future().get();
  const FaultCount ours = FaultCount::OfThisThread() - before;
  toucher.join();
  EXPECT_GE(theirs, kPages);
  EXPECT_LT(ours.total(), kPages);  // the signalling may cost a few
}

TEST(FaultCount, SubtractsFieldByField) {
  const FaultCount difference = FaultCount{10, 4} - FaultCount{3, 1};
  EXPECT_EQ(difference, (FaultCount{7, 3}));
  EXPECT_EQ(difference.total(), 10u);
}

}  // namespace
}  // namespace os
