// stat, top and map as a user of the program meets them, and what they are made of.

#include "cli/live_pools.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "cli/json_schema.h"
#include "cli/map.h"
#include "cli/run_mpool.h"
#include "cli/stat.h"
#include "cli/top.h"
#include "gtest/gtest.h"
#include "mpool/mpool.h"
#include "mpool/page_pool.h"
#include "nlohmann/json.hpp"
#include "tests/support/test_file.h"
#include "tests/support/test_pool.h"

namespace cli {
namespace {

using mpool::internal::FrameState;
using test_support::TestFile;

constexpr uint32_t kPageSize = 4096;
constexpr uint32_t kPages = 16;

nlohmann::json Find(const nlohmann::json& objects, const char* member,
                    const nlohmann::json& value) {
  for (const auto& object : objects) {
    if (object.value(member, nlohmann::json()) == value) return object;
  }
  return nullptr;
}

Outcome Succeed(const std::string& arguments) {
  Outcome outcome = RunMpool(arguments);
  EXPECT_EQ(outcome.exit_code, 0) << arguments << outcome.out << outcome.err;
  return outcome;
}

nlohmann::json Stat(const std::string& which) {
  return ExpectValidJson(Succeed("stat --json " + which).out, "mpool.stat/1");
}

std::string Pid() { return std::to_string(getpid()); }

// A key of this run: other tests may run beside it.
std::string UniqueKey() { return "live pools " + std::to_string(std::random_device()()); }

// Another process, which does something and then waits until it is killed.
class Other {
 public:
  explicit Other(const std::function<void()>& body) {
    int ready[2];
    if (pipe(ready) != 0) std::abort();
    pid_ = fork();
    if (pid_ == 0) {
      body();
      (void)!write(ready[1], "", 1);
      for (;;) pause();
    }
    close(ready[1]);
    char byte;
    EXPECT_EQ(read(ready[0], &byte, 1), 1) << "the other process has failed";
    close(ready[0]);
  }
  ~Other() {
    Kill();
    int status = 0;
    (void)waitpid(pid_, &status, 0);
  }
  pid_t pid() const { return pid_; }
  // It is no more, though it has not been waited for.
  void Kill() const {
    kill(pid_, SIGKILL);
    siginfo_t info;
    (void)waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT);
  }

 private:
  pid_t pid_ = -1;
};

class LivePoolsTest : public testing::Test {
 protected:
  std::unique_ptr<mpool::PagePool> OpenPrivate(bool publish) const {
    auto pool = mpool::PagePool::Open(file_.fd(),
                                      {.page_size = kPageSize, .pages_max = 4, .publish = publish});
    EXPECT_TRUE(pool.ok()) << pool.status();
    return *std::move(pool);
  }
  MPOOL* OpenShared() const {
    std::string key = key_;
    DBT dbt{key.data(), key.size()};
    return mpool_open(&dbt, file_.fd(), kPageSize, 4);
  }

  const std::string key_ = UniqueKey();
  const std::string quoted_key_ = "'" + key_ + "'";
  const TestFile file_{kPages, kPageSize};
};

TEST_F(LivePoolsTest, APoolOfOneProcessIsSeenWhereItWasOpenedSo) {
  const auto pool = OpenPrivate(true);
  for (mpool::PageNumber page = 0; page < 4; ++page) ASSERT_TRUE(pool->Get(page).ok());
  ASSERT_TRUE(pool->Get(2).ok());
  const nlohmann::json all = Stat(Pid());
  EXPECT_EQ(all["process"]["pid"], getpid());
  EXPECT_GT(all["process"]["locked_bytes"], 4 * kPageSize);
  EXPECT_GT(all["process"]["pinned_pages"], 4u);
  ASSERT_EQ(all["pools"].size(), 1u);
  const nlohmann::json one = all["pools"][0];
  EXPECT_EQ(one["kind"], "private");
  EXPECT_EQ(one["key"], nullptr);
  EXPECT_EQ(one["page_bytes"], kPageSize);
  EXPECT_EQ(one["pages_max"], 4u);
  EXPECT_EQ(one["page_count"], kPages);
  EXPECT_EQ(one["stats"]["gets"], 5u);
  EXPECT_EQ(one["stats"]["hits"], 1u);
  EXPECT_EQ(one["stats"]["page_ins"], 4u);
  EXPECT_EQ(one["stats"]["pins"], 0u);
  EXPECT_EQ(one["pins"].size(), 0u);
  EXPECT_EQ(one["participants"][0]["pid"], getpid());
  EXPECT_EQ(Stat(one["name"])["pools"][0]["name"], one["name"]) << "it is found by its name too";
}

TEST_F(LivePoolsTest, APoolThatWasNotOpenedSoIsNotSeen) {
  const auto pool = OpenPrivate(false);
  const Outcome stat = Succeed("stat " + Pid());
  EXPECT_NE(stat.out.find("process " + Pid()), std::string::npos) << stat.out;
  EXPECT_NE(stat.err.find("MPOOL_PUBLISH=1"), std::string::npos) << stat.err;
  EXPECT_EQ(RunMpool("map " + Pid()).exit_code, 3);
}

TEST_F(LivePoolsTest, TheEnvironmentMakesPoolsOfAProgramSeen) {
  const Other other([&] {
    setenv("MPOOL_PUBLISH", "1", 1);
    if (mpool_open(nullptr, file_.fd(), kPageSize, 4) == nullptr) _exit(1);
    setenv("MPOOL_PUBLISH", "0", 1);
    if (mpool_open(nullptr, file_.fd(), kPageSize, 4) == nullptr) _exit(1);
  });
  EXPECT_EQ(Stat(std::to_string(other.pid()))["pools"].size(), 1u);
}

TEST_F(LivePoolsTest, PinsAreToldWithTheirProcessAndThread) {
  const auto pool = OpenPrivate(true);
  const auto first = pool->Get(1);
  const auto again = pool->Get(1);
  const auto writing = pool->GetForWrite(2);
  pid_t thread_id = 0;
  absl::StatusOr<mpool::PagePin> others = absl::InternalError("not got");
  std::thread([&] {
    others = pool->Get(3);
    thread_id = static_cast<pid_t>(syscall(SYS_gettid));
  }).join();
  ASSERT_TRUE(first.ok() && again.ok() && writing.ok() && others.ok());
  const nlohmann::json one = Stat(Pid())["pools"][0];
  EXPECT_EQ(one["stats"]["pins"], 4u);
  const nlohmann::json pins = one["pins"];
  ASSERT_EQ(pins.size(), 3u);
  const nlohmann::json read = Find(pins, "page", 1);
  EXPECT_EQ(read["pins"], 2u);
  EXPECT_EQ(read["pid"], getpid());
  EXPECT_EQ(read["thread"], getpid());
  EXPECT_EQ(read["for_writing"], false);
  const nlohmann::json written = Find(pins, "page", 2);
  EXPECT_EQ(written["thread"], getpid());
  EXPECT_EQ(written["for_writing"], true);
  EXPECT_EQ(Find(pins, "page", 3)["thread"], thread_id) << "though it has ended";
  EXPECT_NE(Succeed("stat " + Pid()).out.find(std::to_string(thread_id)), std::string::npos);
}

TEST_F(LivePoolsTest, ASharedPoolIsSeenByItsKeyWithThePinsOfAll) {
  const test_support::Pool pool(OpenShared());
  ASSERT_NE(pool, nullptr) << mpool_error();
  void* page = mpool_get(pool.get(), 5, 0);
  const Other other([&] {
    MPOOL* mine = OpenShared();
    if (mine == nullptr || mpool_get(mine, 5, 0) == nullptr || mpool_get(mine, 6, 0) == nullptr) {
      _exit(1);
    }
  });
  const nlohmann::json all = Stat(quoted_key_);
  EXPECT_EQ(all["process"], nullptr);
  ASSERT_EQ(all["pools"].size(), 1u);
  nlohmann::json one = all["pools"][0];
  EXPECT_EQ(one["kind"], "shared");
  EXPECT_EQ(one["key"], key_);
  EXPECT_EQ(one["participants"], nlohmann::json({{{"pid", getpid()}, {"alive", true}},
                                                 {{"pid", other.pid()}, {"alive", true}}}));
  EXPECT_EQ(one["stats"]["pins"], 3u);
  EXPECT_EQ(one["stats"]["gets"], 3u);
  ASSERT_EQ(one["pins"].size(), 3u);
  EXPECT_EQ(Find(one["pins"], "page", 6)["pid"], other.pid());
  EXPECT_EQ(Find(one["pins"], "page", 6)["thread"], other.pid());
  EXPECT_EQ(Stat(std::to_string(other.pid()))["pools"][0]["key"], key_);

  other.Kill();
  one = Stat(quoted_key_)["pools"][0];
  EXPECT_EQ(one["participants"][1]["alive"], false);
  EXPECT_EQ(Find(one["pins"], "page", 6)["holder_is_dead"], true);
  EXPECT_NE(Succeed("stat " + quoted_key_).out.find("(dead)"), std::string::npos);
  EXPECT_EQ(mpool_put(pool.get(), page, 0), 0);
}

TEST_F(LivePoolsTest, AProcessThatIsStoppedIsToldAndWaitedForAMomentOnly) {
  const Other other([&] {
    setenv("MPOOL_PUBLISH", "1", 1);
    if (mpool_open(nullptr, file_.fd(), kPageSize, 4) == nullptr) _exit(1);
  });
  kill(other.pid(), SIGSTOP);
  const std::string pid = std::to_string(other.pid());
  const Outcome stat = Succeed("stat " + pid);
  EXPECT_NE(stat.err.find("process " + pid + " does not tell of its pools"), std::string::npos)
      << stat.err;
}

TEST_F(LivePoolsTest, AForkedChildDoesNotKeepTheNameOfItsParent) {
  auto pool = OpenPrivate(true);
  const Other other([] {});
  pool.reset();
  pool = OpenPrivate(true);
  EXPECT_EQ(Stat(Pid())["pools"].size(), 1u);
  EXPECT_EQ(RunMpool("map " + std::to_string(other.pid())).exit_code, 3);
}

TEST_F(LivePoolsTest, MapShowsWhatFramesHoldAndThatTheyAreResident) {
  const auto pool = OpenPrivate(true);
  {
    auto page = pool->GetForWrite(0);
    ASSERT_TRUE(page.ok());
    page->MarkDirty();
  }
  ASSERT_TRUE(pool->Get(1).ok());
  const auto pinned = pool->Get(2);
  ASSERT_TRUE(pinned.ok());
  const nlohmann::json map = ExpectValidJson(Succeed("map --json " + Pid()).out, "mpool.map/1");
  EXPECT_EQ(map["looked_at_pids"], nlohmann::json({getpid()}));
  EXPECT_EQ(map["counts"]["dirty"], 1u);
  EXPECT_EQ(map["counts"]["clean"], 1u);
  EXPECT_EQ(map["counts"]["pinned"], 1u);
  EXPECT_EQ(map["counts"]["not_resident"], 0u);
  EXPECT_EQ(map["cells"].get<std::string>().size(), 4u);
  const std::string text = Succeed("map " + Pid()).out;
  EXPECT_NE(text.find("by the page tables of process " + Pid()), std::string::npos) << text;
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_NE(Succeed("map --color=always " + Pid()).out.find('\x1b'), std::string::npos);
}

TEST_F(LivePoolsTest, MapOfASharedPoolLooksIntoTheProcessesThatHaveIt) {
  const test_support::Pool pool(OpenShared());
  ASSERT_NE(pool, nullptr) << mpool_error();
  void* page = mpool_get(pool.get(), 5, 0);
  const nlohmann::json map =
      ExpectValidJson(Succeed("map --json " + quoted_key_).out, "mpool.map/1");
  EXPECT_EQ(map["looked_at_pids"], nlohmann::json({getpid()}));
  EXPECT_EQ(map["counts"]["pinned"], 1u);
  EXPECT_EQ(map["counts"]["not_resident"], 0u);
  EXPECT_EQ(mpool_put(pool.get(), page, 0), 0);
}

TEST_F(LivePoolsTest, StatPrintsOpenMetrics) {
  const auto pool = OpenPrivate(true);
  ASSERT_TRUE(pool->Get(1).ok());
  const std::string text = Succeed("stat --openmetrics " + Pid()).out;
  EXPECT_NE(text.find("\nmpool_gets_total{pool=\"" + Pid() + "."), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("\n# EOF\n")) << text;
}

TEST_F(LivePoolsTest, StatRepeatsItselfWithRates) {
  const auto pool = OpenPrivate(true);
  ASSERT_TRUE(pool->Get(1).ok());
  const std::string text = Succeed("stat -i 0.01 -c 2 " + Pid()).out;
  EXPECT_EQ(std::ranges::count(text, '\n'), 3) << text;
  EXPECT_NE(text.find("GETS/s"), std::string::npos) << text;
  std::istringstream lines(Succeed("stat --json -i 0.01 -c 2 " + Pid()).out);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_EQ(ExpectValidJson(line, "mpool.stat/1")["pools"].size(), 1u);
  }
  EXPECT_EQ(count, 2);
}

TEST_F(LivePoolsTest, TopShowsAllPools) {
  const auto pool = OpenPrivate(true);
  const test_support::Pool shared(OpenShared());
  ASSERT_NE(shared, nullptr) << mpool_error();
  const std::string text = Succeed("top -c 1").out;
  EXPECT_NE(text.find(key_), std::string::npos) << text;
  EXPECT_NE(text.find(Pid() + "."), std::string::npos) << text;
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << "no terminal";
  std::istringstream lines(Succeed("top --json -i 0.01 -c 2").out);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const nlohmann::json top = ExpectValidJson(line, "mpool.top/1");
    const nlohmann::json one = Find(top["pools"], "key", key_);
    ASSERT_FALSE(one.is_null()) << line;
    EXPECT_EQ(one["gets_per_second"].is_null(), count == 0) << line;
  }
  EXPECT_EQ(count, 2);
}

TEST(LivePoolsUsage, MistakesAreToldWithTheRightStatus) {
  const struct {
    const char* arguments;
    int exit_code;
    const char* error;
  } cases[] = {
      {"stat no-such-pool", 3, "no pool has the key or name 'no-such-pool'"},
      {"map no-such-pool", 3, "no pool has the key or name"},
      {"stat 2147483646", 3, "no process of that number"},
      {"stat a b", 2, ""},
      {"stat -i 0 x", 2, "0"},
      {"stat -i nonsense x", 2, ""},
      {"map", 2, "POOL"},
      {"top x", 2, ""},
      {"top -o BOGUS", 2, "there is no column 'BOGUS'"},
  };
  for (const auto& [arguments, exit_code, error] : cases) {
    const Outcome outcome = RunMpool(arguments);
    EXPECT_EQ(outcome.exit_code, exit_code) << arguments << "\n" << outcome.err;
    EXPECT_EQ(outcome.out, "") << arguments;
    EXPECT_NE(outcome.err.find(error), std::string::npos) << outcome.err;
  }
}

// --- The parts --------------------------------------------------------------------------------

LivePool Example() {
  LivePool pool;
  pool.shared = true;
  auto& report = pool.report;
  report.key = "orders";
  report.name = "mpool.0.0123.0";
  report.file = "/srv/orders";
  report.page_size = report.frame_stride = 8192;
  report.pages_max = 1000;
  report.page_count = 1234567;
  const auto valid = static_cast<mpool::internal::FrameMarks>(FrameState::kValid);
  using namespace mpool::internal;
  report.frames = {valid,
                   static_cast<FrameMarks>(valid | kFrameDirty),
                   static_cast<FrameMarks>(valid | kFramePinned),
                   static_cast<FrameMarks>(valid | kFramePinned | kFrameDirty),
                   static_cast<FrameMarks>(valid | kFrameSuspect),
                   static_cast<FrameMarks>(FrameState::kFree),
                   static_cast<FrameMarks>(FrameState::kLoading),
                   static_cast<FrameMarks>(FrameState::kWriteback),
                   static_cast<FrameMarks>(FrameState::kAbsent)};
  report.ordinary = 9;
  report.participants = {{.pid = 12, .alive = 1, .pins_may_write = 1}, {.pid = 13}};
  report.pins = {{.frame = 2, .page = 7, .pid = 12, .thread = 0, .pins = 1, .for_writing = 0},
                 {.frame = 3, .page = 8, .pid = 13, .thread = 14, .pins = 2, .for_writing = 1}};
  report.stats.gets = 2'000'000;
  report.stats.hits = 1'990'000;
  report.stats.frames = 8;
  report.stats.pins = 3;
  return pool;
}

TEST(Cells, HaveASignForWhatEachFrameHolds) {
  EXPECT_EQ(CellsOf(Example(), {}), "-dpP!.rw");
  // The second and the last frame's pages are not resident.
  const Residency residency{.pids = {12},
                            .frames = {true, false, true, true, true, true, true, false, true}};
  EXPECT_EQ(CellsOf(Example(), residency), "-xpP!.rx");
}

TEST(MapText, ShowsTheSignThatMattersMostWhereThereIsNotRoomForAll) {
  LivePool pool = Example();
  pool.report.frames.assign(40, static_cast<uint8_t>(FrameState::kValid));
  pool.report.frames[39] |= mpool::internal::kFrameDirty;
  EXPECT_EQ(MapText(pool, {}, 12, 1, false),
            "orders  shared pool, 40 frames, 4 to a sign\n"
            "  ---------d\n"
            "  d  dirty          1\n"
            "  -  clean          39\n"
            "  whether they are resident cannot be found out\n");
}

TEST(StatText, TellsWhoHasPins) {
  const std::string text = StatText(Example(), {});
  EXPECT_EQ(text,
            "orders  shared pool\n"
            "  file       /srv/orders, 1,234,567 pages of 8 KiB\n"
            "  processes  12, 13 (dead)\n"
            "  frames     8 of 1,000, 0 locked, 0 dirty, 2 pinned\n"
            "  gets       2,000,000, of which 99.50 % were hits\n"
            "  pages      0 read (0 ahead), 0 written (0 in the background), 0 evicted\n"
            "  waits      0 for other threads; 0 syncs\n"
            "  pins       3\n"
            "    PAGE  PINS  PID  THREAD  FOR\n"
            "       7     1   12       ?  reading or writing\n"
            "       8     2   13      14  a process that is dead\n");
}

TEST(RateLine, IsWhatHasHappenedInASecond) {
  struct mpool_stat before = {}, now = {};
  before.gets = 100;
  before.hits = 50;
  now.gets = 300;
  now.hits = 200;
  now.page_ins = 50;
  now.dirty = 7;
  now.pins = 2;
  EXPECT_EQ(RateLine(before, now, 2.0),
            "       100   75.00        25         0         0         0         7       2\n");
  EXPECT_EQ(RateLine(now, now, 0),
            "         0    0.00         0         0         0         0         7       2\n");
}

TEST(TopText, PutsTheBusiestFirst) {
  LivePool idle = Example(), busy = Example();
  idle.report.key = "idle";
  idle.report.name = "idle";
  busy.report.key = "busy";
  busy.report.name = "busy";
  const EarlierStats earlier = {{"idle", idle.report.stats}, {"busy", {}}};
  TopOptions options;
  options.columns = "POOL,GETS/s,HIT%";
  EXPECT_EQ(TopText({idle, busy, Example()}, earlier, 2, options),
            "POOL     GETS/s   HIT%\n"
            "busy    1000000  99.50\n"
            "idle          0      -\n"
            "orders        -  99.50\n");
}

TEST(PoolsMeant, AreThoseOfAKeyBeforeThoseOfAProcess) {
  LivePool number = Example();
  number.report.key = "13";
  // A number may be in use again, or mean another process in another pid namespace.
  LivePool foreign = Example();
  foreign.report.participants = {{.pid = 12, .foreign = 1, .alive = 1}, {.pid = 12, .alive = 0}};
  const std::vector<LivePool> pools = {number, Example(), foreign};
  EXPECT_EQ(PoolsMeant("orders", pools).size(), 2u);
  EXPECT_EQ(PoolsMeant("12", pools).size(), 2u);
  ASSERT_EQ(PoolsMeant("13", pools).size(), 1u);
  EXPECT_EQ(PoolsMeant("13", pools)[0].report.key, "13");
  EXPECT_TRUE(PoolsMeant("order", pools).empty());
  EXPECT_TRUE(PoolsMeant("99999999999999", pools).empty());
}

}  // namespace
}  // namespace cli
