#include "mpool/internal/ghost.h"

#include <vector>

#include "gtest/gtest.h"

namespace mpool::internal {
namespace {

TEST(Ghost, HasAPowerOfTwoOfEntriesAndAtLeastABucket) {
  EXPECT_EQ(Ghost::EntriesFor(0), 8u);
  EXPECT_EQ(Ghost::EntriesFor(9), 16u);
  EXPECT_EQ(Ghost::EntriesFor(1000), 1024u);
}

TEST(Ghost, WithoutMemoryRemembersNothing) {
  Ghost ghost;
  ghost.Remember(7);
  EXPECT_FALSE(ghost.Forget(7));
}

TEST(Ghost, RemembersAPageUntilItIsAskedFor) {
  std::vector<uint64_t> entries(8);
  GhostState state{.capacity = 8};
  Ghost ghost(entries, state);
  EXPECT_FALSE(ghost.Forget(7));
  ghost.Remember(7);
  ghost.Remember(0);
  EXPECT_TRUE(ghost.Forget(7));
  EXPECT_FALSE(ghost.Forget(7));
  EXPECT_TRUE(ghost.Forget(0));
}

TEST(Ghost, ForgetsWhatIsOlderThanItsCapacity) {
  std::vector<uint64_t> entries(64);
  GhostState state{.capacity = 3};
  Ghost ghost(entries, state);
  for (const PageNumber page : {1u, 2u, 3u, 4u}) ghost.Remember(page);
  EXPECT_FALSE(ghost.Forget(1));
  EXPECT_TRUE(ghost.Forget(2));
  EXPECT_TRUE(ghost.Forget(4));
}

TEST(Ghost, APageThatGoesAgainIsAsYoungAsTheLast) {
  std::vector<uint64_t> entries(64);
  GhostState state{.capacity = 3};
  Ghost ghost(entries, state);
  for (const PageNumber page : {1u, 2u, 1u, 3u, 4u}) ghost.Remember(page);
  EXPECT_TRUE(ghost.Forget(1));
  EXPECT_FALSE(ghost.Forget(2));
}

TEST(Ghost, AFullBucketLosesItsOldest) {
  std::vector<uint64_t> entries(8);  // one bucket
  GhostState state{.capacity = 100};
  Ghost ghost(entries, state);
  for (PageNumber page = 0; page < 9; ++page) ghost.Remember(page);
  EXPECT_FALSE(ghost.Forget(0));
  for (PageNumber page = 1; page < 9; ++page) EXPECT_TRUE(ghost.Forget(page)) << page;
}

TEST(Ghost, KeepsNearlyAllOfItsCapacityInATableOfThatSize) {
  constexpr uint32_t kCapacity = 900;
  std::vector<uint64_t> entries(Ghost::EntriesFor(kCapacity));
  GhostState state{.capacity = kCapacity};
  Ghost ghost(entries, state);
  for (PageNumber page = 0; page < 10'000; ++page) ghost.Remember(page * 7);
  uint32_t known = 0;
  for (PageNumber page = 10'000 - kCapacity; page < 10'000; ++page) {
    if (ghost.Forget(page * 7)) ++known;
  }
  EXPECT_GT(known, kCapacity * 8 / 10);
}

TEST(Ghost, ALargerOneTakesOverWhatIsRemembered) {
  std::vector<uint64_t> small(8), large(64);
  GhostState state{.capacity = 4};
  Ghost from(small, state), to(large, state);
  for (PageNumber page = 0; page < 6; ++page) from.Remember(page);
  from.CopyTo(to);
  state.capacity = 40;
  to.Remember(100);
  EXPECT_FALSE(to.Forget(1));  // too old for the one it comes from
  for (const PageNumber page : {2u, 3u, 4u, 5u, 100u}) EXPECT_TRUE(to.Forget(page)) << page;
}

}  // namespace
}  // namespace mpool::internal
