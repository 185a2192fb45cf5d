// Threads that pin and unpin overlapping ranges, with the kernel as the witness.

#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "pinlock/mpin.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/seed.h"
#include "tests/support/test_mapping.h"

namespace {

using test_support::KernelEvidence;
using test_support::PageSize;
using test_support::TestMapping;

constexpr size_t kPages = 1100;  // over three leaves of the counters' tree
constexpr size_t kPagesPerPin = 40;
constexpr size_t kPinsPerThread = 16;
constexpr int kThreads = 4;
constexpr auto kDuration = std::chrono::seconds(2);

struct Range {
  size_t first;
  size_t count;
};

// Pins and unpins at random until the deadline, then unpins the rest. Checks what it holds.
class Worker {
 public:
  Worker(const TestMapping& mapping, uint64_t seed) : mapping_(mapping), random_(seed) {}

  void Run(std::chrono::steady_clock::time_point deadline) {
    while (std::chrono::steady_clock::now() < deadline && failures_ == 0) {
      for (int i = 0; i < 64; ++i) Step();
      if (!held_.empty()) ExpectHeld(held_[Below(held_.size())]);
    }
    while (!held_.empty()) Unpin();
  }

  uint64_t pins() const { return pins_; }
  uint64_t failures() const { return failures_; }

 private:
  size_t Below(size_t bound) { return random_() % bound; }
  void Expect(bool success) {
    if (!success) ++failures_;
  }

  void Step() {
    if (held_.empty() || (held_.size() < kPinsPerThread && Below(2) == 0)) {
      const size_t count = 1 + Below(kPagesPerPin);
      const Range range{Below(kPages - count), count};
      Expect(mpin(mapping_.page(range.first), range.count * PageSize()) == 0);
      ++pins_;
      held_.push_back(range);
    } else {
      Unpin();
    }
  }

  void Unpin() {
    std::swap(held_[Below(held_.size())], held_.back());
    const Range range = held_.back();
    held_.pop_back();
    Expect(munpin(mapping_.page(range.first), range.count * PageSize()) == 0);
  }

  // Whatever the others do, these pages are counted and resident.
  void ExpectHeld(Range range) {
    mpin_info info;
    Expect(mpin_query(mapping_.page(range.first), range.count * PageSize(), &info) == 0);
    Expect(info.count_min >= 1 && info.pages_locked == range.count);
    Expect(info.pages_resident == range.count);
  }

  const TestMapping& mapping_;
  std::mt19937_64 random_;
  std::vector<Range> held_;
  uint64_t pins_ = 0;
  uint64_t failures_ = 0;
};

mpin_stat Stat() {
  mpin_stat stat{};
  EXPECT_EQ(mpin_get_stat(&stat, sizeof(stat)), 0);
  return stat;
}

TEST(PinlockThreads, OverlappingPinsOfManyThreadsAddUp) {
  TestMapping mapping(kPages);
  const KernelEvidence before = KernelEvidence::Of(mapping.all());
  const mpin_stat stat_before = Stat();
  const uint64_t seed = test_support::TestSeed();
  std::vector<Worker> workers;
  for (int i = 0; i < kThreads; ++i) workers.emplace_back(mapping, seed + static_cast<uint64_t>(i));
  const auto deadline = std::chrono::steady_clock::now() + kDuration;
  std::vector<std::thread> threads;
  for (Worker& worker : workers) threads.emplace_back([&] { worker.Run(deadline); });
  for (std::thread& thread : threads) thread.join();

  uint64_t pins = 0;
  for (const Worker& worker : workers) {
    EXPECT_EQ(worker.failures(), 0u) << mpin_error();
    pins += worker.pins();
  }
  mpin_info info;
  ASSERT_EQ(mpin_query(mapping.page(0), kPages * PageSize(), &info), 0);
  EXPECT_EQ(info.count_max, 0u);
  const mpin_stat stat = Stat();
  EXPECT_EQ(stat.pages_locked, 0u);
  EXPECT_EQ(stat.pages_residual, 0u);
  EXPECT_EQ(stat.pins, stat_before.pins + pins);
  EXPECT_EQ(stat.unpins, stat_before.unpins + pins);
  EXPECT_EQ(stat.failures, stat_before.failures);
  EXPECT_EQ(KernelEvidence::Of(mapping.all()), before);
}

// The last unpin of a page and the first pin of it by another thread: it must end up locked.
TEST(PinlockThreads, APinIsLockedWhateverAnotherThreadUnpins) {
  TestMapping mapping(1);
  std::atomic<bool> done{false};
  std::thread other([&] {
    while (!done) {
      if (mpin(mapping.page(0), 1) != 0 || munpin(mapping.page(0), 1) != 0) std::abort();
    }
  });
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(mpin(mapping.page(0), 1), 0);
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.all()));
    ASSERT_EQ(munpin(mapping.page(0), 1), 0);
  }
  done = true;
  other.join();
  EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks({}));
}

}  // namespace
