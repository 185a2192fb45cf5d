// kill -9 at every place where a process can have done one thing and not yet the next: whoever is
// left has every page, every frame and every update, and waits for nothing.
//
// MPOOL_KILLS=10000 for a long run at random places; TEST_SEED repeats one.

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "mpool/internal/shared_region.h"
#include "mpool/mpool.h"
#include "mpool/page_pool.h"
#include "tests/process/kill_worker.h"
#include "tests/support/sanitizer.h"
#include "tests/support/seed.h"
#include "tests/support/test_file.h"

namespace {

using mpool::PagePool;
using namespace test_support;  // of its own header

constexpr int kKilled = -SIGKILL;
constexpr std::chrono::seconds kLongestWait{2};
// At which of its visits to a place a process is killed. The sanitizers are slow, and look for other
// things.
constexpr bool kSanitizer = test_support::kThreadSanitizer || test_support::kAddressSanitizer;
constexpr std::array<uint64_t, 3> kAllVisits = {1, 2, 7};
constexpr std::span<const uint64_t> kVisits(kAllVisits.data(), kSanitizer ? 1 : 3);

class MpoolKill : public testing::Test {
 protected:
  // A new file and nobody in the pool.
  void Begin() {
    survivor_.reset();
    file_ = std::make_unique<TestFile>();
    std::vector<std::byte> page(kKillPageSize);
    for (uint32_t i = 0; i < kKillPages; ++i) {
      FillPage(absl::MakeSpan(page), i, 0);
      file_->Write(uint64_t{i} * kKillPageSize,
                   {reinterpret_cast<const char*>(page.data()), page.size()});
    }
    control_->Clear();
  }

  KillTask Task(uint64_t seed) const { return {.key = key_, .fd = file_->fd(), .seed = seed}; }

  void Survive() {
    auto pool = PagePool::Open(file_->fd(),
                               {.key = key_, .page_size = kKillPageSize, .pages_max = kKillCache});
    ASSERT_TRUE(pool.ok()) << pool.status();
    survivor_ = std::move(*pool);
    for (uint32_t i = 0; i < kKillCache; ++i) ASSERT_TRUE(survivor_->Get(i).ok());
  }

  // Every page is there, within two seconds, and is what was put last, or what was being put. What
  // was being put may be half done only if that is said. `since_sync`: nobody was left, so what was
  // not in the file may be lost.
  void CheckPages(bool since_sync = false) {
    for (uint32_t page = 0; page < kKillPagesMax; ++page) {
      const uint64_t begun = control_->begun[page].load();
      const uint64_t committed = control_->committed[page].load();
      const uint64_t least = since_sync ? control_->synced[page].load() : committed;
      auto pin = survivor_->GetForWrite(page, kLongestWait);
      const bool suspect = pin.status().code() == absl::StatusCode::kDataLoss;
      if (suspect) pin = survivor_->GetForWrite(page, kLongestWait);
      if (!pin.ok() && page >= kKillPages && least == 0) {  // not made, or lost with the pool
        control_->begun[page].store(0);
        control_->committed[page].store(0);
        continue;
      }
      ASSERT_TRUE(pin.ok()) << "page " << page << ": " << pin.status();
      uint64_t version = 0;
      const bool whole = ReadPage(pin->bytes(), page, version) ||
                         (page >= kKillPages && least == 0 && IsZero(pin->bytes()));
      if (!suspect) {
        ASSERT_TRUE(whole) << "page " << page << " is torn, and nobody has said so";
      }
      if (whole) {
        ASSERT_GE(version, least) << "page " << page << " has lost an update";
        ASSERT_LE(version, begun) << "page " << page;
      }
      FillPage(pin->bytes(), page, begun + 1);
      pin->MarkDirty();
      control_->begun[page].store(begun + 1);
      control_->committed[page].store(begun + 1);
    }
  }

  static bool IsZero(absl::Span<const std::byte> bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
  }

  // No frame is lost: all of them can be pinned at once.
  void CheckFrames() {
    ASSERT_EQ(survivor_->stats()->pins, 0u);
    const uint64_t frames = survivor_->stats()->frames - survivor_->stats()->frames_overflow;
    std::vector<mpool::PagePin> pins;
    for (uint32_t page = 0; page < frames; ++page) {
      auto pin = survivor_->Get(page, kLongestWait);
      ASSERT_TRUE(pin.ok()) << pin.status();
      pins.push_back(std::move(*pin));
    }
    ASSERT_EQ(survivor_->stats()->pins, frames);
    ASSERT_EQ(survivor_->stats()->frames_overflow, 0u) << "a frame was lost";
  }

  // What was synchronised is in the file.
  void CheckFile() {
    ASSERT_EQ(survivor_->Sync(), absl::OkStatus());
    for (uint32_t page = 0; page < kKillPages; ++page) {
      const std::string bytes = file_->Page(page, kKillPageSize);
      uint64_t version = 0;
      ASSERT_TRUE(
          ReadPage({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, page, version))
          << page;
      ASSERT_EQ(version, control_->committed[page].load()) << page;
    }
  }

  void CheckAll() {
    ASSERT_NO_FATAL_FAILURE(CheckPages());
    ASSERT_NO_FATAL_FAILURE(CheckFrames());
    ASSERT_NO_FATAL_FAILURE(CheckFile());
  }

  KillControl* const control_ = KillControl::Make();
  // Other tests may run beside this one, in pid namespaces of their own.
  const std::string key_ = "kill " + std::to_string(std::random_device()());
  std::unique_ptr<TestFile> file_;
  std::unique_ptr<PagePool> survivor_;
};

// The names in the sources, so that none is forgotten here.
std::set<std::string> NamesInSources() {
  std::set<std::string> names;
  for (const auto& source : std::filesystem::directory_iterator("mpool/internal")) {
    if (source.path().filename() == "kill_point.h") continue;
    std::ifstream file(source.path());
    EXPECT_TRUE(file.good()) << source.path();
    std::stringstream text;
    text << file.rdbuf();
    const std::string all = text.str(), begin = "KILL_POINT(\"";
    for (size_t at = all.find(begin); at != all.npos; at = all.find(begin, at + 1)) {
      const size_t name = at + begin.size();
      names.insert(all.substr(name, all.find('"', name) - name));
    }
  }
  return names;
}

bool StartsWith(const std::string& name, const char* prefix) { return name.rfind(prefix, 0) == 0; }

// Of seeds that are tried in turn, one whose worker comes by the place.
TEST_F(MpoolKill, AtEveryPlaceOfAProcessThatWorks) {
  const std::set<std::string> names = NamesInSources();
  ASSERT_GT(names.size(), 50u);
  for (const std::string& name : names) {
    if (StartsWith(name, "recover.") || StartsWith(name, "make.")) continue;
    for (const uint64_t nth : kVisits) {
      SCOPED_TRACE(name + ", time " + std::to_string(nth));
      int end = 0;
      for (uint64_t seed = 1; seed <= 8 && end == 0; ++seed) {
        Begin();
        ASSERT_NO_FATAL_FAILURE(Survive());
        KillTask task = Task(seed);
        task.place = name;
        task.nth = nth;
        end = AwaitWorker(StartWorker(*control_, task));
        ASSERT_TRUE(end == 0 || end == kKilled) << end;
        ASSERT_NO_FATAL_FAILURE(CheckAll());
      }
      if (nth == 1) {
        ASSERT_EQ(end, kKilled) << "no worker came by";
      }
    }
  }
}

TEST_F(MpoolKill, OfTheOnlyProcessAndTheNextOneBeginsAnew) {
  for (const std::string& name : NamesInSources()) {
    if (StartsWith(name, "recover.")) continue;
    SCOPED_TRACE(name);
    Begin();
    KillTask task = Task(3);
    task.place = name;
    task.nth = 1;
    const int end = AwaitWorker(StartWorker(*control_, task));
    ASSERT_TRUE(end == 0 || end == kKilled) << end;
    if (StartsWith(name, "make.")) {
      ASSERT_EQ(end, kKilled);
    }
    ASSERT_NO_FATAL_FAILURE(Survive());
    ASSERT_NO_FATAL_FAILURE(CheckPages(/*since_sync=*/true));
    ASSERT_NO_FATAL_FAILURE(CheckAll());
  }
}

// One dies, a second one dies while it cleans up after it, and a third one cleans up after both.
TEST_F(MpoolKill, AtEveryPlaceOfARecovery) {
  for (const std::string& name : NamesInSources()) {
    if (!StartsWith(name, "recover.")) continue;
    for (const char* first : {"load.unlatched", "free.popped", "write.unmarked", "writer.latched",
                              "table.copied", "victims.closed", "drop.erased"}) {
      SCOPED_TRACE(std::string(first) + ", then " + name);
      int end = 0;
      for (uint64_t seed = 1; seed <= 8 && end == 0; ++seed) {
        Begin();
        ASSERT_NO_FATAL_FAILURE(Survive());
        KillTask task = Task(seed);
        task.place = first;
        task.nth = 1;
        end = AwaitWorker(StartWorker(*control_, task));
      }
      ASSERT_EQ(end, kKilled);
      KillTask task = Task(1);
      task.place = name;
      task.nth = 1;
      ASSERT_EQ(AwaitWorker(StartWorker(*control_, task)), kKilled);
      ASSERT_NO_FATAL_FAILURE(CheckAll());
      ASSERT_GE(survivor_->stats()->recoveries, 1u);
    }
  }
}

// Two at a time, at any place or at any time.
TEST_F(MpoolKill, AtRandom) {
  const char* const wanted = std::getenv("MPOOL_KILLS");
  const uint64_t kills = wanted != nullptr ? std::strtoull(wanted, nullptr, 10)
                         : kSanitizer      ? 40
                                           : 200;
  const uint64_t seed = TestSeed();
  std::mt19937_64 random(seed);
  Begin();
  ASSERT_NO_FATAL_FAILURE(Survive());
  uint64_t killed = 0;
  for (uint64_t round = 0; killed < kills; ++round) {
    SCOPED_TRACE("round " + std::to_string(round) + ", seed " + std::to_string(seed));
    std::array<pid_t, 2> workers;
    for (uint32_t i = 0; i < workers.size(); ++i) {
      KillTask task = Task(random());
      task.index = i;
      task.workers = 2;
      task.steps = 400;
      task.nth = random() % 2 == 0 ? 1 + random() % 4000 : ~uint64_t{0};
      workers[i] = StartWorker(*control_, task);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 30'000));
    for (const pid_t worker : workers) {
      if (random() % 2 == 0) kill(worker, SIGKILL);
    }
    for (const pid_t worker : workers) {
      const int end = AwaitWorker(worker);
      ASSERT_TRUE(end == 0 || end == kKilled) << end;
      if (end == kKilled) ++killed;
    }
    ASSERT_NO_FATAL_FAILURE(CheckPages());
    if (round % 8 == 0) {
      ASSERT_NO_FATAL_FAILURE(CheckAll());
    }
  }
  ASSERT_NO_FATAL_FAILURE(CheckAll());
  std::cout << killed << " killed, " << survivor_->stats()->recoveries << " recoveries, "
            << survivor_->stats()->suspects << " suspect pages" << std::endl;
}

}  // namespace
