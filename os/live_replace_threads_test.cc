// Threads that use memory as fast as they can while it is replaced hundreds of times: no write is
// lost, and nobody sees but what was written. Without StopWriters each counter loses some hundred of
// its fifty million writes.

#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "os/live_replace_fixture.h"

namespace os {
namespace {

constexpr size_t kPages = 16;

using LiveReplaceThreads = LiveReplaceTest;

// By shared memory, or by private memory.
void Replace(std::byte* range, Kind kind, size_t pages) {
  std::byte* const copy = NewMemory(kind, pages);
  LiveReplacement replacement(range, pages * kPage);
  const Errno stopped = replacement.StopWriters();
  if (stopped.ok()) CopyWords(copy, range, pages * kPage);
  const Errno moved = replacement.MoveHere(copy);
  if (!stopped.ok() || !moved.ok()) {
    ADD_FAILURE() << stopped.Name() << ' ' << moved.Name();
  }
}

// A thread with a word of its own on each page, where it counts. Nobody else writes there.
class Counter {
 public:
  explicit Counter(std::byte* words) : words_(words), last_(kPages), thread_([this] { Run(); }) {}
  Counter(const Counter&) = delete;
  Counter& operator=(const Counter&) = delete;
  ~Counter() { Join(); }

  // How often it has been on all pages.
  uint64_t turns() const { return turns_; }
  void Join() {
    end_ = true;
    if (thread_.joinable()) thread_.join();
  }
  // Writes that were gone, when it came back or now. It has ended.
  uint64_t CountLost() {
    for (size_t page = 0; page < kPages; ++page) Check(page);
    return lost_;
  }

 private:
  void Run() {
    while (!end_) {
      for (size_t page = 0; page < kPages; ++page) {
        Check(page);
        At(page).store(++last_[page], std::memory_order_relaxed);
      }
      ++turns_;
    }
  }
  void Check(size_t page) {
    if (At(page).load(std::memory_order_relaxed) != last_[page]) ++lost_;
  }
  std::atomic_ref<uint64_t> At(size_t page) const { return Word(words_ + page * kPage); }

  std::byte* const words_;
  std::vector<uint64_t> last_;  // what it has written to each page at last
  uint64_t lost_ = 0;
  std::atomic<uint64_t> turns_{0};
  std::atomic<bool> end_{false};
  std::thread thread_;
};

uint64_t TurnsOf(const std::deque<Counter>& counters) {
  uint64_t turns = 0;
  for (const Counter& counter : counters) turns += counter.turns();
  return turns;
}

TEST_F(LiveReplaceThreads, LoseNoWrite) {
  constexpr int kRounds = 300;
  std::byte* const range = NewMemory(Kind::kPrivate, kPages);
  {
    std::deque<Counter> counters;
    for (size_t i = 0; i < 3; ++i) counters.emplace_back(range + i * 64);
    for (int round = 0; round < kRounds; ++round) {
      for (const Kind kind : {Kind::kShared, Kind::kPrivate}) {
        const uint64_t before = TurnsOf(counters);
        Replace(range, kind, kPages);
        ASSERT_TRUE(WaitUntil([&] { return TurnsOf(counters) > before; })) << "nobody goes on";
      }
    }
    for (const Counter& counter : counters) {
      const uint64_t before = counter.turns();
      ASSERT_TRUE(WaitUntil([&] { return counter.turns() > before; })) << "it does not go on";
    }
    for (Counter& counter : counters) {
      counter.Join();
      EXPECT_EQ(counter.CountLost(), 0u) << "of " << counter.turns() * kPages;
    }
  }
  EXPECT_EQ(ProtectedPages(range, kPages), 0u);
  EXPECT_EQ(UnmapShared(range, kPages * kPage), kSuccess);
}

TEST_F(LiveReplaceThreads, ReadWhatWasThere) {
  constexpr int kRounds = 100;
  // A word in two pages is its address; the third is never touched but for reading.
  std::byte* const range = NewMemory(Kind::kPrivate, kPages);
  const auto expected = [range](size_t offset) {
    return offset / kPage % 3 == 2 ? 0 : reinterpret_cast<uintptr_t>(range + offset);
  };
  for (size_t offset = 0; offset < kPages * kPage; offset += sizeof(uint64_t)) {
    if (expected(offset) != 0) Word(range + offset).store(expected(offset));
  }
  std::atomic<bool> end{false};
  std::atomic<uint64_t> wrong{0}, turns{0};
  std::deque<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!end) {
        for (size_t offset = 0; offset < kPages * kPage; offset += sizeof(uint64_t)) {
          if (Word(range + offset).load(std::memory_order_relaxed) != expected(offset)) ++wrong;
        }
        ++turns;
      }
    });
  }
  for (int round = 0; round < kRounds; ++round) {
    Replace(range, Kind::kShared, kPages);
    Replace(range, Kind::kPrivate, kPages);
  }
  const uint64_t before = turns;
  EXPECT_TRUE(WaitUntil([&] { return turns > before + 2; }));
  end = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0u) << "of " << turns << " times " << kPages << " pages";
  EXPECT_EQ(UnmapShared(range, kPages * kPage), kSuccess);
}

}  // namespace
}  // namespace os
