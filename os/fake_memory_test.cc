// What only the fake offers: places of the tests' choice, counts, and limits on mappings.

#include "os/fake_memory.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace os::testing {
namespace {

using Access = Memory::Access;
using Fork = Memory::Fork;

PageRange Range(uint64_t begin, uint64_t end) {
  return PageRange(PageNumber(begin), PageNumber(end));
}

// One letter a page: '.' a hole, 'r' resident, 'l' locked, 'L' locked and resident, '-' none of it.
std::string States(const FakeMemory& memory, PageRange pages) {
  std::string states;
  for (PageNumber page = pages.begin(); page < pages.end(); page = page + PageCount(1)) {
    const std::optional<Mapping> mapping = *memory.MappingAt(page);
    if (!mapping || !mapping->pages.contains(page)) {
      states += '.';
    } else if (memory.IsLocked(page)) {
      states += memory.IsResident(page) ? 'L' : 'l';
    } else {
      states += memory.IsResident(page) ? 'r' : '-';
    }
  }
  return states;
}

TEST(FakeMemory, LockFailsHalfDoneAsTheKernelDoes) {
  FakeMemory memory;
  memory.AddMapping(Range(10, 13), Access::kReadWrite);
  memory.AddMapping(Range(14, 16), Access::kReadWrite);
  EXPECT_EQ(memory.Lock(Range(10, 16)), Errno(ENOMEM));
  EXPECT_EQ(States(memory, Range(10, 16)), "lll.--");
  memory.AddMapping(Range(20, 22), Access::kReadWrite);
  memory.AddMapping(Range(22, 23), Access::kNone);
  memory.AddMapping(Range(23, 25), Access::kReadWrite);
  EXPECT_EQ(memory.Lock(Range(20, 25)), Errno(ENOMEM));
  EXPECT_EQ(States(memory, Range(20, 25)), "LLlll");
  memory.AddFileMapping(Range(30, 34), PageCount(2));
  EXPECT_EQ(memory.Lock(Range(30, 34)), Errno(ENOMEM));
  EXPECT_EQ(States(memory, Range(30, 34)), "LLll");
  EXPECT_EQ(memory.locked_pages(), PageCount(12));
}

TEST(FakeMemory, LockOverTheLimitChangesNothing) {
  FakeMemory memory;
  memory.AddMapping(Range(10, 20), Access::kReadWrite);
  memory.set_lock_limit(PageCount(4));
  EXPECT_EQ(memory.Lock(Range(10, 13)), kSuccess);
  EXPECT_EQ(memory.Lock(Range(12, 15)), Errno(ENOMEM));  // two more
  EXPECT_EQ(States(memory, Range(10, 16)), "LLL---");
  EXPECT_EQ(memory.Lock(Range(12, 14)), kSuccess);
  memory.set_lock_limit(std::nullopt);
  EXPECT_EQ(memory.Lock(Range(10, 20)), kSuccess);
  EXPECT_EQ(memory.CheckLockLimit(PageCount(UINT64_MAX)), kSuccess);
  memory.set_lock_limit(PageCount(4));  // below what is locked
  EXPECT_EQ(memory.CheckLockLimit(PageCount(1)), Errno(ENOMEM));
  EXPECT_EQ(memory.Unlock(Range(10, 17)), kSuccess);
  EXPECT_EQ(memory.CheckLockLimit(PageCount(1)), kSuccess);
  EXPECT_EQ(memory.CheckLockLimit(PageCount(2)), Errno(ENOMEM));
}

TEST(FakeMemory, EvictSparesLockedPages) {
  FakeMemory memory;
  memory.AddMapping(Range(10, 16), Access::kReadWrite);
  ASSERT_EQ(memory.Populate(Range(10, 16)), kSuccess);
  ASSERT_EQ(memory.Lock(Range(12, 14)), kSuccess);
  EXPECT_EQ(States(memory, Range(10, 16)), "rrLLrr");
  memory.Evict(Range(10, 15));
  EXPECT_EQ(States(memory, Range(10, 16)), "--LL-r");
  EXPECT_EQ(*memory.CountPresent(Range(0, 100)), PageCount(3));
}

TEST(FakeMemory, MappingOverALockedPageDropsTheLock) {
  FakeMemory memory;
  memory.AddMapping(Range(10, 14), Access::kReadWrite);
  ASSERT_EQ(memory.Lock(Range(10, 14)), kSuccess);
  memory.AddMapping(Range(11, 12), Access::kReadWrite);
  EXPECT_EQ(States(memory, Range(10, 14)), "L-LL");
  EXPECT_EQ(memory.Unmap(Range(12, 13)), kSuccess);
  EXPECT_EQ(States(memory, Range(10, 14)), "L-.L");
  EXPECT_EQ(memory.locked_pages(), PageCount(2));
}

TEST(FakeMemory, CountsCallsOnWhatIsNotEmpty) {
  FakeMemory memory;
  memory.AddMapping(Range(10, 12), Access::kReadWrite);
  EXPECT_EQ(memory.Lock(Range(10, 10)), kSuccess);
  EXPECT_EQ(memory.Unlock(Range(10, 10)), kSuccess);
  EXPECT_EQ(memory.lock_calls() + memory.unlock_calls(), 0u);
  EXPECT_EQ(memory.Lock(Range(10, 12)), kSuccess);
  EXPECT_EQ(memory.Lock(Range(10, 13)), Errno(ENOMEM));
  EXPECT_EQ(memory.Unlock(Range(10, 12)), kSuccess);
  EXPECT_EQ(memory.lock_calls(), 2u);
  EXPECT_EQ(memory.unlock_calls(), 1u);
}

TEST(FakeMemory, MapNeverGivesOutWhatIsMapped) {
  FakeMemory memory;
  const PageRange first = *memory.Map(PageCount(4), Access::kReadWrite, Fork::kInherit);
  memory.AddMapping(PageRange(first.end() + PageCount(3), PageCount(2)), Access::kReadWrite);
  std::vector<PageRange> taken = {first, PageRange(first.end() + PageCount(3), PageCount(2))};
  for (uint64_t count = 1; count < 20; ++count) {
    const PageRange pages = *memory.Map(PageCount(count), Access::kNone, Fork::kWipe,
                                        PageCount(count % 3 == 0 ? 8 : 1));
    for (const PageRange& other : taken) EXPECT_TRUE(pages.Intersection(other).empty());
    taken.push_back(pages);
  }
  EXPECT_EQ(memory.mappings(), taken.size());
}

// ---- Mappings: merged and split as the kernel does, and limited in number ----

TEST(FakeMemory, MappingsSplitAndMerge) {
  FakeMemory memory;
  memory.AddMapping(Range(10, 20), Access::kReadWrite);
  EXPECT_EQ(memory.mappings(), 1u);
  ASSERT_EQ(memory.Lock(Range(12, 14)), kSuccess);
  EXPECT_EQ(memory.mappings(), 3u);
  ASSERT_EQ(memory.Lock(Range(14, 20)), kSuccess);
  EXPECT_EQ(memory.mappings(), 2u);
  ASSERT_EQ(memory.Unlock(Range(10, 20)), kSuccess);
  EXPECT_EQ(memory.mappings(), 1u);
  ASSERT_EQ(memory.Unmap(Range(15, 16)), kSuccess);
  EXPECT_EQ(memory.mappings(), 2u);
  memory.AddMapping(Range(15, 16), Access::kReadWrite);
  EXPECT_EQ(memory.mappings(), 1u);
  memory.AddFileMapping(Range(20, 22), PageCount(2));
  memory.AddFileMapping(Range(22, 24), PageCount(2));
  EXPECT_EQ(memory.mappings(), 3u);
  ASSERT_EQ(memory.Unmap(Range(0, 100)), kSuccess);
  EXPECT_EQ(memory.mappings(), 0u);
}

TEST(FakeMemory, AFullTableRefusesToSplit) {
  FakeMemory memory;
  memory.AddMapping(Range(10, 20), Access::kReadWrite);
  memory.set_max_mappings(3);
  ASSERT_EQ(memory.Lock(Range(12, 14)), kSuccess);
  EXPECT_EQ(memory.Lock(Range(16, 17)), Errno(ENOMEM));
  EXPECT_EQ(memory.Unlock(Range(12, 13)), kSuccess);  // moves a boundary
  EXPECT_EQ(memory.Lock(Range(12, 18)), kSuccess);
  EXPECT_EQ(memory.Unlock(Range(14, 15)), Errno(ENOMEM));
  EXPECT_EQ(States(memory, Range(10, 20)), "--LLLLLL--");
  EXPECT_EQ(memory.Unmap(Range(14, 15)), Errno(ENOMEM));
  EXPECT_EQ(memory.Map(PageCount(1), Access::kNone, Fork::kInherit).error(), Errno(ENOMEM));
  EXPECT_EQ(memory.Commit(Range(14, 15)), kSuccess);  // nothing to split: it is writable
  EXPECT_EQ(memory.Decommit(Range(14, 15)), Errno(ENOMEM));
  EXPECT_EQ(memory.mappings(), 3u);
  EXPECT_EQ(memory.Unmap(Range(12, 18)), kSuccess);
  EXPECT_EQ(memory.mappings(), 2u);
}

// "Earlier mappings stay as changed."
TEST(FakeMemory, AFullTableStopsUnlockHalfWay) {
  FakeMemory memory;
  memory.AddMapping(Range(10, 12), Access::kReadWrite);
  memory.AddMapping(Range(12, 16), Access::kNone);
  memory.set_max_mappings(2);
  EXPECT_EQ(memory.Lock(Range(10, 16)), Errno(ENOMEM));
  EXPECT_EQ(States(memory, Range(10, 16)), "LLllll");
  EXPECT_EQ(memory.Unlock(Range(10, 14)), Errno(ENOMEM));
  EXPECT_EQ(States(memory, Range(10, 16)), "rrllll");
}

// mappings() and locked_pages() against a count from scratch, over every pair of ranges.
TEST(FakeMemory, CountsAreWhatTheListSays) {
  for (uint64_t a = 10; a < 15; ++a) {
    for (uint64_t b = a; b < 16; ++b) {
      for (uint64_t c = 10; c < 15; ++c) {
        for (uint64_t d = c; d < 16; ++d) {
          FakeMemory memory;
          memory.AddMapping(Range(10, 15), Access::kReadWrite);
          (void)memory.Lock(Range(a, b));
          (void)memory.Unmap(Range(c, d));
          memory.AddMapping(Range(11, 13), Access::kReadWrite);
          (void)memory.Lock(Range(c, d));
          uint64_t mappings = 0, locked = 0;
          PageNumber page(0);
          for (auto next = *memory.MappingAt(page); next; next = *memory.MappingAt(page)) {
            ++mappings;
            page = next->pages.end();
          }
          for (uint64_t i = 9; i < 17; ++i) locked += memory.IsLocked(PageNumber(i)) ? 1u : 0u;
          EXPECT_EQ(memory.mappings(), mappings);
          EXPECT_EQ(memory.locked_pages(), PageCount(locked));
        }
      }
    }
  }
}

TEST(FakeMemory, ServesSeveralThreads) {
  FakeMemory memory(65536);
  memory.set_lock_limit(PageCount(40));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&memory] {
      for (int round = 0; round < 100; ++round) {
        const PageRange pages = *memory.Map(PageCount(10), Access::kReadWrite, Fork::kInherit);
        EXPECT_EQ(memory.Lock(pages), kSuccess);
        EXPECT_EQ(*memory.CountPresent(pages), PageCount(10));
        EXPECT_EQ(memory.Unlock(pages), kSuccess);
        EXPECT_EQ(memory.Unmap(pages), kSuccess);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(memory.locked_pages(), PageCount(0));
  EXPECT_EQ(memory.mappings(), 0u);
}

}  // namespace
}  // namespace os::testing
