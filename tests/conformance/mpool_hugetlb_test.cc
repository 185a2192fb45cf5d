// Options::hugetlb: pools in huge pages that the machine has set aside.

#include <cstdint>
#include <cstring>
#include <memory>

#include "gtest/gtest.h"
#include "mpool/mpool.h"
#include "mpool/page_pool.h"
#include "os/fault_count.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/reserved_huge_pages.h"
#include "tests/support/test_file.h"

namespace {

using mpool::PagePool;
using test_support::ReservedHugePages;
using test_support::TestFile;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kHugePage = 2 * kMiB;

absl::StatusOr<std::unique_ptr<PagePool>> Open(const TestFile& file, uint32_t page_size,
                                               uint64_t bytes) {
  return PagePool::Open(file.fd(), {.page_size = page_size,
                                    .pages_max = static_cast<uint32_t>(bytes / page_size),
                                    .hugetlb = true});
}

// Makes so many pages, each with its number at both ends, and reads them all.
void UsePages(PagePool& pool, uint32_t pages) {
  for (uint32_t page = 0; page < pages; ++page) {
    auto pin = pool.New();
    ASSERT_TRUE(pin.ok()) << pin.status();
    std::memcpy(pin->bytes().data(), &page, sizeof(page));
    std::memcpy(pin->bytes().last(sizeof(page)).data(), &page, sizeof(page));
    pin->MarkDirty();
  }
  for (uint32_t page = 0; page < pages; ++page) {
    const auto pin = pool.Get(page);
    ASSERT_TRUE(pin.ok()) << pin.status();
    uint32_t first = 0;
    uint32_t last = 0;
    std::memcpy(&first, pin->bytes().data(), sizeof(first));
    std::memcpy(&last, pin->bytes().last(sizeof(last)).data(), sizeof(last));
    ASSERT_EQ(first, page);
    ASSERT_EQ(last, page);
  }
}

uint64_t BytesHad(const PagePool& pool) {
  const auto stat = pool.stats();
  EXPECT_TRUE(stat.ok());
  return stat->hugetlb_bytes;
}

#define NEEDS_HUGE_PAGES(reserved) \
  if (!reserved.problem().empty()) GTEST_SKIP() << reserved.problem()

// Pages that divide a huge page, one that is as large, and one that is larger.
class MpoolHugetlb : public testing::TestWithParam<uint32_t> {};

INSTANTIATE_TEST_SUITE_P(PageSizes, MpoolHugetlb,
                         testing::Values(512, 4096, 65536, 2 * kMiB, 4 * kMiB));

TEST_P(MpoolHugetlb, APoolTakesThemAndGivesThemBack) {
  const ReservedHugePages reserved(6);
  NEEDS_HUGE_PAGES(reserved);
  const TestFile file;
  {
    auto pool = Open(file, GetParam(), 8 * kMiB);
    ASSERT_TRUE(pool.ok()) << pool.status();
    const uint32_t pages = static_cast<uint32_t>(8 * kMiB / GetParam());
    UsePages(**pool, pages);
    EXPECT_EQ((*pool)->stats()->frames, pages);
    EXPECT_EQ((*pool)->stats()->frames_locked, pages);
    EXPECT_GE(BytesHad(**pool), 8 * kMiB);
    EXPECT_EQ(reserved.free_pages(), 6 - BytesHad(**pool) / kHugePage);
  }
  EXPECT_EQ(reserved.free_pages(), 6u);
}

TEST(MpoolInHugePages, TouchingAFrameOfThemNeverFaults) {
  const ReservedHugePages reserved(1);
  NEEDS_HUGE_PAGES(reserved);
  const TestFile file;
  auto pool = Open(file, 4096, kHugePage);
  ASSERT_TRUE(pool.ok()) << pool.status();
  ASSERT_EQ(BytesHad(**pool), kHugePage);
  UsePages(**pool, 512);
  uint64_t failed = 0;
  const auto fill_all = [&] {
    for (uint32_t page = 0; page < 512; ++page) {
      const auto pin = (*pool)->Get(page);
      if (pin.ok()) {
        std::memset(pin->bytes().data(), 1, pin->bytes().size());
      } else {
        ++failed;
      }
    }
  };
  fill_all();  // the address sanitizer's own memory of these bytes
  const os::FaultCount before = os::FaultCount::OfThisThread();
  fill_all();
  EXPECT_EQ((os::FaultCount::OfThisThread() - before).total(), 0u);
  EXPECT_EQ(failed, 0u);
}

TEST(MpoolInHugePages, WhenNoneAreLeftThePoolGoesOnWithOtherMemory) {
  const ReservedHugePages reserved(2);
  NEEDS_HUGE_PAGES(reserved);
  const TestFile file;
  auto pool = Open(file, 4096, 8 * kMiB);
  ASSERT_TRUE(pool.ok()) << pool.status();
  UsePages(**pool, 2048);
  EXPECT_EQ((*pool)->stats()->frames_locked, 2048u);
  EXPECT_EQ(BytesHad(**pool), 2 * kHugePage);
}

TEST(MpoolInHugePages, APoolSmallerThanOneOfThemTakesNone) {
  const TestFile file;
  auto pool = Open(file, 4096, kMiB);
  ASSERT_TRUE(pool.ok()) << pool.status();
  UsePages(**pool, 256);
  EXPECT_EQ((*pool)->stats()->frames_locked, 256u);
  EXPECT_EQ(BytesHad(**pool), 0u);
}

TEST(MpoolInHugePages, ThePoolMayBeLargerThanTheLockLimit) {
  const ReservedHugePages reserved(10);
  NEEDS_HUGE_PAGES(reserved);
  const TestFile file;
  test_support::RunInChild(test_support::Limited(4 * kMiB), [&] {
    auto pool = Open(file, 4096, 20 * kMiB);
    ASSERT_TRUE(pool.ok()) << pool.status();
    UsePages(**pool, 5120);
    EXPECT_EQ((*pool)->stats()->frames_locked, 5120u);
    EXPECT_EQ((*pool)->stats()->evictions, 0u);
    EXPECT_EQ(BytesHad(**pool), 20 * kMiB);
    EXPECT_LE(test_support::LockedBytes(), 4 * kMiB);
  });
}

TEST(MpoolInHugePages, OneThatTheLimitDoesNotAllowIsGivenBack) {
  const ReservedHugePages reserved(2);
  NEEDS_HUGE_PAGES(reserved);
  const TestFile file;
  test_support::RunInChild(test_support::Limited(kMiB), [&] {
    auto pool = Open(file, 4096, 4 * kMiB);
    ASSERT_TRUE(pool.ok()) << pool.status();
    UsePages(**pool, 1024);
    EXPECT_GT((*pool)->stats()->frames, 64u) << "smaller steps go on";
    EXPECT_GT((*pool)->stats()->evictions, 0u);
    EXPECT_EQ(BytesHad(**pool), 0u);
    EXPECT_EQ(reserved.free_pages(), 2u);
  });
}

}  // namespace
