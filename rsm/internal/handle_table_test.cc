#include "rsm/internal/handle_table.h"

#include <sys/syscall.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "pinlock/testing.h"
#include "rsm/internal/generation.h"
#include "rsm/internal/use_lines.h"
#include "tests/support/child.h"
#include "tests/support/forbid_syscalls.h"
#include "tests/support/sanitizer.h"

namespace rsm::internal {
namespace {

// Counts those that exist.
struct Item {
  explicit Item(int item_value) : value(item_value) { ++count; }
  Item(const Item&) = delete;
  Item& operator=(const Item&) = delete;
  ~Item() {
    value = -1;
    --count;
  }
  int value;
  static inline std::atomic<int> count = 0;
};

using Table = HandleTable<Item, 5>;

// Not on the stack: it is for 65,536 items.
class HandleTableTest : public testing::Test {
 protected:
  ~HandleTableTest() override { EXPECT_EQ(Item::count, 0); }

  void* Add(int value) { return table_->Add(std::make_shared<Item>(value)); }
  // -1: it is none.
  int ValueOf(const void* handle) const {
    const Table::Use use = table_->Find(handle);
    return use ? use->value : -1;
  }

  // By another thread, while this one uses it, and another object so many times besides.
  void RemoveWhatIsUsed(size_t others) {
    void* const handle = Add(1);
    void* const other = Add(2);
    std::atomic<bool> is_removed = false;
    std::thread remover;
    {
      std::vector<Table::Use> before;
      for (size_t i = 0; i < others; ++i) before.push_back(table_->Find(other));
      const Table::Use use = table_->Find(handle);
      ASSERT_TRUE(use);
      remover = std::thread([&] {
        const std::shared_ptr<Item> object = table_->Remove(handle);
        is_removed = true;
        EXPECT_NE(object, nullptr);
      });
      while (table_->Find(handle)) std::this_thread::yield();  // from now on nobody finds it
      EXPECT_FALSE(is_removed);
      EXPECT_EQ(use->value, 1);
    }
    remover.join();
    EXPECT_TRUE(is_removed);
    EXPECT_NE(table_->Remove(other), nullptr);
  }

  // Its memory is never freed: this test gives it back.
  Table* const table_ = [] {
    static Table table;
    return &table;
  }();
};

TEST_F(HandleTableTest, FindsWhatWasAdded) {
  void* const one = Add(1);
  void* const two = Add(2);
  ASSERT_NE(one, nullptr);
  ASSERT_NE(one, two);
  EXPECT_EQ(ValueOf(one), 1);
  EXPECT_EQ(ValueOf(two), 2);
  EXPECT_EQ(table_->Remove(one)->value, 1);
  EXPECT_EQ(table_->Remove(two)->value, 2);
}

TEST_F(HandleTableTest, DoesNotFindWhatWasRemoved) {
  void* const handle = Add(1);
  EXPECT_NE(table_->Remove(handle), nullptr);
  EXPECT_EQ(Item::count, 0) << "it keeps none";
  EXPECT_EQ(ValueOf(handle), -1);
  EXPECT_EQ(table_->Remove(handle), nullptr);
}

TEST_F(HandleTableTest, TellsAStaleHandleFromANewOneInTheSamePlace) {
  std::set<void*> stale;
  for (int i = 0; i < 1000; ++i) {
    void* const handle = Add(i);
    EXPECT_TRUE(stale.insert(handle).second) << "no handle is given out twice";
    EXPECT_EQ(ValueOf(handle), i);
    EXPECT_NE(table_->Remove(handle), nullptr);
  }
  void* const last = Add(7);
  for (void* const handle : stale) {
    EXPECT_EQ(ValueOf(handle), -1);
    EXPECT_EQ(table_->Remove(handle), nullptr);
  }
  EXPECT_EQ(ValueOf(last), 7) << "none of them has removed it";
  EXPECT_NE(table_->Remove(last), nullptr);
}

TEST_F(HandleTableTest, DoesNotFindWhatIsNoHandle) {
  void* const handle = Add(1);
  const auto bits = reinterpret_cast<uintptr_t>(handle);
  int local = 0;
  for (const uintptr_t other :
       {uintptr_t{0}, uintptr_t{1}, uintptr_t{5}, ~uintptr_t{0},
        reinterpret_cast<uintptr_t>(&local), bits ^ 1, bits + 16, bits + (uintptr_t{255} << 4),
        bits + (uintptr_t{300} << 4), bits + (uintptr_t{1} << 20), bits - (uintptr_t{1} << 20),
        bits + (uintptr_t{2} << 20), bits | (uintptr_t{1} << 63)}) {
    EXPECT_EQ(ValueOf(reinterpret_cast<void*>(other)), -1) << other;
    EXPECT_EQ(table_->Remove(reinterpret_cast<void*>(other)), nullptr) << other;
  }
  EXPECT_EQ(ValueOf(handle), 1);
  EXPECT_NE(table_->Remove(handle), nullptr);
}

TEST_F(HandleTableTest, DoesNotFindAHandleOfAnotherKind) {
  static HandleTable<Item, 6> others;
  void* const other = others.Add(std::make_shared<Item>(6));
  void* const handle = Add(5);
  EXPECT_EQ(ValueOf(other), -1);
  EXPECT_FALSE(others.Find(handle));
  EXPECT_NE(table_->Remove(handle), nullptr);
  EXPECT_NE(others.Remove(other), nullptr);
}

TEST_F(HandleTableTest, TakesAsManyAs65536AndFromThenOnNoMore) {
  constexpr int kCount = 65'536;
  std::vector<void*> handles;
  for (int i = 0; i < kCount; ++i) {
    handles.push_back(Add(i));
    ASSERT_NE(handles.back(), nullptr) << i;
  }
  EXPECT_EQ(Add(0), nullptr);
  EXPECT_EQ(Item::count, kCount) << "what found no place is gone";
  EXPECT_EQ(std::set<void*>(handles.begin(), handles.end()).size(), handles.size());
  EXPECT_NE(table_->Remove(handles[4711]), nullptr);
  handles[4711] = Add(4711);
  EXPECT_NE(handles[4711], nullptr) << "there is a place again";
  for (int i = 0; i < kCount; ++i) {
    ASSERT_EQ(ValueOf(handles[static_cast<size_t>(i)]), i);
    ASSERT_NE(table_->Remove(handles[static_cast<size_t>(i)]), nullptr);
  }
}

TEST_F(HandleTableTest, KeepsASharedObjectThatIsRemoved) {
  void* const handle = Add(1);
  const std::shared_ptr<Item> shared = table_->Find(handle).Share();
  EXPECT_EQ(table_->Remove(handle), shared);
  EXPECT_EQ(ValueOf(handle), -1);
  EXPECT_EQ(shared->value, 1);
}

// A thread has room for some uses in a line of its own; those beyond are counted in the table.
TEST_F(HandleTableTest, WaitsWithRemovalUntilNobodyUsesTheObject) {
  for (const size_t others : {0u, 1u, 3u, 4u, 9u}) RemoveWhatIsUsed(others);
}

// Those of a thread that has ended, and has given its line to another one, do not come back.
TEST_F(HandleTableTest, IsUsedByOneThreadAfterTheOther) {
  void* const handle = Add(1);
  std::set<const UseLine*> lines;
  for (int i = 0; i < 100; ++i) {
    std::thread([&] {
      EXPECT_EQ(ValueOf(handle), 1);
      lines.insert(UseLine::OfThisThread());
    }).join();
  }
  EXPECT_EQ(lines.size(), 1u);
  EXPECT_FALSE(lines.contains(nullptr));
  EXPECT_NE(table_->Remove(handle), nullptr);
}

// By a variable of the thread that is destroyed after the thread's line was given back.
TEST_F(HandleTableTest, IsUsedWhileAThreadEnds) {
  struct Late {
    ~Late() {
      EXPECT_EQ(UseLine::OfThisThread(), nullptr);
      const Table::Use use = table->Find(handle);
      EXPECT_TRUE(use && use->value == 1);
    }
    Table* table = nullptr;
    void* handle = nullptr;
  };
  void* const handle = Add(1);
  std::thread([&] {
    thread_local Late late;
    late.table = table_;
    late.handle = handle;
    EXPECT_EQ(ValueOf(handle), 1);
  }).join();
  EXPECT_NE(table_->Remove(handle), nullptr);
}

// A parent's threads use nothing there, whatever they used when it was forked.
TEST_F(HandleTableTest, IsUsedInAForkedChild) {
  void* const handle = Add(1);
  std::atomic<bool> is_used = false, stop = false;
  std::thread user([&] {
    const Table::Use one = table_->Find(handle);
    is_used = true;
    while (!stop) std::this_thread::yield();
  });
  while (!is_used) std::this_thread::yield();
  test_support::RunInChild([&] {
    process_generation.fetch_add(1);
    void* const fresh = Add(2);
    EXPECT_EQ(ValueOf(fresh), 2);
    EXPECT_NE(UseLine::OfThisThread(), nullptr);
    EXPECT_NE(table_->Remove(fresh), nullptr);
    EXPECT_EQ(ValueOf(handle), 1);
    EXPECT_NE(table_->Remove(handle), nullptr);
  });
  stop = true;
  user.join();
  EXPECT_NE(table_->Remove(handle), nullptr);
}

// As in a container that forbids membarrier(2), which is asked for it once.
TEST_F(HandleTableTest, IsUsedWithoutAProcessBarrier) {
  test_support::RunInChild([this] {
    test_support::ForbidSyscalls(std::array<long, 1>{SYS_membarrier}, EPERM);
    if (IsSkipped()) return;
    process_generation.fetch_add(1);
    void* const handle = Add(1);
    EXPECT_EQ(ValueOf(handle), 1);
    EXPECT_EQ(UseLine::OfThisThread(), nullptr);
    if (!test_support::kThreadSanitizer) {
      EXPECT_NO_SYSCALLS(EXPECT_EQ(ValueOf(handle), 1));
    }
    EXPECT_NE(table_->Remove(handle), nullptr);
    EXPECT_EQ(ValueOf(handle), -1);
    for (const size_t others : {0u, 5u}) RemoveWhatIsUsed(others);
  });
}

TEST_F(HandleTableTest, MovesAUse) {
  void* const handle = Add(1);
  {
    Table::Use one = table_->Find(handle);
    const Table::Use two = std::move(one);
    EXPECT_FALSE(one);  // NOLINT: that is what is asked
    EXPECT_EQ((*two).value, 1);
  }
  EXPECT_NE(table_->Remove(handle), nullptr) << "it was used once, and is not any more";
}

// What is found is whole, and is destroyed by who has removed it, whatever others do.
TEST_F(HandleTableTest, IsUsedByManyThreadsAtOnce) {
  constexpr int kHandles = 4, kRounds = 20'000;
  std::atomic<void*> handles[kHandles] = {};
  std::atomic<bool> stop = false;
  std::atomic<int64_t> added = 0, removed = 0;
  const auto replace = [&](unsigned seed) {
    for (int round = 0; round < kRounds; ++round) {
      seed = seed * 1'103'515'245 + 12'345;
      std::atomic<void*>& place = handles[seed / 65'536 % kHandles];
      void* const fresh = Add(1);
      ++added;
      void* const old = place.exchange(fresh);
      if (old != nullptr && table_->Remove(old) != nullptr) ++removed;
    }
  };
  const auto look = [&] {
    int64_t found = 0;
    while (!stop) {
      for (const std::atomic<void*>& place : handles) {
        const Table::Use use = table_->Find(place);
        if (!use) continue;
        EXPECT_EQ(use->value, 1);
        ++found;
      }
    }
    EXPECT_GT(found, 0);
  };
  std::vector<std::thread> lookers, replacers;
  for (int i = 0; i < 2; ++i) lookers.emplace_back(look);
  for (unsigned i = 0; i < 2; ++i) replacers.emplace_back(replace, i + 1);
  for (std::thread& thread : replacers) thread.join();
  stop = true;
  for (std::thread& thread : lookers) thread.join();
  for (const std::atomic<void*>& place : handles) {
    if (table_->Remove(place) != nullptr) ++removed;
  }
  EXPECT_EQ(removed, added);
}

}  // namespace
}  // namespace rsm::internal
