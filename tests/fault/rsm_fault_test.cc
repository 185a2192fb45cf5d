// Every system call that rsm makes fails, on the real kernel: the first, the second, the third …, once
// and from then on. Whatever the call of rsm then answers, it has been made or it has not: contents,
// protection, locks, pins, descriptors, names and importers say so, and a second try succeeds.

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "pinlock/mpin.h"
#include "rsm/rsmapi.h"
#include "tests/fault/rsm_calls.h"
#include "tests/fault/rsm_world.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/rsm_folder.h"
#include "tests/support/rsm_setting.h"
#include "tests/support/sanitizer.h"
#include "tests/support/syscall_plan.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace fault {
namespace {

using test_support::Create;
using test_support::Eventually;
using test_support::kSegment;
using test_support::PageSize;
using test_support::Publish;
using test_support::RsmFolder;
using test_support::Succeeds;
using test_support::SyscallPlan;
using test_support::SyscallWindow;

// How the process is before the call.
struct Setting {
  const char* name;
  bool is_warm = true;     // the thread that lets importers in runs already
  bool is_pinned = false;  // the program has pinned its memory itself
  bool is_hammered = false;
  // No privilege. Locks do not fail but by this: what was unlocked for a moment is locked again.
  size_t lock_limit_pages = 0;
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
}  // namespace fault
