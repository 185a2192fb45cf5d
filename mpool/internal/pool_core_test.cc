#include "mpool/internal/pool_core.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/internal/error_text.h"
#include "mpool/internal/pool_core_fixture.h"
#include "os/fake_file.h"

// What the pool promises its callers is tested through its interfaces (tests/conformance); here is
// what happens while a page is being read or written, and which calls reach the file.

namespace mpool::internal {
namespace {

using Runs = std::vector<std::pair<PageNumber, size_t>>;

TEST_F(PoolCoreTest, SyncWritesRunsOfNeighboursInTheOrderOfTheFile) {
  Open(400);
  for (const PageNumber page : {9u, 6u, 0u, 2u, 5u, 1u}) Change(page, 200);
  EXPECT_EQ(pool_->Sync(), os::kSuccess);
  EXPECT_EQ(hooks_.writes, (Runs{{0, 3}, {5, 2}, {9, 1}}));
  hooks_.writes.clear();
  for (PageNumber page = 0; page < 300; ++page) Change(page, 201);
  EXPECT_EQ(pool_->Sync(), os::kSuccess);
  EXPECT_EQ(hooks_.writes, (Runs{{0, 256}, {256, 44}}));
}

TEST_F(PoolCoreTest, OneBadPageKeepsNoOtherFromTheFile) {
  Open(16);
  for (PageNumber page = 0; page < 5; ++page) Change(page, 200);
  hooks_.write = [this](PageNumber first) {
    const bool has_bad = first <= 2 && first + hooks_.writes.back().second > 2;
    return has_bad ? os::Errno(EIO) : os::kSuccess;
  };
  EXPECT_EQ(pool_->Sync(), os::Errno(EIO));
  EXPECT_EQ(std::string(ErrorText()).rfind("page 2 cannot be written", 0), 0u) << ErrorText();
  EXPECT_EQ(pool_->Stats().dirty, 1u);
  EXPECT_EQ(pool_->Stats().page_outs, 4u);
  for (const PageNumber page : {0u, 1u, 3u, 4u}) EXPECT_EQ(InFile(page), 200);
  hooks_.write = nullptr;
  hooks_.writes.clear();
  EXPECT_EQ(pool_->Sync(), os::kSuccess);
  EXPECT_EQ(hooks_.writes, (Runs{{2, 1}}));
}

TEST_F(PoolCoreTest, APageThatIsChangedWhileItIsWrittenStaysDirty) {
  Open(16);
  Change(3, 200);
  hooks_.write = [this](PageNumber) {
    hooks_.write = nullptr;
    Put(Get(3), /*dirty=*/true);
    return os::kSuccess;
  };
  EXPECT_EQ(pool_->Sync(), os::kSuccess);
  EXPECT_EQ(pool_->Stats().dirty, 1u);
  EXPECT_EQ(pool_->Sync(), os::kSuccess);
  EXPECT_EQ(pool_->Stats().dirty, 0u);
  EXPECT_EQ(hooks_.writes.size(), 2u);
}

TEST_F(PoolCoreTest, AVictimThatIsUsedWhileItIsWrittenIsNotTaken) {
  Open(2);
  Change(0, 200);
  Put(Get(1));
  std::byte* used = nullptr;
  hooks_.write = [&](PageNumber) {
    used = Get(0);
    return os::kSuccess;
  };
  Put(Get(2));  // page 0 would have to go, and page 1 was put last
  ASSERT_NE(used, nullptr);
  EXPECT_EQ(*used, std::byte{200});
  EXPECT_EQ(Get(0), used);
  EXPECT_EQ(pool_->Stats().pins, 2u);
}

TEST_F(PoolCoreTest, AGetWithoutAPinCountsAsAUse) {
  Open(3);
  for (const PageNumber page : {0u, 1u, 2u}) Put(Get(page));
  for (int i = 0; i < 2; ++i) (void)Pin(0, Access::kNone);
  Put(Get(3));  // takes the frame of page 1
  Put(Get(0));
  EXPECT_EQ(pool_->Stats().misses, 4u);
  Put(Get(1));
  EXPECT_EQ(pool_->Stats().misses, 5u);
}

TEST_F(PoolCoreTest, AFailedSyncOfTheFileMakesItsPagesDirtyAgain) {
  Open(16);
  Change(3, 200);
  Change(8, 201);
  hooks_.sync = [] { return os::Errno(EIO); };
  EXPECT_EQ(pool_->Sync(), os::Errno(EIO));
  EXPECT_NE(std::string(ErrorText()).find("synchronised"), std::string::npos) << ErrorText();
  EXPECT_EQ(pool_->Stats().dirty, 2u);
  hooks_.sync = nullptr;
  hooks_.writes.clear();
  EXPECT_EQ(pool_->Sync(), os::kSuccess);
  EXPECT_EQ(hooks_.writes, (Runs{{3, 1}, {8, 1}}));
}

// The kernel tells of a lost write once, to the fdatasync that comes first, whoever has written.
TEST_F(PoolCoreTest, ASyncFailsWhereAnothersFdatasyncWasToldOfItsPages) {
  Open(16);
  std::atomic<bool> begun = false;
  std::atomic<int> calls = 0;
  hooks_.sync = [&] {
    if (calls++ > 0) return os::kSuccess;
    begun = true;
    while (pool_->Stats().page_outs == 0) std::this_thread::yield();
    return os::Errno(EIO);
  };
  std::thread other([&] { EXPECT_EQ(pool_->Sync(), os::Errno(EIO)); });
  while (!begun) std::this_thread::yield();
  Change(3, 200);
  EXPECT_EQ(pool_->Sync(), os::Errno(EIO));
  other.join();
  EXPECT_EQ(pool_->Stats().dirty, 1u);
  EXPECT_EQ(pool_->Sync(), os::kSuccess);
  EXPECT_EQ(pool_->Stats().dirty, 0u);
}

TEST_F(PoolCoreTest, AFailedFdatasyncMakesPagesDirtyThatEvictionHadWritten) {
  Open(16);
  Change(3, 200);
  // Evicts page 3, which comes into use while it is written, and so stays.
  std::byte* used = nullptr;
  hooks_.write = [&](PageNumber page) {
    if (page == 3 && used == nullptr) used = Get(3);
    return os::kSuccess;
  };
  for (PageNumber page = 20; page < 40; ++page) Put(Get(page));
  ASSERT_NE(used, nullptr);
  EXPECT_EQ(pool_->Stats().dirty, 0u);
  hooks_.sync = [] { return os::Errno(EIO); };
  EXPECT_EQ(pool_->Sync(), os::Errno(EIO));
  EXPECT_EQ(pool_->Stats().dirty, 1u);
  Put(used);
}

TEST_F(PoolCoreTest, APageBeingWrittenCannotBeDeletedByTheFilterThatItWaitsFor) {
  Open(16);
  Change(5, 200);
  Change(6, 201);
  struct Seen {
    PoolCore* pool;
    os::Errno error;
  } seen{pool_, os::kSuccess};
  const auto page_out = [](void* cookie, PageNumber page, void*) {
    auto* const s = static_cast<Seen*>(cookie);
    if (page != 5) return;
    const os::Result<Pinned> other = s->pool->Get(6, Access::kPinned);
    s->error = s->pool->Delete(*other, Access::kPinned);
    (void)s->pool->Put(other->bytes, false);
  };
  pool_->SetFilters({nullptr, page_out, &seen});
  EXPECT_EQ(pool_->Sync(), os::kSuccess);
  EXPECT_EQ(seen.error, os::Errno(EBUSY));
  EXPECT_EQ(InFile(6), 201);
}

TEST_F(PoolCoreTest, WhoAsksForAPageThatIsBeingReadWaitsAndGetsTheSame) {
  Open(16);
  Meanwhile other;
  std::byte* theirs = nullptr;
  int reads = 0;
  hooks_.read = [&](PageNumber) {
    if (++reads == 1) other.Start([&] { theirs = Get(5); });
    return os::kSuccess;
  };
  std::byte* const mine = Get(5);
  EXPECT_FALSE(other.Join());
  EXPECT_EQ(theirs, mine);
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(pool_->Stats().misses, 2u);
}

TEST_F(PoolCoreTest, WhereTheReadFailsWhoWaitedTriesItself) {
  Open(16);
  Meanwhile other;
  std::byte* theirs = nullptr;
  int reads = 0;
  hooks_.read = [&](PageNumber) {
    if (++reads > 1) return os::kSuccess;
    other.Start([&] { theirs = Get(5); });
    return os::Errno(EIO);
  };
  EXPECT_EQ(pool_->Get(5, Access::kPinned).error(), os::Errno(EIO));
  EXPECT_FALSE(other.Join());
  ASSERT_NE(theirs, nullptr);
  EXPECT_EQ(*theirs, std::byte{5});
  EXPECT_EQ(reads, 2);
  EXPECT_EQ(pool_->Stats().pins, 1u);
}

TEST_F(PoolCoreTest, WhileAPageIsWrittenItIsReadButNotLatchedForWritingNorDeleted) {
  Open(16);
  Change(5, 200);
  for (const bool deletes : {false, true}) {
    Change(5, 200);
    Meanwhile reader, writer;
    hooks_.write = [&](PageNumber) {
      reader.Start([&] { GetAndPut(5, Access::kShared); });
      writer.Start([&] {
        if (deletes) {
          EXPECT_EQ(pool_->Delete({.bytes = Get(5)}, Access::kPinned), os::kSuccess);
        } else {
          GetAndPut(5, Access::kExclusive);
        }
      });
      return os::kSuccess;
    };
    EXPECT_EQ(pool_->Sync(), os::kSuccess);
    EXPECT_TRUE(reader.Join());
    EXPECT_FALSE(writer.Join());
    hooks_.write = nullptr;
  }
  EXPECT_EQ(InFile(5), 200);
  EXPECT_EQ(pool_->Stats().pins, 0u);
}

TEST_F(PoolCoreTest, ASyncWaitsForThePagesThatAnotherIsWriting) {
  Open(16);
  Change(5, 200);
  Meanwhile other;
  hooks_.write = [&](PageNumber) {
    hooks_.write = nullptr;
    other.Start([&] { EXPECT_EQ(pool_->Sync(), os::kSuccess); });
    return os::kSuccess;
  };
  EXPECT_EQ(pool_->Sync(), os::kSuccess);
  EXPECT_FALSE(other.Join());
  EXPECT_EQ(hooks_.writes.size(), 1u);
}

TEST_F(PoolCoreTest, WhereNoMoreCanBeLockedAMissWaitsForAPageThatIsBeingWritten) {
  Open(1);
  locker_.set_bytes_max(locker_.bytes());
  Change(0, 200);
  Meanwhile other;
  hooks_.write = [&](PageNumber) {
    hooks_.write = nullptr;
    other.Start([&] { Put(Get(2)); });
    return os::kSuccess;
  };
  EXPECT_EQ(pool_->Sync(), os::kSuccess);
  EXPECT_FALSE(other.Join());
  EXPECT_EQ(pool_->Stats().frames, 1u);
}

// A filter's own page is in use until the filter is done: waiting for it would never end.
TEST_F(PoolCoreTest, AFilterThatFindsNoFrameFailsInsteadOfWaitingForItself) {
  Open(1);
  locker_.set_bytes_max(locker_.bytes());
  struct Nested {
    PoolCore* pool;
    os::Errno error;
    static void Get(void* cookie, PageNumber page, void*) {
      auto* self = static_cast<Nested*>(cookie);
      if (page == 3) self->error = self->pool->Get(4, Access::kPinned).error();
    }
  } nested{pool_, os::kSuccess};
  pool_->SetFilters({&Nested::Get, nullptr, &nested});
  Put(Get(3));
  EXPECT_EQ(nested.error, os::Errno(ENOMEM));
}

TEST_F(PoolCoreTest, ThereIsNoPageWhereAFileOffsetDoesNotReach) {
  os::testing::FakeFile file;
  PoolConfig config;
  config.page_size = 0xffffffff;
  config.zero_past_end = true;
  const os::Result<PoolCore*> pool =
      PoolCore::Open(os::RealMemory(), locker_, std::make_unique<HookedFile>(file, hooks_), config);
  ASSERT_TRUE(pool.ok());
  const PageNumber beyond = 0x80000000;  // begins before 2^63 and ends after it
  PageNumber made = 0;
  EXPECT_EQ((*pool)->New(&beyond, Access::kPinned, &made).error(), os::Errno(EFBIG));
  EXPECT_EQ((*pool)->Get(beyond, Access::kPinned).error(), os::Errno(EINVAL));
  PoolCore::Close(*pool);
}

}  // namespace
}  // namespace mpool::internal
