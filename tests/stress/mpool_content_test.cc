// Threads that change pages through a cache much smaller than the file, with a background writer, and
// find in every page what was put there last: no wrong page, no lost update, no pin left.
//
// Two seconds for each interface; MPOOL_STRESS_SECONDS=600 in the environment makes it 600.
//
// A sync writes pages as they are, those too that somebody is changing, and once more when they are put.
// ThreadSanitizer rightly calls that a race, so under it there is one sync, at the end.

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <iostream>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/mpool.h"
#include "mpool/page_pool.h"
#include "tests/support/sanitizer.h"
#include "tests/support/seed.h"
#include "tests/support/test_file.h"
#include "tests/support/test_pool.h"

namespace {

using mpool::PageNumber;
using mpool::PagePin;
using mpool::PagePool;
using test_support::TestFile;

constexpr uint32_t kPageSize = 4096;
constexpr PageNumber kPages = 1000;
constexpr uint32_t kFrames = 64;
constexpr uint64_t kThreads = 4;

std::chrono::seconds Duration() {
  const char* given = std::getenv("MPOOL_STRESS_SECONDS");
  return std::chrono::seconds(given != nullptr ? std::atoi(given) : 2);
}

// What a piece of a page holds: whose it is, a version, and words that follow from both.
struct Tag {
  uint32_t owner;
  uint32_t version;
};

uint64_t WordOf(Tag tag, size_t i) {
  return (uint64_t{tag.owner} << 32 | tag.version) * 0x9e3779b97f4a7c15 + i;
}

void Write(std::span<std::byte> piece, Tag tag) {
  for (size_t i = 0; i < piece.size() / 8; ++i) {
    const uint64_t word = i == 0 ? uint64_t{tag.owner} << 32 | tag.version : WordOf(tag, i);
    std::memcpy(piece.data() + i * 8, &word, 8);
  }
}

// The version of a whole piece of this owner.
std::optional<uint32_t> VersionIn(std::span<const std::byte> piece, uint32_t owner) {
  uint64_t first = 0;
  std::memcpy(&first, piece.data(), 8);
  const Tag tag = {static_cast<uint32_t>(first >> 32), static_cast<uint32_t>(first)};
  bool whole = tag.owner == owner;
  for (size_t i = 1; i < piece.size() / 8; ++i) {
    uint64_t word = 0;
    std::memcpy(&word, piece.data() + i * 8, 8);
    whole &= word == WordOf(tag, i);
  }
  return whole ? std::optional(tag.version) : std::nullopt;
}

// Runs the threads until the time is over, or the test has failed.
void RunThreads(const std::function<void(uint64_t thread, std::mt19937_64& random)>& step) {
  const uint64_t seed = test_support::TestSeed();
  const auto deadline = std::chrono::steady_clock::now() + Duration();
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937_64 random(seed + thread);
      while (std::chrono::steady_clock::now() < deadline && !testing::Test::HasFailure()) {
        for (int i = 0; i < 64; ++i) step(thread, random);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Some pages much more often than others, so that hits, misses and waits all occur.
PageNumber Choose(std::mt19937_64& random) {
  const auto page = static_cast<PageNumber>(random() % kPages);
  return random() % 2 == 0 ? page % 40 : page;
}

// What threads hand over to each other.
template <typename T>
class Handover {
 public:
  void Give(T thing) {
    const std::scoped_lock lock(mutex_);
    things_.push_back(std::move(thing));
  }
  std::optional<T> Take() {
    const std::scoped_lock lock(mutex_);
    if (things_.empty()) return std::nullopt;
    std::optional<T> thing(std::move(things_.front()));
    things_.pop_front();
    return thing;
  }
  size_t size() {
    const std::scoped_lock lock(mutex_);
    return things_.size();
  }

 private:
  std::mutex mutex_;
  std::deque<T> things_;
};

std::span<std::byte> BytesOf(const PagePin& pin) {
  return {pin.bytes().data(), pin.bytes().size()};
}

class PagePoolContent : public testing::Test {
 protected:
  PagePoolContent() {
    std::vector<std::byte> page(kPageSize);
    for (PageNumber i = 0; i < kPages; ++i) {
      Write(page, {i, 0});
      file_.Write(uint64_t{i} * kPageSize, {reinterpret_cast<char*>(page.data()), page.size()});
    }
  }

  void Read(PagePool& pool, PageNumber page) {
    absl::StatusOr<PagePin> pin = pool.Get(page);
    ASSERT_TRUE(pin.ok()) << pin.status();
    ++reads_;
    ASSERT_EQ(VersionIn(BytesOf(*pin), page), versions_[page].load()) << "page " << page;
    // Another thread ends this one's pin; not too many, or all would be pinned.
    if (page % 8 == 0 && handed_over_.size() < 8) handed_over_.Give(*std::move(pin));
    if (page % 4 == 0) (void)handed_over_.Take();
  }
  void Change(PagePool& pool, PageNumber page) {
    // A thread may hold this very page for reading, until another one takes it over: no waiting for
    // ever.
    absl::StatusOr<PagePin> pin = pool.GetForWrite(page, std::chrono::milliseconds(1));
    if (absl::IsDeadlineExceeded(pin.status())) {
      ++timeouts_;
      (void)handed_over_.Take();
      return;
    }
    ASSERT_TRUE(pin.ok()) << pin.status();
    const uint32_t version = versions_[page];
    ASSERT_EQ(VersionIn(BytesOf(*pin), page), version) << "page " << page;
    Write(BytesOf(*pin), {page, version + 1});
    versions_[page] = version + 1;
    pin->MarkDirty();
    ++changes_;
  }
  void ReadSeveral(PagePool& pool, std::mt19937_64& random) {
    std::vector<PagePin> pins;  // more than a thread's line holds
    for (int i = 0; i < 11; ++i) {
      const PageNumber page = Choose(random);
      absl::StatusOr<PagePin> pin = pool.Get(page, std::chrono::milliseconds(1));
      if (absl::IsDeadlineExceeded(pin.status())) {
        ++timeouts_;
        break;
      }
      ASSERT_TRUE(pin.ok()) << pin.status();
      pins.push_back(*std::move(pin));
    }
    for (const PagePin& pin : pins) {
      const PageNumber page = pin.page_number();
      ASSERT_EQ(VersionIn(BytesOf(pin), page), versions_[page].load()) << "page " << page;
    }
  }

  TestFile file_;
  std::array<std::atomic<uint32_t>, kPages> versions_ = {};
  std::atomic<uint64_t> reads_ = 0, changes_ = 0, timeouts_ = 0;
  Handover<PagePin> handed_over_;
};

TEST_F(PagePoolContent, IsWhatWasPutLast) {
  {
    const auto pool = PagePool::Open(
        file_.fd(), {.page_size = kPageSize, .pages_max = kFrames, .background_writer = true});
    ASSERT_TRUE(pool.ok()) << pool.status();
    RunThreads([&](uint64_t, std::mt19937_64& random) {
      const PageNumber page = Choose(random);
      switch (random() % 64) {
        case 0: {
          const std::array<PageNumber, 3> pages = {page, (page + 1) % kPages, (page + 9) % kPages};
          ASSERT_TRUE((*pool)->Prefetch(pages).ok());
          break;
        }
        case 1:
          if (!test_support::kThreadSanitizer && random() % 16 == 0) {
            ASSERT_TRUE((*pool)->Sync().ok());
          }
          break;
        case 2:
          ReadSeveral(**pool, random);
          break;
        default:
          random() % 3 == 0 ? Change(**pool, page) : Read(**pool, page);
      }
    });
    while (handed_over_.Take()) {
    }
    ASSERT_TRUE((*pool)->Sync().ok());
    const auto stats = (*pool)->stats();
    ASSERT_TRUE(stats.ok());
    EXPECT_EQ(stats->pins, 0u);
    EXPECT_EQ(stats->dirty, 0u);
    EXPECT_EQ(stats->puts, stats->gets - timeouts_);
    EXPECT_LE(stats->frames, kFrames + 1);
    EXPECT_GT(stats->evictions, 0u);
    std::cout << reads_ << " reads, " << changes_ << " changes, " << stats->hits << " hits, "
              << stats->misses << " misses, " << stats->page_outs << " pages written" << std::endl;
  }
  for (PageNumber page = 0; page < kPages; ++page) {
    const std::string bytes = file_.Page(page, kPageSize);
    EXPECT_EQ(VersionIn(std::as_bytes(std::span(bytes)), page), versions_[page].load()) << page;
  }
}

// The C interface excludes nobody, so each thread has a part of every page for itself.
TEST(MpoolContent, IsWhatWasPutLast) {
  if (test_support::kThreadSanitizer) {
    GTEST_SKIP() << "pages are written while others change them, which this interface allows";
  }
  constexpr size_t kPiece = kPageSize / kThreads;
  std::vector<std::byte> page_bytes(kPageSize);
  for (uint32_t i = 0; i < kThreads; ++i) {
    Write(std::span(page_bytes).subspan(i * kPiece, kPiece), {i, 0});
  }
  TestFile file;
  for (PageNumber i = 0; i < kPages; ++i) {
    file.Write(uint64_t{i} * kPageSize,
               {reinterpret_cast<char*>(page_bytes.data()), page_bytes.size()});
  }
  std::vector<std::array<uint32_t, kThreads>> versions(kPages);
  const auto piece = [](void* page, uint64_t thread) {
    return std::span(static_cast<std::byte*>(page) + thread * kPiece, kPiece);
  };
  {
    const test_support::Pool pool = test_support::OpenPool(file, kPageSize, kFrames);
    Handover<void*> handed_over;
    RunThreads([&](uint64_t thread, std::mt19937_64& random) {
      const PageNumber number = Choose(random);
      void* const page = mpool_get(pool.get(), number, 0);
      ASSERT_NE(page, nullptr) << mpool_error();
      ASSERT_EQ(VersionIn(piece(page, thread), static_cast<uint32_t>(thread)),
                versions[number][thread])
          << "page " << number;
      const bool changes = random() % 3 == 0;
      if (changes) {
        Write(piece(page, thread), {static_cast<uint32_t>(thread), ++versions[number][thread]});
      }
      if (!changes && random() % 4 == 0 && handed_over.size() < 8) {
        handed_over.Give(page);
      } else {
        ASSERT_EQ(mpool_put(pool.get(), page, changes ? MPOOL_DIRTY : 0), 0) << mpool_error();
      }
      if (random() % 4 == 0) {
        if (const auto other = handed_over.Take()) {
          ASSERT_EQ(mpool_put(pool.get(), *other, 0), 0) << mpool_error();
        }
      }
      if (random() % 1024 == 0) {
        ASSERT_EQ(mpool_sync(pool.get()), 0) << mpool_error();
      }
    });
    while (const auto other = handed_over.Take()) {
      ASSERT_EQ(mpool_put(pool.get(), *other, 0), 0) << mpool_error();
    }
    ASSERT_EQ(mpool_sync(pool.get()), 0) << mpool_error();
    const struct mpool_stat stat = test_support::StatOf(pool);
    EXPECT_EQ(stat.pins, 0u);
    EXPECT_EQ(stat.puts, stat.gets);
    EXPECT_GT(stat.evictions, 0u);
    EXPECT_TRUE(test_support::CanPinAll(pool, kFrames));
    std::cout << stat.hits << " hits, " << stat.misses << " misses, " << stat.page_outs
              << " pages written" << std::endl;
  }
  for (PageNumber number = 0; number < kPages; ++number) {
    const std::string bytes = file.Page(number, kPageSize);
    for (uint32_t thread = 0; thread < kThreads; ++thread) {
      const auto part = std::as_bytes(std::span(bytes)).subspan(thread * kPiece, kPiece);
      EXPECT_EQ(VersionIn(part, thread), versions[number][thread]) << number;
    }
  }
}

}  // namespace
