#include "mpool/page_pool.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/mpool.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/test_file.h"

namespace mpool {
namespace {

using test_support::Filled;
using test_support::LockedBytes;
using test_support::TestFile;

constexpr uint32_t kPageSize = 512;
constexpr Options kFourPages{.page_size = kPageSize, .pages_max = 4};

std::unique_ptr<PagePool> OpenPool(const TestFile& file, const Options& options = kFourPages) {
  absl::StatusOr<std::unique_ptr<PagePool>> pool = PagePool::Open(file.fd(), options);
  EXPECT_TRUE(pool.ok()) << pool.status();
  return std::move(*pool);
}

std::string TextOf(const PagePin& pin) {
  return {reinterpret_cast<const char*>(pin.bytes().data()), pin.bytes().size()};
}

void Fill(const PagePin& pin, const std::string& text) {
  std::memcpy(pin.bytes().data(), Filled(text, kPageSize).data(), kPageSize);
}

testing::AssertionResult Fails(absl::StatusCode code, const std::string& words,
                               const absl::Status& status) {
  if (status.code() != code || status.message().find(words) == status.message().npos) {
    return testing::AssertionFailure() << status;
  }
  return testing::AssertionSuccess();
}

// --- Open ---------------------------------------------------------------------------------------

TEST(PagePoolOpen, ErrorsNameTheCause) {
  const TestFile file(2, kPageSize);
  EXPECT_TRUE(Fails(absl::StatusCode::kFailedPrecondition, "not an open descriptor",
                    PagePool::Open(-1, {}).status()));
  const int write_only = file.Reopen(O_WRONLY);
  EXPECT_TRUE(Fails(absl::StatusCode::kFailedPrecondition, "not open for reading",
                    PagePool::Open(write_only, {}).status()));
  close(write_only);
  const int appending = file.Reopen(O_RDWR | O_APPEND);
  EXPECT_TRUE(Fails(absl::StatusCode::kInvalidArgument, "O_APPEND",
                    PagePool::Open(appending, {}).status()));
  close(appending);
  EXPECT_TRUE(Fails(absl::StatusCode::kInvalidArgument, "at least 1 byte",
                    PagePool::Open(file.fd(), {.page_size = 0}).status()));
  const int directory = open("/", O_RDONLY | O_CLOEXEC);
  EXPECT_TRUE(Fails(absl::StatusCode::kInvalidArgument, "not a regular file",
                    PagePool::Open(directory, {}).status()));
  close(directory);
}

TEST(PagePoolOpen, WithoutLockedMemoryItIsResourceExhausted) {
  test_support::RunInChild(test_support::Limited(0), [] {
    const TestFile file(2, kPageSize);
    EXPECT_TRUE(Fails(absl::StatusCode::kResourceExhausted, "RLIMIT_MEMLOCK",
                      PagePool::Open(file.fd(), kFourPages).status()));
  });
}

TEST(PagePoolOpen, PrelockDemandsAllFramesAtOnce) {
  test_support::RunInChild(test_support::Limited(1 << 20), [] {
    const TestFile file(2, 4096);
    Options options{.page_size = 4096, .pages_max = 200, .prelock = true};
    {
      const auto pool = OpenPool(file, options);
      EXPECT_EQ(pool->stats()->frames_locked, 200u);
      EXPECT_GE(LockedBytes(), 200u * 4096);
    }
    EXPECT_EQ(LockedBytes(), 0u);
    options.pages_max = 300;
    EXPECT_TRUE(Fails(absl::StatusCode::kResourceExhausted, "RLIMIT_MEMLOCK",
                      PagePool::Open(file.fd(), options).status()));
    EXPECT_EQ(LockedBytes(), 0u);
  });
}

TEST(PagePoolOpen, ClosingLeavesTheLocksAsTheyWere) {
  const TestFile file(2, kPageSize);
  const uint64_t before = LockedBytes();
  {
    const auto pool = OpenPool(file);
    EXPECT_TRUE(pool->Get(1).ok());
    EXPECT_GT(LockedBytes(), before);
  }
  EXPECT_EQ(LockedBytes(), before);
}

// --- Pages --------------------------------------------------------------------------------------

TEST(PagePool, GetReadsAndGetForWriteChanges) {
  const TestFile file(3, kPageSize);
  const auto pool = OpenPool(file);
  EXPECT_EQ(pool->page_size(), kPageSize);
  EXPECT_EQ(*pool->page_count(), 3u);
  {
    absl::StatusOr<PagePin> pin = pool->GetForWrite(1);
    ASSERT_TRUE(pin.ok()) << pin.status();
    EXPECT_EQ(pin->page_number(), 1u);
    EXPECT_EQ(TextOf(*pin), Filled("1.", kPageSize));
    Fill(*pin, "new ");
    pin->MarkDirty();
    EXPECT_EQ(pool->stats()->dirty, 0u);  // at the end of the pin
  }
  EXPECT_EQ(pool->stats()->dirty, 1u);
  EXPECT_EQ(pool->stats()->pins, 0u);
  EXPECT_EQ(pool->Sync(), absl::OkStatus());
  EXPECT_EQ(file.Page(1, kPageSize), Filled("new ", kPageSize));
  EXPECT_EQ(TextOf(*pool->Get(1)), Filled("new ", kPageSize));
}

TEST(PagePool, GetPastTheEndIsInvalidArgumentUnlessItReadsAsZeros) {
  const TestFile file(3, kPageSize);
  EXPECT_TRUE(Fails(absl::StatusCode::kInvalidArgument, "page 3 is past the end",
                    OpenPool(file)->Get(3).status()));
  Options options = kFourPages;
  options.zero_past_end = true;
  const auto pool = OpenPool(file, options);
  EXPECT_EQ(TextOf(*pool->Get(3)), std::string(kPageSize, '\0'));
  EXPECT_EQ(*pool->page_count(), 3u);
}

TEST(PagePool, NewMakesTheNextPageOrTheOneAskedFor) {
  const TestFile file(3, kPageSize);
  const auto pool = OpenPool(file);
  absl::StatusOr<PagePin> next = pool->New();
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(next->page_number(), 3u);
  EXPECT_EQ(TextOf(*next), std::string(kPageSize, '\0'));
  absl::StatusOr<PagePin> seven = pool->New(7);
  ASSERT_TRUE(seven.ok());
  EXPECT_EQ(seven->page_number(), 7u);
  EXPECT_EQ(*pool->page_count(), 8u);
  EXPECT_TRUE(
      Fails(absl::StatusCode::kAlreadyExists, "page 2 exists already", pool->New(2).status()));
  EXPECT_TRUE(Fails(absl::StatusCode::kAlreadyExists, "page 7", pool->New(7).status()));
  EXPECT_TRUE(
      Fails(absl::StatusCode::kOutOfRange, "no page after", pool->New(0xffffffff).status()));
}

TEST(PagePool, DeleteDropsThePageAndEmptiesThePin) {
  const TestFile file(3, kPageSize);
  const auto pool = OpenPool(file), other = OpenPool(file);
  absl::StatusOr<PagePin> one = pool->Get(1), two = pool->Get(1);
  EXPECT_TRUE(Fails(absl::StatusCode::kFailedPrecondition, "pinned 2 times", pool->Delete(*one)));
  EXPECT_EQ(TextOf(*one), Filled("1.", kPageSize));  // the pin is as it was
  EXPECT_EQ(other->Delete(*one).code(), absl::StatusCode::kInvalidArgument);
  two->Release();
  EXPECT_EQ(pool->Delete(*one), absl::OkStatus());
  EXPECT_TRUE(one->bytes().empty());
  EXPECT_EQ(pool->Delete(*one).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(pool->stats()->deletes, 1u);
  absl::StatusOr<PagePin> written = pool->GetForWrite(2);
  Fill(*written, "lost ");
  written->MarkDirty();
  EXPECT_EQ(pool->Delete(*written), absl::OkStatus());
  EXPECT_EQ(TextOf(*pool->Get(2)), Filled("2.", kPageSize));
}

TEST(PagePool, PrefetchReadsWithoutPinning) {
  const TestFile file(3, kPageSize);
  const auto pool = OpenPool(file);
  EXPECT_EQ(*pool->Prefetch({2, 0, 9}), 2u);
  EXPECT_EQ(pool->stats()->page_ins, 2u);
  EXPECT_EQ(pool->stats()->pins, 0u);
}

TEST(PagePool, FiltersSeeEachPageByItsNumber) {
  const TestFile file(3, kPageSize);
  const auto pool = OpenPool(file);
  std::vector<std::string> calls;
  const auto note = [&calls](const char* which) {
    return [&calls, which](PageNumber page, absl::Span<std::byte> bytes) {
      calls.push_back(which + std::to_string(page));
      EXPECT_EQ(bytes.size(), kPageSize);
      bytes[0] = std::byte{'!'};
    };
  };
  ASSERT_EQ(pool->SetFilters(note("in"), note("out")), absl::OkStatus());
  {
    absl::StatusOr<PagePin> pin = pool->GetForWrite(1);
    EXPECT_EQ(TextOf(*pin)[0], '!');
    Fill(*pin, "new ");
    pin->MarkDirty();
  }
  EXPECT_EQ(pool->Sync(), absl::OkStatus());
  EXPECT_EQ(file.Page(1, kPageSize)[0], '!');
  EXPECT_EQ(TextOf(*pool->Get(1)), Filled("new ", kPageSize));  // pgout had a copy
  EXPECT_EQ(calls, (std::vector<std::string>{"in1", "out1"}));
  ASSERT_EQ(pool->SetFilters(nullptr, nullptr), absl::OkStatus());
  EXPECT_EQ(TextOf(*pool->Get(2)), Filled("2.", kPageSize));
}

TEST(PagePool, AReadOnlyFileFailsAtTheWriteAndLosesNothing) {
  const TestFile file(3, kPageSize);
  const int read_only = file.Reopen(O_RDONLY);
  {
    absl::StatusOr<std::unique_ptr<PagePool>> pool = PagePool::Open(read_only, kFourPages);
    ASSERT_TRUE(pool.ok());
    absl::StatusOr<PagePin> pin = (*pool)->GetForWrite(1);
    Fill(*pin, "new ");
    pin->MarkDirty();
    pin->Release();
    EXPECT_TRUE(
        Fails(absl::StatusCode::kFailedPrecondition, "page 1 cannot be written", (*pool)->Sync()));
    EXPECT_EQ(TextOf(*(*pool)->Get(1)), Filled("new ", kPageSize));
  }
  close(read_only);
}

// --- PagePin ------------------------------------------------------------------------------------

// A filter that runs in the background writer may have a page when the pool ends.
TEST(PagePool, EndsAfterItsBackgroundWriter) {
  const TestFile file(16, kPageSize);
  Options options = kFourPages;
  options.pages_max = 16;
  options.background_writer = true;
  std::unique_ptr<PagePool> pool = OpenPool(file, options);
  std::atomic<bool> in_filter = false;
  const auto page_out = [&, held = pool.get()](PageNumber, absl::Span<std::byte>) {
    const auto other = held->Get(5);
    EXPECT_TRUE(other.ok()) << other.status();
    in_filter = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  };
  ASSERT_TRUE(pool->SetFilters({}, page_out).ok());
  pool->GetForWrite(1)->MarkDirty();
  while (!in_filter) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  pool.reset();
}

TEST(PagePool, TryGetGivesWhatIsThereAndElseNothing) {
  const TestFile file(4, kPageSize);
  const std::unique_ptr<PagePool> pool = OpenPool(file);
  EXPECT_TRUE(pool->TryGet(1).bytes().empty());  // not in the pool
  EXPECT_TRUE(pool->TryGet(99).bytes().empty());
  EXPECT_EQ(pool->stats()->gets, 0u);
  ASSERT_TRUE(pool->Get(1).ok());
  {
    const PagePin pin = pool->TryGet(1);
    EXPECT_EQ(TextOf(pin), Filled("1.", kPageSize));
    EXPECT_EQ(pin.page_number(), 1u);
    EXPECT_EQ(pool->stats()->pins, 1u);
  }
  EXPECT_EQ(pool->stats()->pins, 0u);
  EXPECT_EQ(pool->stats()->hits, 1u);
  {
    const auto writer = pool->GetForWrite(1);
    ASSERT_TRUE(writer.ok());
    EXPECT_TRUE(pool->TryGet(1).bytes().empty());
  }
  // Another pool in between: the thread finds its line again.
  const std::unique_ptr<PagePool> other = OpenPool(file);
  ASSERT_TRUE(other->Get(2).ok());
  EXPECT_FALSE(pool->TryGet(1).bytes().empty());
  EXPECT_FALSE(other->TryGet(2).bytes().empty());
  std::thread([&] {
    EXPECT_TRUE(pool->TryGet(1).bytes().empty());  // this thread's first call
    ASSERT_TRUE(pool->Get(1).ok());
    EXPECT_FALSE(pool->TryGet(1).bytes().empty());
  }).join();
}

TEST(PagePool, TimeoutsEndTheWaitForOtherUsersOfAPage) {
  const TestFile file(4, kPageSize);
  const std::unique_ptr<PagePool> pool = OpenPool(file);
  const auto timeout = std::chrono::milliseconds(5);
  auto reader = pool->Get(1, timeout);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_TRUE(Fails(absl::StatusCode::kDeadlineExceeded, "page 1 is still in use",
                    pool->GetForWrite(1, timeout).status()));
  reader->Release();
  auto writer = pool->GetForWrite(1, std::chrono::nanoseconds::max());
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_TRUE(Fails(absl::StatusCode::kDeadlineExceeded, "page 1 is still in use",
                    pool->Get(1, timeout).status()));
  writer->Release();
  EXPECT_TRUE(pool->Get(1, timeout).ok());
}

TEST(PagePin, HoldsNothingAtFirst) {
  PagePin pin;
  EXPECT_TRUE(pin.bytes().empty());
  pin.Release();
}

TEST(PagePin, Moves) {
  const TestFile file(3, kPageSize);
  const auto pool = OpenPool(file);
  PagePin first = *pool->GetForWrite(1);
  first.MarkDirty();
  PagePin second = std::move(first);
  EXPECT_TRUE(first.bytes().empty());  // NOLINT(bugprone-use-after-move)
  first.Release();
  EXPECT_EQ(pool->stats()->pins, 1u);
  EXPECT_EQ(second.page_number(), 1u);
  PagePin third = *pool->Get(2);
  third = std::move(second);  // lets go of page 2
  EXPECT_EQ(pool->stats()->pins, 1u);
  EXPECT_EQ(third.page_number(), 1u);
  PagePin& same = third;
  third = std::move(same);
  EXPECT_EQ(TextOf(third), Filled("1.", kPageSize));
  third.Release();
  third.Release();
  EXPECT_EQ(pool->stats()->pins, 0u);
  EXPECT_EQ(pool->stats()->dirty, 1u);  // the mark went along
  PagePin reused = *pool->Get(2);
  reused.Release();
  EXPECT_EQ(pool->stats()->dirty, 1u);
}

TEST(PagePinDeathTest, APinThatOutlivesThePoolAborts) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(
      {
        const TestFile file(1, kPageSize);
        auto pool = OpenPool(file);
        const absl::StatusOr<PagePin> pin = pool->Get(0);
        pool.reset();
      },
      "a PagePool ends while 1 PagePins on it are left");
}

// --- Sharing ------------------------------------------------------------------------------------

TEST(PagePoolThreads, ReadersShareAPage) {
  const TestFile file(1, kPageSize);
  const auto pool = OpenPool(file);
  const absl::StatusOr<PagePin> mine = pool->Get(0);
  std::thread([&pool] { EXPECT_TRUE(pool->Get(0).ok()); }).join();  // does not wait
  EXPECT_EQ(pool->stats()->pins, 1u);
}

// Every writer makes all bytes of the page equal, one by one; no reader ever sees them differ.
TEST(PagePoolThreads, AWriterExcludesReadersAndOtherWriters) {
  const TestFile file(std::string(kPageSize, 'a'));
  const auto pool = OpenPool(file);
  std::atomic<int> torn = 0;
  const auto check = [&torn](absl::Span<const std::byte> bytes) {
    for (const std::byte byte : bytes) {
      if (byte != bytes[0]) ++torn;
    }
  };
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 500; ++i) {
        if (thread < 2) {
          PagePin pin = *pool->GetForWrite(0);
          check(pin.bytes());
          const auto next = static_cast<std::byte>(static_cast<int>(pin.bytes()[0]) + 1);
          for (std::byte& byte : pin.bytes()) byte = next;
          pin.MarkDirty();
        } else {
          check(pool->Get(0)->bytes());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(torn, 0);
  EXPECT_EQ(static_cast<int>(pool->Get(0)->bytes()[0]), ('a' + 1000) % 256);  // none was lost
  EXPECT_EQ(pool->stats()->pins, 0u);
}

TEST(PagePoolThreads, ANewPageIsItsMakersAlone) {
  const TestFile file;
  const auto pool = OpenPool(file);
  absl::StatusOr<PagePin> made = pool->New();
  ASSERT_TRUE(made.ok());
  std::atomic<bool> asked = false;
  std::thread reader([&] {
    asked = true;
    EXPECT_EQ(TextOf(*pool->Get(0)), Filled("made ", kPageSize));
  });
  while (!asked || pool->stats()->pins < 2) std::this_thread::yield();  // it waits
  Fill(*made, "made ");
  made->Release();
  reader.join();
}

}  // namespace
}  // namespace mpool
