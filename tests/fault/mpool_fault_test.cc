// Every kernel call that a pool makes fails: the first, the second, the third …, once and for ever,
// clean and half done. Afterwards nothing may be lost: no changed page, no frame, no pin, no lock.

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/internal/error_text.h"
#include "mpool/internal/pool_core.h"
#include "os/fake_file.h"
#include "os/fault_plan.h"
#include "os/faulty_file.h"
#include "os/faulty_memory.h"
#include "os/limits.h"
#include "pinlock/internal/page_locker.h"
#include "tests/support/kernel_evidence.h"

namespace {

using mpool::internal::Access;
using mpool::internal::PageNumber;
using mpool::internal::Pinned;
using mpool::internal::PoolConfig;
using mpool::internal::PoolCore;
using os::testing::FaultPlan;
using Kind = FaultPlan::Kind;

constexpr uint32_t kPageSize = 4096;
constexpr PageNumber kPages = 44;

// pinlock over memory that fails, with counts of its own.
class FaultyLocker final : public mpool::internal::Locker {
 public:
  FaultyLocker(pinlock::internal::LockerState& state, os::Memory& memory)
      : locker_(state, memory, os::RealLimits()) {}
  os::Errno Lock(std::span<std::byte> bytes) override {
    const os::Errno error = locker_.Lock(AddressOf(bytes), bytes.size(), failure_);
    pinlock::internal::Describe(failure_, text_);
    return error;
  }
  os::Errno Unlock(std::span<std::byte> bytes) override {
    pinlock::internal::Failure ignored;
    return locker_.Unlock(AddressOf(bytes), bytes.size(), ignored);
  }
  const char* ErrorText() const override { return text_.data(); }
  pinlock::internal::LockStats Stats() { return locker_.Stats(); }

 private:
  static uintptr_t AddressOf(std::span<std::byte> bytes) {
    return reinterpret_cast<uintptr_t>(bytes.data());
  }
  pinlock::internal::PageLocker locker_;
  pinlock::internal::Failure failure_;
  std::array<char, 512> text_{};
};

// The counts outlive the runs, as they outlive the pools of a process.
pinlock::internal::LockerState locker_state;

// A file and a pool over faulty everything, with what must not get lost.
class Bench {
 public:
  explicit Bench(FaultPlan& plan)
      : plan_(plan),
        memory_(os::RealMemory(), plan),
        locker_(locker_state, memory_),
        file_(Contents()) {
    for (PageNumber page = 0; page < kPages; ++page) may_[page] = {Initial(page)};
  }

  bool Open(const PoolConfig& config) {
    config_ = config;
    auto file = std::make_unique<os::testing::FaultyFile>(file_, plan_);
    const os::Result<PoolCore*> pool = PoolCore::Open(memory_, locker_, std::move(file), config);
    if (pool.ok()) {
      pool_ = *pool;
      return true;
    }
    EXPECT_TRUE(plan_.fired());
    EXPECT_STRNE(mpool::internal::ErrorText(), "");
    ExpectEverythingUnlocked();
    return false;
  }

  // A page pinned; null where that fails, which it may do by a fault alone.
  std::byte* Get(PageNumber page) {
    const os::Result<Pinned> pinned = pool_->Get(page, Access::kPinned);
    if (!pinned.ok()) {
      EXPECT_TRUE(plan_.fired()) << pinned.error().Name();
      EXPECT_STRNE(mpool::internal::ErrorText(), "");
      return nullptr;
    }
    std::byte* const bytes = pinned->bytes;
    pinned_.insert(bytes);
    const auto value = static_cast<uint8_t>(bytes[kPageSize - 1]);
    EXPECT_EQ(bytes[0], bytes[kPageSize - 1]) << "page " << page;
    EXPECT_TRUE(may_[page].contains(value)) << "page " << page << " holds " << int{value};
    return bytes;
  }
  void Put(std::byte* bytes, bool dirty = false) {
    if (bytes == nullptr) return;
    EXPECT_EQ(pool_->Put(bytes, dirty), os::kSuccess);
    pinned_.erase(pinned_.find(bytes));
  }
  void Read(PageNumber page) { Put(Get(page)); }
  void Change(PageNumber page, uint8_t value) {
    std::byte* const bytes = Get(page);
    if (bytes != nullptr) Fill(page, bytes, value);
    Put(bytes, /*dirty=*/true);
  }
  // Makes a page, or changes nothing.
  void Make(const PageNumber* requested, uint8_t value) {
    PageNumber page = requested == nullptr ? 0 : *requested;
    const os::Result<Pinned> pinned = pool_->New(requested, Access::kPinned, &page);
    if (!pinned.ok()) {
      EXPECT_TRUE(plan_.fired()) << pinned.error().Name();
      return;
    }
    std::byte* const bytes = pinned->bytes;
    pinned_.insert(bytes);
    EXPECT_EQ(bytes[kPageSize - 1], std::byte{0});
    Fill(page, bytes, value);
    Put(bytes, /*dirty=*/true);
  }
  void Delete(PageNumber page) {
    std::byte* const bytes = Get(page);
    if (bytes == nullptr) return;
    EXPECT_EQ(pool_->Delete({.bytes = bytes}, Access::kPinned), os::kSuccess);
    pinned_.erase(pinned_.find(bytes));
    may_[page].insert(ever_[page].begin(), ever_[page].end());  // some of it may have been written
    may_[page].insert({Initial(page), 0});
  }
  // What a successful sync has put into the file survives a crash.
  void Sync() {
    if (!pool_->Sync().ok()) {
      EXPECT_TRUE(plan_.fired());
      return;
    }
    EXPECT_EQ(pool_->Stats().dirty, 0u);
    const std::vector<std::byte> synced = file_.synced();
    for (const auto& [page, values] : may_) {
      if (values.size() > 1) continue;
      ASSERT_GE(synced.size(), (size_t{page} + 1) * kPageSize);
      EXPECT_EQ(static_cast<uint8_t>(synced[page * kPageSize]), *values.begin()) << page;
    }
  }

  // No fault any more: everything must be there, and everything must work.
  void Verify() {
    plan_.Disarm();
    EXPECT_EQ(pool_->Stats().pins, pinned_.size());
    while (!pinned_.empty()) Put(*pinned_.begin());
    std::vector<std::byte*> all;
    for (const auto& [page, values] : may_) all.push_back(Get(page));
    for (std::byte* bytes : all) Put(bytes);
    Sync();
    // Two misses by another thread bring back every growth frame; then all frames are of use.
    const PageNumber last = pool_->page_count();
    const PageNumber wanted[] = {last, last + 1};
    for (const PageNumber& page : wanted) Make(&page, 77);
    EXPECT_LE(pool_->Stats().frames_overflow, 1u);
    all.clear();
    for (PageNumber page = 0; page < config_.pages_max && page < kPages; ++page) {
      all.push_back(Get(page));
    }
    EXPECT_LE(pool_->Stats().frames_overflow, 1u);  // for the page put last
    for (std::byte* bytes : all) Put(bytes);
    const struct mpool_stat stat = pool_->Stats();
    EXPECT_EQ(stat.gets, stat.hits + stat.misses);
    EXPECT_EQ(stat.pins, 0u);
  }
  void Close() {
    if (pool_ != nullptr) PoolCore::Close(std::exchange(pool_, nullptr));
    ExpectEverythingUnlocked();
  }

  PoolCore& pool() { return *pool_; }
  FaultPlan& plan() { return plan_; }

 private:
  static uint8_t Initial(PageNumber page) {
    return page < kPages ? static_cast<uint8_t>(page + 1) : uint8_t{0};
  }
  static std::vector<std::byte> Contents() {
    std::vector<std::byte> contents;
    for (PageNumber page = 0; page < kPages; ++page) {
      contents.insert(contents.end(), kPageSize, std::byte{Initial(page)});
    }
    return contents;
  }
  void Fill(PageNumber page, std::byte* bytes, uint8_t value) {
    std::memset(bytes, value, kPageSize);
    may_[page] = {value};
    ever_[page].insert(value);
  }
  void ExpectEverythingUnlocked() {
    EXPECT_EQ(locker_.Stats().pages_locked, 0u);
    EXPECT_EQ(test_support::LockedBytes(), locked_before_);  // of the whole process
  }

  FaultPlan& plan_;
  os::testing::FaultyMemory memory_;
  FaultyLocker locker_;
  os::testing::FakeFile file_;
  PoolConfig config_;
  PoolCore* pool_ = nullptr;
  std::multiset<std::byte*> pinned_;
  std::map<PageNumber, std::set<uint8_t>> may_;   // what the page may hold
  std::map<PageNumber, std::set<uint8_t>> ever_;  // what it was given so far
  const uint64_t locked_before_ = test_support::LockedBytes();
};

PoolConfig Config(uint64_t pages_max) {
  PoolConfig config;
  config.page_size = kPageSize;
  config.pages_max = pages_max;
  return config;
}

struct Scenario {
  const char* name;
  PoolConfig config;
  void (*run)(Bench&);
};

const Scenario kScenarios[] = {
    {"OpenAlone", Config(64), [](Bench&) {}},
    {"Misses", Config(4),
     [](Bench& bench) {
       for (PageNumber page = 0; page < 8; ++page) bench.Read(page);
     }},
    {"EvictionOfDirtyPages", Config(4),
     [](Bench& bench) {
       for (PageNumber page = 0; page < 8; ++page) {
         bench.Change(page, static_cast<uint8_t>(100 + page));
       }
     }},
    {"Growth", Config(64),
     [](Bench& bench) {
       for (PageNumber page = 0; page < 40; ++page) bench.Read(page);
     }},
    {"Overflow", Config(2),
     [](Bench& bench) {
       std::vector<std::byte*> pages;
       for (PageNumber page = 0; page < 7; ++page) {
         if (page % 2 == 0) bench.Change(page, static_cast<uint8_t>(100 + page));
         pages.push_back(bench.Get(page));
       }
       for (std::byte* bytes : pages) bench.Put(bytes);
       for (PageNumber page = 20; page < 24; ++page) bench.Read(page);
     }},
    {"OverflowUnlocked",
     [] {
       PoolConfig config = Config(2);
       config.allow_unlocked = true;
       return config;
     }(),
     [](Bench& bench) {
       std::vector<std::byte*> pages;
       for (PageNumber page = 0; page < 7; ++page) pages.push_back(bench.Get(page));
       const struct mpool_stat stat = bench.pool().Stats();
       EXPECT_TRUE(stat.frames_locked == stat.frames || bench.plan().fired());
       for (std::byte* bytes : pages) bench.Put(bytes);
       for (PageNumber page = 20; page < 24; ++page) bench.Read(page);
     }},
    {"SyncOfSeveralRuns", Config(16),
     [](Bench& bench) {
       for (const PageNumber page : {0u, 1u, 2u, 5u, 6u, 9u}) bench.Change(page, 100);
       std::byte* const pinned = bench.Get(6);
       bench.Sync();
       bench.Change(1, 101);
       bench.Sync();
       bench.Put(pinned);
     }},
    {"NewPages", Config(4),
     [](Bench& bench) {
       for (uint8_t i = 0; i < 6; ++i) bench.Make(nullptr, static_cast<uint8_t>(100 + i));
       const PageNumber far = 60;
       bench.Make(&far, 120);
       bench.Sync();
     }},
    {"Deletes", Config(4),
     [](Bench& bench) {
       bench.Change(3, 100);
       bench.Change(4, 101);
       bench.Sync();
       bench.Change(3, 102);
       bench.Delete(3);
       bench.Read(3);
       bench.Delete(5);
       for (PageNumber page = 10; page < 16; ++page) bench.Read(page);
     }},
    {"Prefetch", Config(4),
     [](Bench& bench) {
       bench.Change(1, 100);
       const PageNumber pages[] = {2, 3, 4, 5, 6, 7};
       EXPECT_LE(bench.pool().Prefetch(pages), 4u);
       bench.Change(2, 101);
     }},
};

class MpoolFault : public testing::TestWithParam<Scenario> {
 protected:
  void Loop(Kind kind, int error) const {
    SCOPED_TRACE(testing::Message() << "kind " << static_cast<int>(kind));
    os::testing::ForEachFault({.error = os::Errno(error), .kind = kind}, [](FaultPlan& plan) {
      Bench bench(plan);
      if (!bench.Open(GetParam().config)) {
        plan.Disarm();
        ASSERT_TRUE(bench.Open(GetParam().config));  // once the fault is gone, it opens
      }
      GetParam().run(bench);
      bench.Verify();
      bench.Close();
      if (testing::Test::HasFailure()) GTEST_FAIL() << "the first run that failed";
    });
  }
};

TEST_P(MpoolFault, NothingIsLostWhenMemoryFails) {
  for (const Kind kind : {Kind::kMap, Kind::kCommit, Kind::kDecommit, Kind::kLock}) {
    Loop(kind, ENOMEM);
  }
}

TEST_P(MpoolFault, NothingIsLostWhenTheKernelRefusesToUnlock) { Loop(Kind::kUnlock, ENOMEM); }

TEST_P(MpoolFault, NothingIsLostWhenTheFileFails) {
  for (const Kind kind : {Kind::kRead, Kind::kWrite, Kind::kSync, Kind::kSize}) Loop(kind, EIO);
  Loop(Kind::kWrite, ENOSPC);
}

INSTANTIATE_TEST_SUITE_P(, MpoolFault, testing::ValuesIn(kScenarios),
                         [](const auto& scenario) { return scenario.param.name; });

// Unlocking that fails while the pool is closed leaves nothing locked: its memory goes.
TEST(MpoolFaultClose, NothingStaysLockedWhereTheKernelRefusesToUnlock) {
  os::testing::ForEachFault({.error = os::Errno(ENOMEM), .kind = Kind::kUnlock},
                            [](FaultPlan& plan) {
                              Bench bench(plan);
                              ASSERT_TRUE(bench.Open(Config(2)));
                              for (PageNumber page = 0; page < 4; ++page) (void)bench.Get(page);
                              bench.Close();
                            });
}

// Which error of the kernel becomes which of the pool's.
TEST(MpoolFaultErrors, AreToldApart) {
  const auto open_error = [](Kind kind, int error) {
    FaultPlan plan;
    os::testing::FaultyMemory memory(os::RealMemory(), plan);
    FaultyLocker locker(locker_state, memory);
    os::testing::FakeFile file;
    auto faulty = std::make_unique<os::testing::FaultyFile>(file, plan);
    plan.Arm({.error = os::Errno(error), .forever = true, .kind = kind});
    return PoolCore::Open(memory, locker, std::move(faulty), Config(4)).error();
  };
  EXPECT_EQ(open_error(Kind::kMap, ENOMEM), os::Errno(ENOMEM));     // no address space
  EXPECT_EQ(open_error(Kind::kCommit, ENOMEM), os::Errno(EAGAIN));  // no memory, or mappings
  EXPECT_EQ(open_error(Kind::kLock, EAGAIN), os::Errno(EAGAIN));    // no memory
  EXPECT_EQ(open_error(Kind::kSize, EIO), os::Errno(EIO));
}

}  // namespace
