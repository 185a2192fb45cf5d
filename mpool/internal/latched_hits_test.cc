// A pool where the kernel has no membarrier(2): as in old kernels, and in sandboxes that forbid it.
//
// A program of its own: once any pool has registered with the kernel the barrier works for all.

#include <thread>

#include "gtest/gtest.h"
#include "mpool/internal/pool_core_fixture.h"

namespace mpool::internal {
namespace {

class LatchedHits : public PoolCoreTest {
 protected:
  void OpenLatched(uint64_t pages_max) {
    PoolConfig config;
    config.latched_hits = true;
    Open(pages_max, 400, config);
    // Two threads that have lines.
    std::thread([this] {
      for (PageNumber page = 0; page < 9; ++page) Put(Get(page));
    }).join();
    for (PageNumber page = 0; page < 9; ++page) Put(Get(page));
  }
};

TEST_F(LatchedHits, PagesComeAndGo) {
  OpenLatched(4);
  for (PageNumber page = 0; page < 40; ++page) {
    Change(page, static_cast<uint8_t>(100 + page));
  }
  EXPECT_EQ(pool_->Sync(), os::kSuccess);
  for (PageNumber page = 0; page < 40; ++page) EXPECT_EQ(InFile(page), 100 + page);
  EXPECT_EQ(pool_->Stats().frames, 4u);
}

TEST_F(LatchedHits, AWriterWaitsForReadersWithoutABarrier) {
  OpenLatched(4);
  const Pinned reader = Pin(3, Access::kShared);
  EXPECT_EQ(reader.slot, nullptr);
  Meanwhile writer;
  writer.Start([&] { GetAndPut(3, Access::kExclusive); });
  pool_->Release(reader, Access::kShared, false);
  EXPECT_FALSE(writer.Join());
}

TEST_F(LatchedHits, APageIsDeletedByItsOnlyUser) {
  OpenLatched(4);
  std::byte* const mine = Get(3);
  std::byte* const theirs = Get(3);
  EXPECT_EQ(pool_->Delete({.bytes = mine}, Access::kPinned), os::Errno(EBUSY));
  std::thread([&] { Put(theirs); }).join();
  EXPECT_EQ(pool_->Delete({.bytes = mine}, Access::kPinned), os::kSuccess);
  EXPECT_EQ(pool_->Stats().pins, 0u);
}

}  // namespace
}  // namespace mpool::internal
