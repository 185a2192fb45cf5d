// A hit neither faults nor enters the kernel: ten million of them, counted, by both interfaces, by
// several threads, and while others miss.

#include <atomic>
#include <iostream>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/mpool.h"
#include "mpool/page_pool.h"
#include "pinlock/testing.h"
#include "tests/support/sanitizer.h"
#include "tests/support/test_file.h"
#include "tests/support/test_pool.h"

namespace {

using mpool::PagePool;
using test_support::TestFile;

constexpr uint32_t kPageSize = 4096;
constexpr uint32_t kPages = 512;
constexpr bool kSanitizer = test_support::kThreadSanitizer || test_support::kAddressSanitizer;
constexpr uint64_t kHits = kSanitizer ? 1'000'000 : 10'000'000;

// Another page each time, in an order that no prefetcher knows.
uint32_t After(uint32_t page) { return (page * 5 + 3) % kPages; }

std::unique_ptr<PagePool> OpenPagePool(const TestFile& file) {
  auto pool = PagePool::Open(file.fd(), {.page_size = kPageSize, .pages_max = kPages});
  EXPECT_TRUE(pool.ok()) << pool.status();
  return std::move(*pool);
}

// Returns how many gets have failed.
uint64_t Hit(PagePool& pool, uint64_t times) {
  uint64_t failed = 0;
  volatile uint64_t sum = 0;
  uint32_t page = 0;
  for (uint64_t i = 0; i < times; ++i, page = After(page)) {
    const auto pin = pool.Get(page);
    if (pin.ok()) {
      sum = sum + static_cast<uint64_t>(pin->bytes()[0]);
    } else {
      ++failed;
    }
  }
  return failed;
}

uint64_t Hit(MPOOL* pool, uint64_t times, unsigned flags) {
  uint64_t failed = 0;
  uint32_t page = 0;
  for (uint64_t i = 0; i < times; ++i, page = After(page)) {
    auto* const bytes = static_cast<volatile char*>(mpool_get(pool, page, 0));
    if (bytes == nullptr) {
      ++failed;
      continue;
    }
    bytes[0] = bytes[1];
    if (mpool_put(pool, const_cast<char*>(bytes), flags) != 0) ++failed;
  }
  return failed;
}

// The sanitizers' own memory takes faults, and their runtimes make system calls.
#define EXPECT_NOTHING_BUT_HITS(...)                                       \
  do {                                                                     \
    if (test_support::kThreadSanitizer) {                                  \
      std::cout << "faults and system calls are not counted" << std::endl; \
      __VA_ARGS__;                                                         \
      break;                                                               \
    }                                                                      \
    EXPECT_NO_PAGE_FAULTS(__VA_ARGS__);                                    \
    EXPECT_NO_SYSCALLS(__VA_ARGS__);                                       \
  } while (false)

TEST(MpoolHits, OfTheCInterfaceNeitherFaultNorEnterTheKernel) {
  const TestFile file(kPages, kPageSize);
  const test_support::Pool pool = test_support::OpenPool(file, kPageSize, kPages);
  ASSERT_EQ(Hit(pool.get(), 4 * kPages, MPOOL_DIRTY), 0u);
  uint64_t failed = 0;
  EXPECT_NOTHING_BUT_HITS(failed += Hit(pool.get(), kHits / 2, 0));
  EXPECT_NOTHING_BUT_HITS(failed += Hit(pool.get(), kHits / 2, MPOOL_DIRTY));
  EXPECT_EQ(failed, 0u);
  EXPECT_EQ(test_support::StatOf(pool).misses, kPages);
}

TEST(MpoolHits, OfThePagePoolNeitherFaultNorEnterTheKernel) {
  const TestFile file(kPages, kPageSize);
  const std::unique_ptr<PagePool> pool = OpenPagePool(file);
  ASSERT_EQ(Hit(*pool, 4 * kPages), 0u);
  uint64_t failed = 0;
  EXPECT_NOTHING_BUT_HITS(failed += Hit(*pool, kHits));
  EXPECT_EQ(failed, 0u);
  EXPECT_EQ(pool->stats()->misses, kPages);
}

TEST(MpoolHits, OfOneThreadDoNotFeelAnotherOneThatHitsToo) {
  const TestFile file(kPages, kPageSize);
  const std::unique_ptr<PagePool> pool = OpenPagePool(file);
  ASSERT_EQ(Hit(*pool, 4 * kPages), 0u);
  std::atomic<bool> begun = false, done = false;
  std::atomic<uint64_t> failed = 0;
  std::thread other([&] {
    while (!done) {
      failed += Hit(*pool, kPages);
      begun = true;
    }
  });
  while (!begun) std::this_thread::yield();
  EXPECT_NOTHING_BUT_HITS(failed += Hit(*pool, kHits / 4));
  done = true;
  other.join();
  EXPECT_EQ(failed, 0u);
}

// Without other threads there is no process barrier either.
TEST(MpoolHits, ForWritingDoNotEnterTheKernelWhereOneThreadUsesThePool) {
  const TestFile file(kPages, kPageSize);
  const std::unique_ptr<PagePool> pool = OpenPagePool(file);
  ASSERT_EQ(Hit(*pool, 4 * kPages), 0u);
  uint64_t failed = 0;
  const auto change = [&] {
    for (uint32_t page = 0; page < kPages; ++page) {
      const auto pin = pool->GetForWrite(page);
      if (!pin.ok()) ++failed;
    }
  };
  change();
  EXPECT_NOTHING_BUT_HITS(change());
  EXPECT_EQ(failed, 0u);
}

}  // namespace
