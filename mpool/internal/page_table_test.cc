#include "mpool/internal/page_table.h"

#include <array>
#include <random>
#include <span>
#include <unordered_map>
#include <vector>

#include "gtest/gtest.h"

namespace mpool::internal {
namespace {

// Where a page goes in an empty table of `count` entries.
size_t HomeOf(PageNumber page, size_t count) {
  std::vector<PageTable::Entry> entries(count);
  PageTable table(entries);
  table.Insert(page, 0);
  for (size_t slot = 0; slot < count; ++slot) {
    if (entries[slot] != 0) return slot;
  }
  ADD_FAILURE() << "page " << page << " was not stored";
  return 0;
}

// The first `count` page numbers whose home is `slot` in a table of `entries` entries.
std::vector<PageNumber> PagesAt(size_t slot, size_t count, size_t entries) {
  std::vector<PageNumber> pages;
  for (PageNumber page = 0; pages.size() < count; ++page) {
    if (HomeOf(page, entries) == slot) pages.push_back(page);
  }
  return pages;
}

TEST(PageTable, IsAPowerOfTwoAndAtMostHalfFull) {
  EXPECT_EQ(PageTable::EntriesFor(0), 8u);  // a cache line
  EXPECT_EQ(PageTable::EntriesFor(4), 8u);
  EXPECT_EQ(PageTable::EntriesFor(5), 16u);
  EXPECT_EQ(PageTable::EntriesFor(64), 128u);
  EXPECT_EQ(PageTable::EntriesFor(65), 256u);
  EXPECT_EQ(PageTable::EntriesFor(uint64_t{1} << 32), uint64_t{1} << 33);
}

TEST(PageTable, HoldsTheLowestAndTheHighestNumbers) {
  std::vector<PageTable::Entry> entries(8);
  PageTable table(entries);
  EXPECT_EQ(table.capacity(), 4u);
  table.Insert(0, 0);
  table.Insert(kMaxPageNumber - 1, kFramesMax - 1);
  table.Insert(kMaxPageNumber, 7);
  EXPECT_EQ(table.Find(0), 0u);
  EXPECT_EQ(table.Find(kMaxPageNumber - 1), kFramesMax - 1);
  EXPECT_EQ(table.Find(kMaxPageNumber), 7u);
  EXPECT_EQ(table.Find(1), kNoFrame);
}

TEST(PageTable, HasNoPlaceBeyondTheLastEntry) {
  // Three pages whose home is the last entry go on at the first one.
  constexpr size_t kEntries = 8;
  const std::vector<PageNumber> pages = PagesAt(kEntries - 1, 3, kEntries);
  std::vector<PageTable::Entry> entries(kEntries);
  PageTable table(entries);
  for (FrameIndex i = 0; i < 3; ++i) table.Insert(pages[i], i);
  EXPECT_NE(entries[7], 0u);
  EXPECT_NE(entries[0], 0u);
  EXPECT_NE(entries[1], 0u);
  table.Erase(pages[0]);
  EXPECT_EQ(table.Find(pages[1]), 1u);
  EXPECT_EQ(table.Find(pages[2]), 2u);
  EXPECT_EQ(entries[1], 0u);  // closed up: no tombstone is left
}

TEST(PageTable, LeavesNothingBehind) {
  std::vector<PageTable::Entry> entries(16);
  PageTable table(entries);
  for (PageNumber page = 0; page < 8; ++page) table.Insert(page * 77, page);
  for (PageNumber page = 0; page < 8; ++page) table.Erase(page * 77);
  for (const PageTable::Entry& entry : entries) EXPECT_EQ(entry, 0u);
}

TEST(PageTable, CopiesEveryEntryToALargerOne) {
  std::vector<PageTable::Entry> small(64), large(256);
  PageTable from(small), to(large);
  for (PageNumber page = 0; page < 32; ++page) from.Insert(page * 1000, page);
  from.CopyTo(to);
  for (PageNumber page = 0; page < 32; ++page) EXPECT_EQ(to.Find(page * 1000), page);
  EXPECT_EQ(to.Find(1), kNoFrame);
}

TEST(PageTable, AnEntryIsClosedUntilItIsOpenedAndUnused) {
  std::vector<PageTable::Entry> entries(8);
  PageTable table(entries);
  table.Insert(5, 77);
  const PageTable::Found found = table.Look(5);
  ASSERT_NE(found.entry, nullptr);
  EXPECT_EQ(found.frame(), 77u);
  EXPECT_FALSE(found.open());
  EXPECT_EQ(found.usage(), 0u);
  table.Open(5);
  EXPECT_TRUE(table.Look(5).open());
  EXPECT_TRUE(table.Close(5));
  EXPECT_FALSE(table.Close(5));
  EXPECT_FALSE(table.Look(5).open());
  EXPECT_EQ(table.Look(6).entry, nullptr);
}

TEST(PageTable, UsesAreCountedUpToThreeAndChangeNothingElse) {
  std::vector<PageTable::Entry> entries(8);
  PageTable table(entries);
  table.Insert(5, 77);
  table.Open(5);
  for (const unsigned usage : {1u, 2u, 3u, 3u}) {
    table.Look(5).Use();
    EXPECT_EQ(table.UsageOf(5), usage);
  }
  table.SetUsage(5, 1);
  EXPECT_EQ(table.UsageOf(5), 1u);
  EXPECT_TRUE(table.Look(5).open());
  EXPECT_EQ(table.Find(5), 77u);
}

TEST(PageTable, WhoHasFoundAPageSeesThatItsEntryHasChanged) {
  constexpr auto kOrder = std::memory_order_acquire;
  std::vector<PageTable::Entry> entries(8);
  PageTable table(entries);
  table.Insert(5, 77);
  table.Open(5);
  const PageTable::Found found = table.Look(5);
  EXPECT_TRUE(found.StillThere(kOrder));
  found.Use();
  EXPECT_TRUE(found.StillThere(kOrder));
  table.Close(5);
  EXPECT_FALSE(found.StillThere(kOrder));
  found.Use();  // too late: it must not open the entry again
  EXPECT_FALSE(table.Look(5).open());
  table.Open(5);
  EXPECT_TRUE(found.StillThere(kOrder));
  table.Erase(5);
  table.Insert(5, 78);
  table.Open(5);
  EXPECT_FALSE(found.StillThere(kOrder));
  table.Clear();
  EXPECT_FALSE(found.StillThere(kOrder));
  EXPECT_EQ(table.Find(5), kNoFrame);
}

TEST(PageTable, IsTheSameAfterItWasPacked) {
  alignas(64) std::array<PageTable::Entry, 16> entries{};
  PageTable table(entries);
  table.Insert(5, 77);
  const PageTable same = PageTable::Unpack(table.Pack());
  EXPECT_EQ(same.Find(5), 77u);
  EXPECT_EQ(same.capacity(), 8u);
  EXPECT_EQ(PageTable::Unpack(PageTable().Pack()).Find(5), kNoFrame);
}

// Inserts the page if it is absent, else erases it, in the table and in the reference.
struct Pair {
  static constexpr size_t kEntries = 8;
  static constexpr size_t kPages = kEntries / 2;
  alignas(64) std::array<PageTable::Entry, kEntries> entries{};
  PageTable table{entries};
  std::array<bool, kPages> present{};
  std::array<PageNumber, kPages> pages;

  void Toggle(size_t i) {
    present[i] ? table.Erase(pages[i]) : table.Insert(pages[i], static_cast<FrameIndex>(i));
    present[i] = !present[i];
  }
  bool Agrees() const {
    for (size_t i = 0; i < kPages; ++i) {
      if (table.Find(pages[i]) != (present[i] ? static_cast<FrameIndex>(i) : kNoFrame))
        return false;
    }
    return true;
  }
};

// Every sequence of six insertions and deletions of four pages, whose homes are any of the last two
// entries and the first: each way to collide, to shift back, and to wrap around.
TEST(PageTable, AgreesWithAReferenceOnEverySequenceOfSixOperations) {
  const std::array<std::vector<PageNumber>, 3> by_home = {
      PagesAt(6, 4, Pair::kEntries), PagesAt(7, 4, Pair::kEntries), PagesAt(0, 4, Pair::kEntries)};
  for (size_t homes = 0; homes < 3 * 3 * 3 * 3; ++homes) {
    std::array<PageNumber, Pair::kPages> pages;
    for (size_t i = 0, rest = homes; i < pages.size(); ++i, rest /= 3) {
      pages[i] = by_home[rest % 3][i];
    }
    for (unsigned sequence = 0; sequence < 1u << 12; ++sequence) {
      Pair pair;
      pair.pages = pages;
      for (unsigned step = 0; step < 6; ++step) {
        pair.Toggle(sequence >> (2 * step) & 3);
        ASSERT_TRUE(pair.Agrees())
            << "homes " << homes << ", sequence " << sequence << ", step " << step;
      }
    }
  }
}

TEST(PageTable, AgreesWithAnUnorderedMapWhenHalfFull) {
  constexpr size_t kFrames = 512;
  std::vector<PageTable::Entry> entries(PageTable::EntriesFor(kFrames));
  PageTable table(entries);
  std::unordered_map<PageNumber, FrameIndex> reference;
  std::mt19937 random(1);
  for (int i = 0; i < 200'000; ++i) {
    // Runs of neighbours, multiples of a large power of two, and the end of the range.
    constexpr std::array<uint32_t, 4> kFactors = {1, 4096, 1u << 20, 0xfffffffd};
    const PageNumber page = (random() % 1024) * kFactors[random() % kFactors.size()];
    const auto found = reference.find(page);
    ASSERT_EQ(table.Find(page), found == reference.end() ? kNoFrame : found->second);
    if (found != reference.end()) {
      table.Erase(page);
      reference.erase(found);
    } else if (reference.size() < table.capacity()) {
      table.Insert(page, static_cast<FrameIndex>(i));
      reference[page] = static_cast<FrameIndex>(i);
    }
  }
  for (const auto& [page, frame] : reference) EXPECT_EQ(table.Find(page), frame);
}

}  // namespace
}  // namespace mpool::internal
