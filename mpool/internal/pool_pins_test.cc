// Pins in lines and counted ones, and what becomes of victims that are used after all.

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/internal/error_text.h"
#include "mpool/internal/pool_core_fixture.h"

namespace mpool::internal {
namespace {

using std::chrono::milliseconds;

Deadline In(milliseconds time) { return std::chrono::steady_clock::now() + time; }

void InAnotherThread(const std::function<void()>& body) { std::thread(body).join(); }

class PoolPins : public PoolCoreTest {
 protected:
  // A pool that another thread has used, so that barriers are needed.
  void OpenForTwo(uint64_t pages_max) {
    Open(pages_max);
    InAnotherThread([this] { Put(Get(0)); });
    Put(Get(0));
  }
};

TEST_F(PoolPins, AHitIsPinnedInTheThreadsLine) {
  Open(8);
  Put(Get(3));
  const Pinned pinned = Pin(3, Access::kPinned);
  EXPECT_NE(pinned.slot, nullptr);
  EXPECT_EQ(pool_->Stats().pins, 1u);
  Put(pinned.bytes);
  EXPECT_EQ(*pinned.slot, 0u);
  EXPECT_EQ(pool_->Stats().pins, 0u);
}

TEST_F(PoolPins, MoreThanALineHoldsAreCounted) {
  Open(32);
  std::vector<std::byte*> pages;
  for (PageNumber page = 0; page < 20; ++page) pages.push_back(Get(page));
  for (PageNumber page = 0; page < 20; ++page) {
    EXPECT_EQ(Get(page), pages[page]);
    EXPECT_EQ(static_cast<PageNumber>(*pages[page]), page);
  }
  EXPECT_EQ(pool_->Stats().pins, 40u);
  for (std::byte* const bytes : pages) Put(bytes);
  for (std::byte* const bytes : pages) Put(bytes);
  EXPECT_EQ(pool_->Stats().pins, 0u);
  EXPECT_EQ(pool_->Put(pages[0], false), os::Errno(EINVAL));
  EXPECT_EQ(pool_->Put(pages[19], false), os::Errno(EINVAL));
}

TEST_F(PoolPins, APutByAnotherThreadEndsThePin) {
  OpenForTwo(4);
  std::byte* bytes = nullptr;
  InAnotherThread([&] { bytes = Get(3); });  // in the line of a thread that is no more
  ASSERT_NE(bytes, nullptr);
  EXPECT_EQ(pool_->Stats().pins, 1u);
  Put(bytes, /*dirty=*/true);
  EXPECT_EQ(pool_->Stats().pins, 0u);
  EXPECT_EQ(pool_->Put(bytes, false), os::Errno(EINVAL));
  for (PageNumber page = 10; page < 20; ++page) Put(Get(page));  // its frame is taken
  EXPECT_EQ(pool_->Stats().frames, 4u);
  const struct mpool_stat stat = pool_->Stats();
  EXPECT_EQ(stat.puts, stat.gets);
}

TEST_F(PoolPins, AThreadTakesItsSlotsBackThatOthersHavePut) {
  Open(64);
  for (int round = 0; round < 4; ++round) {
    std::vector<std::byte*> pages;
    std::vector<PinSlot*> slots;
    for (PageNumber page = 0; page < PinLine::kSlots; ++page) {
      const Pinned pinned = Pin(page, Access::kPinned);
      EXPECT_NE(pinned.slot, nullptr) << "page " << page << ", round " << round;
      pages.push_back(pinned.bytes);
    }
    InAnotherThread([&] {
      for (std::byte* const bytes : pages) Put(bytes);
    });
    EXPECT_EQ(pool_->Stats().pins, 0u);
    Put(Get(30 + static_cast<PageNumber>(round)));  // a miss, under the latch
  }
}

TEST_F(PoolPins, OfAPagePinnedTwiceByOneThreadTwoOthersEndOneEach) {
  Open(8);
  std::byte* const bytes = Get(3);
  EXPECT_EQ(Get(3), bytes);
  InAnotherThread([&] { Put(bytes); });
  EXPECT_EQ(pool_->Stats().pins, 1u);
  InAnotherThread([&] { Put(bytes); });
  EXPECT_EQ(pool_->Stats().pins, 0u);
  InAnotherThread([&] { EXPECT_EQ(pool_->Put(bytes, false), os::Errno(EINVAL)); });
}

TEST_F(PoolPins, APageThatAnotherThreadHasInItsLineIsNotDeleted) {
  OpenForTwo(8);
  std::byte* const mine = Get(3);
  Pinned theirs;
  InAnotherThread([&] { theirs = Pin(3, Access::kPinned); });
  EXPECT_EQ(pool_->Delete({.bytes = mine}, Access::kPinned), os::Errno(EBUSY));
  EXPECT_NE(std::string(ErrorText()).find("pinned 2 times"), std::string::npos) << ErrorText();
  Put(theirs.bytes);
  Put(Get(3));  // still there, and a hit
  EXPECT_EQ(pool_->Delete({.bytes = mine}, Access::kPinned), os::kSuccess);
  EXPECT_EQ(pool_->Stats().pins, 0u);
}

TEST_F(PoolPins, AnExclusiveAccessWaitsForAPinInALineAndIsWoken) {
  OpenForTwo(8);
  Put(Get(3));
  const Pinned mine = Pin(3, Access::kShared);
  ASSERT_NE(mine.slot, nullptr);
  Meanwhile writer;
  writer.Start([&] { GetAndPut(3, Access::kExclusive); });
  pool_->Release(mine, Access::kShared, false);
  EXPECT_FALSE(writer.Join());
  EXPECT_EQ(pool_->Stats().pins, 0u);
}

TEST_F(PoolPins, ATimeoutLeavesThePageAsItWas) {
  OpenForTwo(8);
  const Pinned mine = Pin(3, Access::kShared);
  InAnotherThread([&] {
    EXPECT_EQ(pool_->Get(3, Access::kExclusive, In(milliseconds(5))).error(), os::Errno(ETIMEDOUT));
    EXPECT_NE(std::string(ErrorText()).find("page 3 is still in use"), std::string::npos);
  });
  EXPECT_EQ(pool_->Stats().pins, 1u);
  pool_->Release(mine, Access::kShared, false);
  const Pinned writing = Pin(3, Access::kExclusive);
  InAnotherThread([&] {
    EXPECT_EQ(pool_->Get(3, Access::kShared, In(milliseconds(5))).error(), os::Errno(ETIMEDOUT));
    EXPECT_EQ(pool_->Get(3, Access::kExclusive, In(milliseconds(0))).error(), os::Errno(ETIMEDOUT));
  });
  pool_->Release(writing, Access::kExclusive, false);
  InAnotherThread([&] { GetAndPut(3, Access::kShared); });
  EXPECT_EQ(pool_->Stats().pins, 0u);
}

TEST_F(PoolPins, AGetOfAPageThatAnotherThreadReadsCanTimeOut) {
  Open(8);
  hooks_.read = [&](PageNumber page) {
    if (page != 3) return os::kSuccess;
    InAnotherThread([&] {
      EXPECT_EQ(pool_->Get(3, Access::kPinned, In(milliseconds(5))).error(), os::Errno(ETIMEDOUT));
      EXPECT_NE(std::string(ErrorText()).find("being read"), std::string::npos) << ErrorText();
    });
    return os::kSuccess;
  };
  Put(Get(3));
  EXPECT_EQ(pool_->Stats().pins, 0u);
}

TEST_F(PoolPins, AfterAWriteThePageIsHitAgainWithoutTheLatchOnceItWasReadSomeTimes) {
  OpenForTwo(8);
  GetAndPut(3, Access::kExclusive);
  EXPECT_EQ(Pin(3, Access::kShared).slot, nullptr);  // left pinned, counted
  bool in_line = false;
  for (int i = 0; i < 20 && !in_line; ++i) {
    const Pinned pinned = Pin(3, Access::kShared);
    in_line = pinned.slot != nullptr;
    pool_->Release(pinned, Access::kShared, false);
  }
  EXPECT_TRUE(in_line);
}

// Enough frames, and two threads: victims are taken several at a time.
TEST_F(PoolPins, AVictimThatWaitsIsStillAHitAndIsThenNoVictim) {
  OpenForTwo(256);
  for (PageNumber page = 0; page < 256; ++page) Put(Get(page));
  Put(Get(300));  // takes one, prepares others
  const uint64_t misses = pool_->Stats().misses;
  for (PageNumber page = 19; page > 1; --page) {  // page 1 has gone
    std::byte* const bytes = Get(page);
    EXPECT_EQ(static_cast<PageNumber>(*bytes), page);
    Put(bytes);
  }
  EXPECT_EQ(pool_->Stats().misses, misses);
  for (PageNumber page = 301; page < 320; ++page) Put(Get(page));
  EXPECT_EQ(pool_->Stats().frames, 256u);
}

TEST_F(PoolPins, WhereEveryFrameIsPinnedInSomeLineThePoolGrows) {
  Open(4);
  locker_.set_bytes_max(locker_.bytes());
  std::vector<Pinned> pins;
  for (PageNumber page = 0; page < 4; ++page) pins.push_back(Pin(page, Access::kPinned));
  EXPECT_EQ(pool_->Get(9, Access::kPinned).error(), os::Errno(ENOMEM));
  Put(pins[2].bytes);
  std::byte* const bytes = Get(9);
  EXPECT_EQ(bytes, pins[2].bytes);
}

// What is owed to a slot can come to be owed to a counted pin, without anybody's mistake.
TEST_F(PoolPins, APageIsUnpinnedWhoeverHasPutWhichOfItsPins) {
  Open(12);
  for (PageNumber page = 0; page < 12; ++page) Put(Get(page));
  std::byte* const bytes = Get(0);       // in this thread's line
  InAnotherThread([&] { Put(bytes); });  // owed; the slot stays
  InAnotherThread([&] {
    std::vector<std::byte*> pins;
    for (PageNumber page = 1; page <= PinLine::kSlots; ++page) pins.push_back(Get(page));
    EXPECT_EQ(Get(0), bytes);  // its line is full: counted
    for (std::byte* const pinned : pins) Put(pinned);
  });
  EXPECT_EQ(pool_->Stats().pins, 1u);
  Put(bytes);  // what the other has got: frees the slot
  EXPECT_EQ(pool_->Stats().pins, 0u);
  Put(Get(1));
  std::vector<std::byte*> pins;
  InAnotherThread([&] {
    for (PageNumber page = 1; page < 12; ++page) pins.push_back(Get(page));
  });
  Put(Get(50));  // in the frame of page 0
  const struct mpool_stat stat = pool_->Stats();
  EXPECT_EQ(stat.frames_overflow, 0u);
  EXPECT_EQ(stat.pins, 11u);
  EXPECT_EQ(stat.puts + stat.pins, stat.gets);
  for (std::byte* const pinned : pins) Put(pinned);
  EXPECT_EQ(pool_->Stats().pins, 0u);
}

// The mistake of a caller, which cannot be told here, does not cost a frame.
TEST_F(PoolPins, APageThatWasPutOnceTooOftenCanGo) {
  Open(2);
  std::byte* const bytes = Get(0);
  InAnotherThread([&] { Put(bytes); });
  Put(bytes);
  EXPECT_EQ(pool_->Stats().pins, 0u);
  for (PageNumber page = 1; page < 9; ++page) Put(Get(page));
  EXPECT_LE(pool_->Stats().frames, 3u);
  EXPECT_EQ(pool_->Stats().pins, 0u);
}

TEST_F(PoolPins, APageThatCannotBeWrittenKeepsNoOtherGrowthFrame) {
  Open(1);
  std::byte* const pinned = Get(0);
  Change(1, 200);
  hooks_.write = [](PageNumber) { return os::Errno(EIO); };
  for (PageNumber page = 2; page < 100; ++page) Put(Get(page));
  EXPECT_LE(pool_->Stats().frames_overflow, 4u);
  hooks_.write = nullptr;
  Put(pinned);
}

TEST_F(PoolPins, WhereAllPagesArePinnedAGetDoesNotWaitForTheirWriteBack) {
  Open(2);
  Change(0, 200);
  std::byte* const first = Get(0);
  std::byte* const second = Get(1);
  locker_.set_bytes_max(locker_.bytes());
  bool refused = false;
  hooks_.write = [&](PageNumber) {
    InAnotherThread([&] { refused = pool_->Get(2, Access::kPinned).error() == os::Errno(ENOMEM); });
    return os::kSuccess;
  };
  EXPECT_EQ(pool_->Sync(), os::kSuccess);
  EXPECT_TRUE(refused);
  Put(first);
  Put(second);
}

TEST_F(PoolPins, AGetThatWaitsForAFrameCanTimeOut) {
  Open(1);
  Put(Get(0));
  locker_.set_bytes_max(locker_.bytes());
  hooks_.read = [&](PageNumber page) {
    if (page != 1) return os::kSuccess;
    InAnotherThread([&] {
      EXPECT_EQ(pool_->Get(2, Access::kPinned, In(milliseconds(5))).error(), os::Errno(ETIMEDOUT));
    });
    return os::kSuccess;
  };
  Put(Get(1));
  EXPECT_EQ(pool_->Stats().pins, 0u);
}

// Without membarrier(2), and with LRU, every hit takes the latch: the same answers.
class PoolPinsLatched : public PoolPins, public testing::WithParamInterface<bool> {};

TEST_P(PoolPinsLatched, PinsAreCounted) {
  PoolConfig config;
  (GetParam() ? config.latched_hits : config.least_recently_used) = true;
  Open(4, 400, config);
  for (int round = 0; round < 3; ++round) {
    const Pinned pinned = Pin(3, Access::kPinned);
    EXPECT_EQ(pinned.slot, nullptr);
    EXPECT_EQ(static_cast<PageNumber>(*pinned.bytes), 3u);
    InAnotherThread([&] { Put(pinned.bytes); });
  }
  for (PageNumber page = 10; page < 30; ++page) Put(Get(page));
  EXPECT_EQ(pool_->Stats().hits, 2u);
  EXPECT_EQ(pool_->Stats().pins, 0u);
  EXPECT_EQ(pool_->Stats().frames, 4u);
}

INSTANTIATE_TEST_SUITE_P(Hits, PoolPinsLatched, testing::Bool());

TEST_F(PoolPins, PoolsUsedInTurnKeepTheirPinsApart) {
  Open(8);
  std::vector<std::unique_ptr<os::testing::FakeFile>> files;
  std::vector<PoolCore*> pools;
  for (uint8_t i = 0; i < 9; ++i) {  // more than a thread remembers
    files.push_back(std::make_unique<os::testing::FakeFile>(
        std::vector<std::byte>(size_t{4} * kPageSize, std::byte{i})));
    PoolConfig config;
    config.page_size = kPageSize;
    config.pages_max = 4;
    const os::Result<PoolCore*> pool = PoolCore::Open(
        os::RealMemory(), locker_, std::make_unique<HookedFile>(*files.back(), hooks_), config);
    ASSERT_TRUE(pool.ok());
    pools.push_back(*pool);
  }
  for (int round = 0; round < 3; ++round) {
    std::vector<Pinned> pins;
    for (PoolCore* const pool : pools) pins.push_back(*pool->Get(1, Access::kPinned));
    for (size_t i = 0; i < pools.size(); ++i) {
      EXPECT_EQ(*pins[i].bytes, static_cast<std::byte>(i));
      EXPECT_EQ(pools[i]->Put(pins[(i + 1) % pools.size()].bytes, false), os::Errno(EINVAL));
      EXPECT_EQ(pools[i]->Put(pins[i].bytes, false), os::kSuccess);
    }
  }
  for (PoolCore* const pool : pools) {
    EXPECT_EQ(pool->Stats().pins, 0u);
    PoolCore::Close(pool);
  }
}

TEST_F(PoolPins, ManyThreadsOneAfterTheOtherDoNotUseUpTheLines) {
  Open(8);
  const size_t locked_before = locker_.bytes();
  for (int i = 0; i < 1200; ++i) {
    InAnotherThread([&] {
      for (int j = 0; j < 3; ++j) Put(Get(3));
    });
  }
  EXPECT_EQ(pool_->Stats().gets, 3600u);
  EXPECT_EQ(pool_->Stats().puts, 3600u);
  EXPECT_LE(locker_.bytes(), locked_before + 4096);  // at most one page of lines more
}

// --- Prefetch and the background writer ---------------------------------------------------------

TEST_F(PoolPins, APageThatCannotBeReadKeepsNoOtherFromBeingPrefetched) {
  Open(32);
  hooks_.read = [](PageNumber page) { return page == 5 ? os::Errno(EIO) : os::kSuccess; };
  const std::vector<PageNumber> pages = {4, 5, 6, 6, 9999, 7};
  EXPECT_EQ(pool_->Prefetch(pages), 3u);
  EXPECT_EQ(pool_->Stats().page_ins, 3u);
  hooks_.read = nullptr;
  for (const PageNumber page : {4u, 6u, 7u}) Put(Get(page));
  EXPECT_EQ(pool_->Stats().misses, 0u);
  Put(Get(5));
  EXPECT_EQ(pool_->Stats().misses, 1u);
  EXPECT_EQ(pool_->Prefetch(pages), 0u);
}

TEST_F(PoolPins, WithAFilterEachPrefetchedPageIsDoneBeforeTheNextIsBegun) {
  Open(32);
  struct Seen {
    PoolCore* pool;
    std::vector<PageNumber> pages;
  } seen{pool_, {}};
  const auto page_in = [](void* cookie, PageNumber page, void*) {
    auto* const s = static_cast<Seen*>(cookie);
    s->pages.push_back(page);
    if (page != 4) return;
    // Any other page can be had, one of those that come later as well.
    const os::Result<Pinned> other = s->pool->Get(6, Access::kPinned);
    ASSERT_TRUE(other.ok());
    EXPECT_EQ(s->pool->Put(other->bytes, false), os::kSuccess);
  };
  pool_->SetFilters({page_in, nullptr, &seen});
  const std::vector<PageNumber> pages = {4, 5, 6};
  EXPECT_EQ(pool_->Prefetch(pages), 2u);
  EXPECT_EQ(seen.pages, (std::vector<PageNumber>{4, 6, 5}));
}

TEST_F(PoolPins, TheBackgroundWriterWritesWithoutASync) {
  PoolConfig config;
  config.background_writer = true;
  Open(64, 400, config);
  for (PageNumber page = 0; page < 30; ++page) Change(page, 200);
  const auto deadline = In(std::chrono::seconds(20));
  // A page that is being written is not dirty any more, and not counted yet.
  while (pool_->Stats().page_outs < 30 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_EQ(pool_->Stats().dirty, 0u);
  EXPECT_EQ(pool_->Stats().page_outs, 30u);
  EXPECT_EQ(InFile(29), 200);
  EXPECT_EQ(pool_->Stats().evictions, 0u);
}

}  // namespace
}  // namespace mpool::internal
