// Every system call that rsm makes fails, on the real kernel: the first, the second, the third …, once
// and from then on. Whatever the call of rsm then answers, it has been made or it has not: contents,
// protection, locks, pins, descriptors, names and importers say so, and a second try succeeds.

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "os/memory.h"
#include "pinlock/mpin.h"
#include "rsm/rsmapi.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/rsm_folder.h"
#include "tests/support/rsm_setting.h"
#include "tests/support/sanitizer.h"
#include "tests/support/syscall_plan.h"
#include "tests/support/tagged_memory.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::Connect;
using test_support::Create;
using test_support::Eventually;
using test_support::FailsWith;
using test_support::kSegment;
using test_support::PageSize;
using test_support::Publish;
using test_support::RsmFolder;
using test_support::Succeeds;
using test_support::SyscallPlan;
using test_support::SyscallWindow;

constexpr size_t kPages = 4;
size_t Bytes() { return kPages * PageSize(); }

// Memory of the program that is exported, and what the kernel says of it.
class Memory : public test_support::TaggedMemory {
 public:
  explicit Memory(uint32_t tag) : TaggedMemory(kPages, tag) {}

  testing::AssertionResult Fills(const uint64_t* words) const {
    return Holds(words, kPages, tag());
  }
  bool IsShared() const { return MappingThere().shared; }
  bool IsWritable() const { return MappingThere().writable; }
  // The lowest and highest number of pins of a page, as "1" or "0-1".
  std::string Pins() const {
    mpin_info info = {};
    if (mpin_query(address(), Bytes(), &info) != 0) return "unknown";
    const std::string low = std::to_string(info.count_min);
    return info.count_min == info.count_max ? low : low + "-" + std::to_string(info.count_max);
  }
  bool IsLocked() const {
    const os::PageRange pages = mapping().all();
    return test_support::KernelEvidence::Probe(pages).Locks(pages);
  }

 private:
  os::Mapping MappingThere() const {
    const auto found = os::RealMemory().MappingAt(mapping().all().begin());
    EXPECT_TRUE(found.ok() && found->has_value());
    return found.ok() && found->has_value() ? **found : os::Mapping();
  }
};

// A thread that counts in every page of some memory, with system calls of no kind.
class Hammer {
 public:
  explicit Hammer(std::vector<const Memory*> memories) : memories_(std::move(memories)) {
    thread_ = std::thread([this] { Count(); });
    while (!begun_.load()) std::this_thread::yield();
  }
  Hammer(const Hammer&) = delete;
  Hammer& operator=(const Hammer&) = delete;
  ~Hammer() {
    ends_.store(true);
    if (thread_.joinable()) thread_.join();
  }

  // Ends it. Every write of it must be there.
  void Stop() {
    ends_.store(true);
    thread_.join();
    for (const Memory* const memory : memories_) {
      for (size_t page = 0; page < kPages; ++page) {
        EXPECT_EQ(*memory->FreeWord(page), count_) << "a write was lost in page " << page;
      }
    }
  }

 private:
  // The copies that rsm makes meanwhile are no races: it has its own means to tell.
  __attribute__((no_sanitize("thread"))) void Count() {
    do {
      ++count_;
      for (const Memory* const memory : memories_) {
        for (size_t page = 0; page < kPages; ++page) {
          __atomic_store_n(memory->FreeWord(page), count_, __ATOMIC_RELAXED);
        }
      }
      begun_.store(true);
    } while (!ends_.load());
  }

  const std::vector<const Memory*> memories_;
  std::atomic<bool> begun_ = false, ends_ = false;
  uint64_t count_ = 0;
  std::thread thread_;
};

struct Snapshot {
  size_t descriptors;
  uint64_t locked_bytes;
  size_t objects;  // mapped
  std::string pins;
  bool is_a_shared, is_b_shared;
  friend bool operator==(const Snapshot&, const Snapshot&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Snapshot& it) {
    return out << it.descriptors << " descriptors, " << it.locked_bytes << " bytes locked, "
               << it.objects << " objects mapped, pins " << it.pins << ", shared " << it.is_a_shared
               << it.is_b_shared;
  }
};

// How the process is before the call.
struct Setting {
  const char* name;
  bool is_warm = true;     // the thread that lets importers in runs already
  bool is_pinned = false;  // the program has pinned its memory itself
  bool is_hammered = false;
  // No privilege. Locks do not fail but by this: what was unlocked for a moment is locked again.
  size_t lock_limit_pages = 0;
};

// The process under test.
struct World {
  Memory a{1}, b{2};
  rsm_memseg_export_handle_t exported = nullptr, second = nullptr;
  rsm_memseg_import_handle_t imported = nullptr;
  uint64_t* map = nullptr;
  bool has_export_poll = false, has_import_poll = false;

  Snapshot Look() const {
    test_support::AwaitIdleThreads();
    // Unlocks what the kernel refused to unlock before.
    EXPECT_EQ(mpin(a.address(), 0), 0) << mpin_error();
    return {test_support::CountDescriptors(),
            test_support::LockedBytes(),
            test_support::CountMappedObjects(),
            a.Pins() + " " + b.Pins(),
            a.IsShared(),
            b.IsShared()};
  }

  void Export() { ASSERT_TRUE(Succeeds(Create(exported, a.address(), Bytes()))); }
  void ExportAndPublish(int mode = 0666) {
    ASSERT_NO_FATAL_FAILURE(Export());
    ASSERT_TRUE(Succeeds(Publish(exported, kSegment, mode)));
  }
  void Import() {
    ASSERT_TRUE(Succeeds(Connect(imported)));
    map = static_cast<uint64_t*>(test_support::Map(imported, Bytes()));
    ASSERT_NE(map, nullptr) << rsm_error();
  }
  // Of what importers get.
  std::vector<uint64_t> Got() const {
    std::vector<uint64_t> words(Bytes() / sizeof(uint64_t));
    EXPECT_TRUE(Succeeds(rsm_memseg_import_get(imported, 0, words.data(), Bytes())));
    return words;
  }
  // Whether a write of the program to the memory is seen by importers.
  bool IsSeen(const Memory& memory) const {
    uint64_t& word = memory.words()[2];
    const uint64_t before = word;
    const bool was_same = map[2] == before;
    word = ~before;
    const bool is_seen = map[2] == ~before;
    word = before;
    return was_same && is_seen;
  }
  void ExpectNotPublished() const {
    rsm_memseg_import_handle_t none = nullptr;
    EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, Connect(none)));
  }
  void ExpectAborted() const {
    uint64_t word = 0;
    EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_get64(imported, 0, &word, 1)));
    EXPECT_TRUE(a.Fills(map));
    map[0] = map[0];  // no signal
    EXPECT_FALSE(IsSeen(a));
  }

  // Takes everything away, which cannot fail.
  void End() {
    if (has_export_poll) {
      EXPECT_TRUE(Succeeds(rsm_memseg_release_pollfd(exported)));
    }
    if (has_import_poll) {
      EXPECT_TRUE(Succeeds(rsm_memseg_release_pollfd(imported)));
    }
    if (map != nullptr) {
      EXPECT_TRUE(Succeeds(rsm_memseg_import_unmap(imported)));
    }
    if (imported != nullptr) {
      EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(imported)));
    }
    for (const rsm_memseg_export_handle_t handle : {second, exported}) {
      if (handle == nullptr) continue;
      EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(handle)));
    }
  }
};

// A call of rsm, with what must hold before it, after it, and after it has failed.
struct Call {
  const char* name;
  std::function<void(World&)> prepare;
  std::function<int(World&)> make;
  std::function<void(World&)> expect_made;
  std::function<void(World&)> expect_not_made = [](World&) {};
  bool always_succeeds = false;
  // Where there is no memory, what is left is the program's, but not private.
  bool may_leave_object = false;
  // Those of the thread that lets importers in, which this call begins.
  size_t descriptors_for_ever = 0;
  // When all calls fail, this one does not: nobody could bring back what it has taken apart.
  long spared = -1;
};

void Restrict(const Setting& setting, World& world) {
  if (setting.is_pinned) {
    ASSERT_EQ(mpin(world.a.address(), Bytes()), 0) << mpin_error();
    ASSERT_EQ(mpin(world.b.address(), Bytes()), 0) << mpin_error();
  }
  if (setting.lock_limit_pages > 0) {
    const uint64_t bytes = test_support::LockedBytes() + setting.lock_limit_pages * PageSize();
    const rlimit limit = {bytes, bytes};
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0) << std::strerror(errno);
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
    ASSERT_EQ(syscall(SYS_capset, &header, none), 0) << std::strerror(errno);
  }
}

void Warm() {
  Memory memory(3);
  rsm_memseg_export_handle_t handle = nullptr;
  ASSERT_TRUE(Succeeds(Create(handle, memory.address(), Bytes())));
  ASSERT_TRUE(Succeeds(Publish(handle, kSegment + 1)));
  ASSERT_TRUE(Succeeds(rsm_memseg_export_destroy(handle)));
}

void ExpectLike(const World& world, const Snapshot& before) {
  // The thread that lets importers in, and drops them, takes its time.
  if (!Eventually([&] { return world.Look() == before; })) {
    EXPECT_EQ(world.Look(), before);
  }
}

// What runs under the plan.
void Try(const Setting& setting, const Call& call, SyscallWindow& window) {
  World world;
  (void)test_support::RsmController();
  if (setting.is_warm) {
    ASSERT_NO_FATAL_FAILURE(Warm());
  }
  ASSERT_NO_FATAL_FAILURE(Restrict(setting, world));
  const Snapshot at_first = world.Look();
  ASSERT_NO_FATAL_FAILURE(call.prepare(world));
  const Snapshot before = world.Look();
  std::optional<Hammer> hammer;
  if (setting.is_hammered) hammer.emplace(std::vector<const Memory*>{&world.a, &world.b});
  window.Open();
  const int code = call.make(world);
  window.Close();
  if (hammer) hammer->Stop();
  EXPECT_TRUE(world.a.IsIntact() && world.b.IsIntact());
  EXPECT_TRUE(world.a.IsWritable() && world.b.IsWritable());
  if (code == RSM_SUCCESS) {
    call.expect_made(world);
  } else {
    EXPECT_TRUE(test_support::IsRsmError(code));
    EXPECT_FALSE(call.always_succeeds);
    if (setting.is_warm) ExpectLike(world, before);
    call.expect_not_made(world);
    ASSERT_TRUE(Succeeds(call.make(world))) << "a second try";
    call.expect_made(world);
  }
  ASSERT_NO_FATAL_FAILURE(world.End());
  EXPECT_TRUE(world.a.IsIntact() && world.b.IsIntact());
  if (call.may_leave_object && world.a.IsShared()) return;
  Snapshot at_last = at_first;
  if (!setting.is_warm) at_last.descriptors += call.descriptors_for_ever;
  ExpectLike(world, at_last);
}

// --- Calls --------------------------------------------------------------------------------------

const Call kCreate = {
    .name = "Create",
    .prepare = [](World&) {},
    .make = [](World& world) { return Create(world.exported, world.a.address(), Bytes()); },
    .expect_made =
        [](World& world) {
          EXPECT_TRUE(world.a.IsShared());
          EXPECT_TRUE(world.a.IsLocked());
        },
    .expect_not_made = [](World& world) { EXPECT_EQ(world.exported, nullptr); },
};

// Over memory that is exported already.
const Call kCreateAgain = {
    .name = "CreateAgain",
    .prepare = [](World& world) { world.Export(); },
    .make = [](World& world) { return Create(world.second, world.a.address(), Bytes()); },
    .expect_made = [](World& world) { EXPECT_TRUE(world.a.IsLocked()); },
};

const Call kDestroy = {
    .name = "Destroy",
    .prepare =
        [](World& world) {
          ASSERT_NO_FATAL_FAILURE(world.ExportAndPublish());
          world.Import();
        },
    .make = [](World& world) { return rsm_memseg_export_destroy(world.exported); },
    .expect_made =
        [](World& world) {
          world.exported = nullptr;
          world.ExpectNotPublished();
          uint64_t word = 0;
          EXPECT_TRUE(
              FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_put64(world.imported, 0, &word, 1)));
          EXPECT_EQ(world.map[0], word) << "no signal";
          if (world.a.IsShared()) world.map[0] = test_support::TaggedMemory::Word(1, 0);
        },
    .always_succeeds = true,
    .may_leave_object = true,
};

const Call kRebind = {
    .name = "Rebind",
    .prepare =
        [](World& world) {
          ASSERT_NO_FATAL_FAILURE(world.ExportAndPublish());
          world.Import();
        },
    .make =
        [](World& world) {
          return rsm_memseg_export_rebind(world.exported, world.b.address(), 0, Bytes());
        },
    .expect_made =
        [](World& world) {
          EXPECT_TRUE(world.b.Fills(world.Got().data()));
          EXPECT_TRUE(world.IsSeen(world.b));
          EXPECT_FALSE(world.a.IsShared());
          EXPECT_TRUE(world.b.IsLocked());
        },
    .expect_not_made =
        [](World& world) {
          EXPECT_TRUE(world.a.Fills(world.Got().data()));
          EXPECT_TRUE(world.IsSeen(world.a));
          EXPECT_TRUE(world.a.IsLocked());
        },
    .spared = SYS_mremap,
};

const Call kPublish = {
    .name = "Publish",
    .prepare = [](World& world) { world.Export(); },
    .make = [](World& world) { return Publish(world.exported); },
    .expect_made = [](World& world) { world.Import(); },
    .expect_not_made = [](World& world) { world.ExpectNotPublished(); },
    .descriptors_for_ever = 2,
};

// The object of readers is sealed against writers: it needs another one.
const Call kPublishForWriters = {
    .name = "PublishForWriters",
    .prepare =
        [](World& world) {
          ASSERT_NO_FATAL_FAILURE(world.ExportAndPublish(0444));
          ASSERT_TRUE(Succeeds(Connect(world.imported, RSM_PERM_READ)));
          ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(world.exported)));
          ASSERT_TRUE(Succeeds(rsm_memseg_import_disconnect(world.imported)));
          world.imported = nullptr;
        },
    .make = [](World& world) { return Publish(world.exported, kSegment, 0666); },
    .expect_made =
        [](World& world) {
          ASSERT_NO_FATAL_FAILURE(world.Import());
          EXPECT_TRUE(world.IsSeen(world.a));
          EXPECT_TRUE(world.a.IsLocked());
        },
    .expect_not_made = [](World& world) { world.ExpectNotPublished(); },
};

const Call kRepublish = {
    .name = "Republish",
    .prepare = [](World& world) { world.ExportAndPublish(0444); },
    .make =
        [](World& world) {
          rsmapi_access_entry_t entry = {1, 0666};
          return rsm_memseg_export_republish(world.exported, &entry, 1);
        },
    .expect_made =
        [](World& world) {
          ASSERT_NO_FATAL_FAILURE(world.Import());
          EXPECT_TRUE(world.IsSeen(world.a));
          EXPECT_TRUE(world.a.IsLocked());
        },
};

const Call kUnpublish = {
    .name = "Unpublish",
    .prepare = kRebind.prepare,
    .make = [](World& world) { return rsm_memseg_export_unpublish(world.exported); },
    .expect_made =
        [](World& world) {
          world.ExpectNotPublished();
          world.ExpectAborted();
          EXPECT_TRUE(world.a.IsLocked());
        },
    .expect_not_made = kRebind.expect_not_made,
};

const Call kConnect = {
    .name = "Connect",
    .prepare = [](World& world) { world.ExportAndPublish(); },
    .make = [](World& world) { return Connect(world.imported); },
    .expect_made = [](World& world) { EXPECT_TRUE(world.a.Fills(world.Got().data())); },
    .expect_not_made =
        [](World&) { EXPECT_TRUE(Eventually([] { return test_support::ImportersOf() == 0; })); },
};

const Call kMap = {
    .name = "Map",
    .prepare =
        [](World& world) {
          ASSERT_NO_FATAL_FAILURE(world.ExportAndPublish());
          ASSERT_TRUE(Succeeds(Connect(world.imported)));
        },
    .make =
        [](World& world) {
          void* address = nullptr;
          const int code = rsm_memseg_import_map(world.imported, &address, RSM_MAP_NONE,
                                                 RSM_PERM_RDWR, 0, Bytes());
          world.map = static_cast<uint64_t*>(address);
          return code;
        },
    .expect_made = [](World& world) { EXPECT_TRUE(world.IsSeen(world.a)); },
    .expect_not_made =
        [](World& world) {
          EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_MAPPED, rsm_memseg_import_unmap(world.imported)));
        },
};

const Call kDisconnect = {
    .name = "Disconnect",
    .prepare = kMap.prepare,
    .make = [](World& world) { return rsm_memseg_import_disconnect(world.imported); },
    .expect_made =
        [](World& world) {
          world.imported = nullptr;
          EXPECT_TRUE(Eventually([] { return test_support::ImportersOf() == 0; }));
        },
    .always_succeeds = true,
};

int GetPoll(void* handle, bool& has) {
  pollfd descriptor = {};
  const int code = rsm_memseg_get_pollfd(handle, &descriptor);
  has = code == RSM_SUCCESS;
  return code;
}

const Call kPollExport = {
    .name = "GetPollfdOfTheExport",
    .prepare = kRebind.prepare,
    .make = [](World& world) { return GetPoll(world.exported, world.has_export_poll); },
    .expect_made =
        [](World& world) {
          EXPECT_TRUE(Succeeds(rsm_intr_signal_post(world.imported, 0)));
          EXPECT_TRUE(Succeeds(rsm_intr_signal_wait(world.exported, 60'000)));
        },
};

const Call kPollImport = {
    .name = "GetPollfdOfTheImport",
    .prepare = kRebind.prepare,
    .make = [](World& world) { return GetPoll(world.imported, world.has_import_poll); },
    .expect_made =
        [](World& world) {
          EXPECT_TRUE(Succeeds(rsm_intr_signal_post(world.exported, 0)));
          EXPECT_TRUE(Succeeds(rsm_intr_signal_wait(world.imported, 60'000)));
        },
};

// --- Tests --------------------------------------------------------------------------------------

struct Scenario {
  Setting setting;
  const Call* call;
  friend std::ostream& operator<<(std::ostream& out, const Scenario& scenario) {
    return out << scenario.call->name << scenario.setting.name;
  }
};

class RsmFaults : public testing::TestWithParam<Scenario> {
 protected:
  static void ForEach(const Scenario& scenario, SyscallPlan::Act act) {
    const RsmFolder folder;
    std::vector<test_support::PlannedCall> calls;
    for (const test_support::PlannedCall& call : test_support::RsmSystemCalls()) {
      const bool is_limited = scenario.setting.lock_limit_pages > 0 && call.number == SYS_mlock;
      const bool is_spared =
          act == SyscallPlan::Act::kFailFrom && call.number == scenario.call->spared;
      if (!is_limited && !is_spared) calls.push_back(call);
    }
    test_support::ForEachSyscall({
        .calls = calls,
        .act = act,
        .subject = [&](SyscallWindow& window) { Try(scenario.setting, *scenario.call, window); },
        .after = [&] { EXPECT_EQ(folder.CountNames(), 0u); },
        .stride = test_support::kAddressSanitizer || test_support::kThreadSanitizer ? 5u : 1u,
    });
  }
};

TEST_P(RsmFaults, EachFailsOnce) { ForEach(GetParam(), SyscallPlan::Act::kFailOnce); }

class RsmManyFaults : public RsmFaults {};
TEST_P(RsmManyFaults, EachFailsWithAllThatFollow) {
  ForEach(GetParam(), SyscallPlan::Act::kFailFrom);
}

const Setting kWarm = {.name = ""};
const Setting kCold = {.name = "Cold", .is_warm = false};
const Setting kPinned = {.name = "Pinned", .is_pinned = true};
const Setting kHammered = {.name = "Hammered", .is_hammered = true};
// For the memory itself, and not for a copy of it besides.
const Setting kTight = {.name = "Tight", .lock_limit_pages = kPages + 1};
const Setting kTightForTwo = {.name = "Tight", .lock_limit_pages = 2 * kPages + 1};

const Scenario kScenarios[] = {
    {kWarm, &kCreate},
    {kCold, &kCreate},
    {kTight, &kCreate},
    {kWarm, &kDestroy},
    {kWarm, &kCreateAgain},
    {kWarm, &kRebind},
    {kWarm, &kPublish},
    {kTightForTwo, &kRebind},
    {kCold, &kPublish},
    {kWarm, &kRepublish},
    {kWarm, &kPublishForWriters},
    {kWarm, &kUnpublish},
    {kWarm, &kConnect},
    {kTight, &kUnpublish},
    {kWarm, &kMap},
    {kWarm, &kDisconnect},
    {kWarm, &kPollExport},
    {kWarm, &kPollImport},
};
// Where what is done after a failure is done as without them.
const Scenario kFurtherScenarios[] = {
    {kPinned, &kCreate}, {kHammered, &kCreate}, {kPinned, &kDestroy},     {kHammered, &kDestroy},
    {kPinned, &kRebind}, {kHammered, &kRebind}, {kHammered, &kUnpublish},
};

std::string NameOf(const testing::TestParamInfo<Scenario>& test) {
  return std::string(test.param.call->name) + test.param.setting.name;
}
INSTANTIATE_TEST_SUITE_P(RsmCalls, RsmFaults, testing::ValuesIn(kScenarios), NameOf);
INSTANTIATE_TEST_SUITE_P(RsmCalls, RsmManyFaults, testing::ValuesIn(kScenarios), NameOf);
INSTANTIATE_TEST_SUITE_P(RsmCallsBesides, RsmFaults, testing::ValuesIn(kFurtherScenarios), NameOf);

}  // namespace
