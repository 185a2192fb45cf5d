// Threads against each other on one pool. Every page says which it is, so a wrong one shows; every
// change is counted, so a lost one shows. Write-back reads pages, so who changes one that may be
// dirty keeps a sync away; eviction keeps away by itself.

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <span>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/internal/pool_core.h"
#include "mpool/internal/pool_hits.h"
#include "os/fake_file.h"
#include "tests/support/seed.h"

namespace {

using mpool::internal::Access;
using mpool::internal::PageNumber;
using mpool::internal::Pinned;
using mpool::internal::PinSlot;
using mpool::internal::PoolConfig;
using mpool::internal::PoolCore;
using os::testing::FakeFile;

constexpr uint32_t kPageSize = 256;
constexpr PageNumber kPages = 1000;
constexpr auto kDuration = std::chrono::milliseconds(2000);

// Lets the other threads run in the midst of every read and write.
class SlowFile final : public os::File {
 public:
  explicit SlowFile(os::File& file) : file_(file) {}
  os::Result<uint64_t> Size() const override { return file_.Size(); }
  os::Result<size_t> ReadAt(std::span<std::byte> buffer, uint64_t offset) override {
    Dawdle();
    const os::Result<size_t> bytes = file_.ReadAt(buffer, offset);
    Dawdle();
    return bytes;
  }
  os::Errno WriteAt(std::span<const std::span<const std::byte>> buffers, uint64_t offset) override {
    Dawdle();
    const os::Errno error = file_.WriteAt(buffers, offset);
    Dawdle();
    return error;
  }
  os::Errno Sync() override { return file_.Sync(); }

 private:
  void Dawdle() {
    if (calls_.fetch_add(1) % 16 == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    } else {
      std::this_thread::yield();
    }
  }
  os::File& file_;
  std::atomic<uint64_t> calls_ = 0;
};

// Grants locks for so many bytes at once.
class LimitedLocker final : public mpool::internal::Locker {
 public:
  // Before the first lock.
  void set_bytes_max(size_t bytes) { left_ = bytes; }
  os::Errno Lock(std::span<std::byte> bytes) override {
    size_t left = left_;
    do {
      if (bytes.size() > left) return os::Errno(ENOMEM);
    } while (!left_.compare_exchange_weak(left, left - bytes.size()));
    return os::kSuccess;
  }
  os::Errno Unlock(std::span<std::byte> bytes) override {
    left_ += bytes.size();
    return os::kSuccess;
  }
  const char* ErrorText() const override { return "the test allows no more"; }

 private:
  std::atomic<size_t> left_ = ~size_t{0};
};

// What a page holds, at both of its ends.
struct Stamp {
  PageNumber number;
  uint32_t version;
  uint64_t check;
};

Stamp StampOf(PageNumber page, uint32_t version) {
  return {page, version, (uint64_t{page} << 32 | version) * 0x9e3779b97f4a7c15};
}

void Write(std::byte* bytes, const Stamp& stamp) {
  std::memcpy(bytes, &stamp, sizeof(stamp));
  std::memcpy(bytes + kPageSize - sizeof(stamp), &stamp, sizeof(stamp));
}

// The page's version; the test fails where it is another page, or a mixture.
uint32_t VersionIn(const std::byte* bytes, PageNumber page) {
  Stamp first, last;
  std::memcpy(&first, bytes, sizeof(first));
  std::memcpy(&last, bytes + kPageSize - sizeof(last), sizeof(last));
  EXPECT_EQ(first.number, page);
  EXPECT_EQ(first.check, StampOf(page, first.version).check);
  EXPECT_EQ(last.check, first.check);
  return first.version;
}

std::vector<std::byte> StampedPages() {
  std::vector<std::byte> contents(size_t{kPages} * kPageSize);
  for (PageNumber page = 0; page < kPages; ++page) {
    Write(contents.data() + size_t{page} * kPageSize, StampOf(page, 0));
  }
  return contents;
}

class MpoolThreads : public testing::Test {
 protected:
  void Open(uint64_t pages_max) {
    PoolConfig config;
    config.page_size = kPageSize;
    config.pages_max = pages_max;
    const os::Result<PoolCore*> pool =
        PoolCore::Open(os::RealMemory(), locker_, std::make_unique<SlowFile>(file_), config);
    ASSERT_TRUE(pool.ok());
    pool_ = *pool;
  }
  ~MpoolThreads() override {
    if (pool_ != nullptr) PoolCore::Close(pool_);
  }

  void Read(PageNumber page, uint32_t least) {
    const os::Result<Pinned> pinned = pool_->Get(page, Access::kShared);
    ASSERT_TRUE(pinned.ok()) << pinned.error().Name();
    EXPECT_GE(VersionIn(pinned->bytes, page), least);
    EXPECT_EQ(VersionIn(pinned->bytes, page), versions_[page].load());
    pool_->Release(*pinned, Access::kShared, false);
  }
  void Change(PageNumber page) {
    const std::shared_lock no_sync(syncing_);
    const os::Result<Pinned> pinned = pool_->Get(page, Access::kExclusive);
    ASSERT_TRUE(pinned.ok()) << pinned.error().Name();
    const uint32_t version = VersionIn(pinned->bytes, page);
    EXPECT_EQ(version, versions_[page].load());
    Write(pinned->bytes, StampOf(page, version + 1));
    versions_[page] = version + 1;
    pool_->Release(*pinned, Access::kExclusive, true);
  }
  // Of pages that nobody changes, so that nothing is lost by it.
  void Delete(PageNumber page) {
    const os::Result<Pinned> pinned = pool_->Get(page, Access::kShared);
    ASSERT_TRUE(pinned.ok()) << pinned.error().Name();
    EXPECT_EQ(VersionIn(pinned->bytes, page), 0u);
    const os::Errno error = pool_->Delete(*pinned, Access::kShared);
    if (error.ok()) return;
    EXPECT_EQ(error, os::Errno(EBUSY));
    pool_->Release(*pinned, Access::kShared, false);
  }
  PageNumber Make() {
    PageNumber page = 0;
    const os::Result<Pinned> pinned = pool_->New(nullptr, Access::kExclusive, &page);
    EXPECT_TRUE(pinned.ok()) << pinned.error().Name();
    EXPECT_EQ(*pinned->bytes, std::byte{0});
    Write(pinned->bytes, StampOf(page, 1));
    pool_->Release(*pinned, Access::kExclusive, true);
    return page;
  }
  void Sync() {
    const std::unique_lock nobody_writes(syncing_);
    EXPECT_EQ(pool_->Sync(), os::kSuccess);
  }
  // After all threads are done: the file is as the last changes have left it.
  void ExpectNothingLost() {
    EXPECT_EQ(pool_->Stats().pins, 0u);
    EXPECT_EQ(pool_->Pins(), 0u);
    EXPECT_EQ(pool_->Sync(), os::kSuccess);
    const std::vector<std::byte> synced = file_.synced();
    for (PageNumber page = 0; page < kPages; ++page) {
      EXPECT_EQ(VersionIn(synced.data() + size_t{page} * kPageSize, page), versions_[page].load());
    }
  }

  static constexpr PageNumber kChanged = 900;  // the pages below this one are changed

  LimitedLocker locker_;
  FakeFile file_{StampedPages()};
  PoolCore* pool_ = nullptr;
  std::shared_mutex syncing_;
  std::array<std::atomic<uint32_t>, kPages> versions_{};
};

// Most uses concern few pages, so that threads meet on one.
PageNumber Choose(std::mt19937_64& random, PageNumber pages) {
  return static_cast<PageNumber>(random() % (random() % 2 == 0 ? 40 : pages));
}

TEST_F(MpoolThreads, NoPageIsWrongAndNoChangeIsLost) {
  Open(64);
  const uint64_t seed = test_support::TestSeed();
  const auto end = std::chrono::steady_clock::now() + kDuration;
  std::mutex made_mutex;
  std::vector<PageNumber> all_made;
  const auto work = [&](uint64_t thread) {
    std::mt19937_64 random(seed + thread);
    std::vector<PageNumber> made;
    while (std::chrono::steady_clock::now() < end && !HasFailure()) {
      const uint64_t choice = random() % 100;
      if (choice < 50)
        Read(Choose(random, kPages), 0);
      else if (choice < 90)
        Change(Choose(random, kChanged));
      else if (choice < 97)
        Delete(kChanged + static_cast<PageNumber>(random() % 8));
      else if (choice < 99)
        made.push_back(Make());
      else if (random() % 4 == 0)
        Sync();
    }
    const std::scoped_lock lock(made_mutex);
    all_made.insert(all_made.end(), made.begin(), made.end());
  };
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < 4; ++thread) threads.emplace_back(work, thread);
  for (std::thread& thread : threads) thread.join();
  ExpectNothingLost();
  std::sort(all_made.begin(), all_made.end());
  for (size_t i = 0; i < all_made.size(); ++i) {
    ASSERT_EQ(all_made[i], kPages + i);  // each number once
    const os::Result<Pinned> bytes = pool_->Get(all_made[i], Access::kPinned);
    ASSERT_TRUE(bytes.ok());
    EXPECT_EQ(VersionIn(bytes->bytes, all_made[i]), 1u);
    pool_->Release(*bytes, Access::kPinned, false);
  }
  const struct mpool_stat stat = pool_->Stats();
  EXPECT_EQ(stat.gets, stat.hits + stat.misses);
  EXPECT_EQ(stat.puts, stat.gets + stat.news - stat.deletes);
  EXPECT_GT(stat.evictions, 0u);
  EXPECT_LE(stat.frames, 64u + 8);  // what was in use at once, beyond the cache
}

// Threads that sync at once, while others read and evict: whoever returns, everything is durable.
TEST_F(MpoolThreads, SyncsAtOnceAreBothComplete) {
  Open(256);
  for (int round = 0; round < 20; ++round) {
    for (PageNumber page = 0; page < kChanged; page += 1 + page % 5) Change(page);
    std::atomic<bool> done = false;
    std::vector<std::thread> readers, syncers;
    for (int i = 0; i < 2; ++i) {
      readers.emplace_back([&, i] {
        std::mt19937_64 random(static_cast<uint64_t>(i));
        while (!done) Read(Choose(random, kPages), 0);
      });
      syncers.emplace_back([&] {
        EXPECT_EQ(pool_->Sync(), os::kSuccess);
        const std::vector<std::byte> synced = file_.synced();
        for (PageNumber page = 0; page < kPages; ++page) {
          const std::byte* const bytes = synced.data() + size_t{page} * kPageSize;
          ASSERT_EQ(VersionIn(bytes, page), versions_[page].load());
        }
      });
    }
    for (std::thread& thread : syncers) thread.join();
    done = true;
    for (std::thread& thread : readers) thread.join();
    EXPECT_EQ(pool_->Stats().dirty, 0u);
  }
  ExpectNothingLost();
}

// What was put dirty before a sync begins is durable when it returns, whatever becomes dirty meanwhile.
TEST_F(MpoolThreads, ASyncLeavesOutNothingForWhatBecomesDirtyMeanwhile) {
  Open(kPages);
  for (PageNumber page = 0; page < kPages; ++page) Read(page, 0);
  std::atomic<bool> done = false;
  std::thread other([&] {  // marks pages of low frames, without the latch
    std::mt19937_64 random(1);
    while (!done) {
      const os::Result<Pinned> page =
          pool_->Get(static_cast<PageNumber>(random() % (kPages - 1)), Access::kPinned);
      ASSERT_TRUE(page.ok());
      EXPECT_EQ(pool_->Put(page->bytes, /*dirty=*/true), os::kSuccess);
    }
  });
  const PageNumber last = kPages - 1;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (std::chrono::steady_clock::now() < deadline && !HasFailure()) {
    Change(last);
    ASSERT_EQ(pool_->Sync(), os::kSuccess);
    const std::vector<std::byte> synced = file_.synced();
    EXPECT_EQ(VersionIn(synced.data() + size_t{last} * kPageSize, last), versions_[last].load());
  }
  done = true;
  other.join();
}

// More threads than frames that can be locked: each call ends, with a page or with ENOMEM.
TEST_F(MpoolThreads, AtTheLockLimitNobodyWaitsForEver) {
  locker_.set_bytes_max(4 * 4096);
  Open(8);
  const uint64_t frames_bytes = pool_->Stats().frames * kPageSize;
  ASSERT_GT(frames_bytes, 0u);
  std::atomic<uint64_t> pinned = 0, refused = 0;
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937_64 random(thread);
      for (int i = 0; i < 400; ++i) {
        std::vector<std::byte*> held;
        for (int j = 0; j < 16; ++j) {
          const os::Result<Pinned> bytes =
              pool_->Get(static_cast<PageNumber>(random() % kPages), Access::kPinned);
          if (!bytes.ok()) {
            EXPECT_EQ(bytes.error(), os::Errno(ENOMEM));
            ++refused;
            break;
          }
          ++pinned;
          held.push_back(bytes->bytes);
        }
        for (std::byte* bytes : held) {
          EXPECT_EQ(pool_->Put(bytes, random() % 2 == 0), os::kSuccess);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(pinned, 0u);
  EXPECT_GT(refused, 0u);
  ExpectNothingLost();
}

// Stores that miss every cache: those that come after them wait in the CPU's queue, as in a program
// that writes much memory.
class ColdStores {
 public:
  void operator()(int count) {
    for (int i = 0; i < count; ++i) {
      place_ = place_ * 6364136223846793005u + 1442695040888963407u;
      static_cast<volatile char&>(memory_[(place_ >> 33) % memory_.size()]) = 1;
    }
  }

 private:
  std::vector<char> memory_ = std::vector<char>(size_t{64} << 20);
  uint64_t place_ = 1;
};

std::atomic_ref<uint64_t> WordOf(const Pinned& pinned, size_t i) {
  return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(pinned.bytes + i * 8));
}

// A writer that has not hit anything, and so has no line, and a reader that has the only one.
TEST_F(MpoolThreads, AWriterExcludesTheOnlyReader) {
  Open(16);
  pool_->Release(*pool_->Get(0, Access::kShared), Access::kShared, false);
  std::atomic<bool> done = false;
  std::atomic<uint64_t> failed = 0;
  std::thread writer([&] {
    for (uint64_t n = 1; !done; ++n) {
      const os::Result<Pinned> page = pool_->Get(0, Access::kExclusive);
      if (!page.ok()) {
        ++failed;
        continue;
      }
      for (size_t i = 0; i < kPageSize / 8; ++i) WordOf(*page, i).store(n);
      pool_->Release(*page, Access::kExclusive, false);
    }
  });
  ColdStores cold;
  uint64_t torn = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (std::chrono::steady_clock::now() < deadline) {
    cold(4);
    const os::Result<Pinned> page = pool_->Get(0, Access::kShared);
    ASSERT_TRUE(page.ok());
    const uint64_t first = WordOf(*page, 0).load();
    if (WordOf(*page, kPageSize / 8 - 1).load() != first) ++torn;
    pool_->Release(*page, Access::kShared, false);
  }
  done = true;
  writer.join();
  EXPECT_EQ(torn, 0u);
  EXPECT_EQ(failed, 0u) << "without a deadline";
}

// A pin in the only line is ended by a thread that has none, while the line's owner waits for that.
TEST_F(MpoolThreads, TheEndOfAPinThatWasMovedWakesAWriter) {
  Open(16);
  std::atomic<PinSlot*> handed_over = nullptr;
  std::atomic<bool> done = false;
  std::thread other([&] {
    ColdStores cold;
    while (!done) {
      PinSlot* const slot = handed_over.exchange(nullptr);
      if (slot == nullptr) {
        std::this_thread::yield();
        continue;
      }
      cold(4);
      if (pool_->EndPin(*slot)) pool_->WakeWriters();
    }
  });
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (std::chrono::steady_clock::now() < deadline) {
    const os::Result<Pinned> page = pool_->Get(0, Access::kShared);
    ASSERT_TRUE(page.ok());
    if (page->slot == nullptr) {  // counted: the page was written a moment ago
      pool_->Release(*page, Access::kShared, false);
      continue;
    }
    handed_over = page->slot;
    const os::Result<Pinned> writing = pool_->Get(0, Access::kExclusive);
    ASSERT_TRUE(writing.ok()) << writing.error().Name();
    pool_->Release(*writing, Access::kExclusive, false);
  }
  done = true;
  other.join();
}

}  // namespace
