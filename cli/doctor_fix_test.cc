#include "cli/doctor_fix.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cli/invented_facts.h"

namespace cli {
namespace {

using Container = os::Surroundings::Container;

constexpr uint64_t kMiB = uint64_t{1} << 20;

// Of a process that may lock 8 MiB and wants 64.
DoctorFacts LimitedFacts() {
  DoctorFacts facts = InventedFacts();
  facts.limits.memlock_soft_bytes = 8 * kMiB;
  facts.limits.memlock_hard_bytes = 8 * kMiB;
  return facts;
}

std::vector<FixKind> KindsFor(const DoctorFacts& facts) {
  std::vector<FixKind> kinds;
  for (const Fix& fix : FixesFor(facts)) {
    if (!fix.text.empty()) kinds.push_back(fix.kind);
  }
  return kinds;
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(FixesFor, NoneIsNeededWhereTheLimitAllowsIt) {
  EXPECT_TRUE(FixesFor(InventedFacts()).empty());
  DoctorFacts facts = LimitedFacts();
  facts.limits.privileged = true;
  EXPECT_TRUE(FixesFor(facts).empty());
}

TEST(FixesFor, NoneHelpsWhereTheMachineIsTooSmall) {
  DoctorFacts facts = LimitedFacts();
  facts.size = facts.physical_bytes + 1;
  EXPECT_TRUE(FixesFor(facts).empty());
}

TEST(LimitToAskFor, IsRoundedUp) {
  DoctorFacts facts = InventedFacts();
  const struct {
    uint64_t size, locked, limit;
  } cases[] = {{64 * kMiB, 0, 64 * kMiB},
               {64 * kMiB, 4096, 65 * kMiB},
               {1, 0, 65536},
               {65536, 0, 65536},
               {65537, 0, 131072},
               {kMiB, 0, kMiB},
               {kMiB, 4096, 2 * kMiB},
               {~uint64_t{0}, 0, uint64_t{1} << 62}};
  for (const auto& [size, locked, limit] : cases) {
    facts.size = size;
    facts.limits.locked_bytes = locked;
    EXPECT_EQ(LimitToAskFor(facts), limit) << size << " " << locked;
  }
}

TEST(Ulimit, RaisesTheSoftLimitUpToTheHardOne) {
  DoctorFacts facts = LimitedFacts();
  facts.limits.memlock_hard_bytes = 128 * kMiB;
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text, "ulimit -S -l 65536\n");
  facts.limits.memlock_hard_bytes = 64 * kMiB;
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text, "ulimit -S -l 65536\n");
  facts.limits.memlock_hard_bytes = std::nullopt;
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text, "ulimit -S -l 65536\n");
  // In every container and namespace.
  facts.limits.in_initial_user_namespace = false;
  facts.caller.in_initial_user_namespace = false;
  facts.surroundings.container = Container::kDocker;
  facts.caller.in_container = true;
  EXPECT_EQ(FixesFor(facts).front().text, "ulimit -S -l 65536\n");
}

TEST(Ulimit, NeverLowersALimitThatAllowsIt) {
  DoctorFacts facts = LimitedFacts();
  for (const uint64_t size : {uint64_t{1}, kMiB, 8 * kMiB}) {
    facts.size = size;
    const Fix fix = FixOf(FixKind::kUlimit, facts);
    EXPECT_EQ(fix.text, "") << size;
    EXPECT_TRUE(fix.is_needless) << size;
    EXPECT_TRUE(Has(fix.notes.front(), "there is nothing to raise")) << size;
  }
  facts.process = os::ProcessLimits{};
  facts.process->pid = 77;
  EXPECT_TRUE(FixOf(FixKind::kUlimit, facts).is_needless);
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text, "");
  facts.limits.locked_bytes = 4096;
  EXPECT_FALSE(FixOf(FixKind::kUlimit, facts).is_needless);
  facts.limits.memlock_soft_bytes = std::nullopt;
  EXPECT_TRUE(FixOf(FixKind::kUlimit, facts).is_needless);
  facts.memlock_known = false;
  EXPECT_FALSE(FixOf(FixKind::kUlimit, facts).is_needless);
}

TEST(Ulimit, IsNotRoundedBeyondTheHardLimit) {
  DoctorFacts facts = LimitedFacts();
  facts.limits.locked_bytes = 4096;
  facts.limits.memlock_hard_bytes = 64 * kMiB + 4096;
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text, "ulimit -S -l 65540\n");
  facts.limits.memlock_hard_bytes = 64 * kMiB + 4095;
  EXPECT_FALSE(Has(FixOf(FixKind::kUlimit, facts).text, "ulimit"));
}

TEST(Ulimit, GoesBeyondTheHardLimitForWhoMayRaiseIt) {
  DoctorFacts facts = LimitedFacts();
  facts.caller.may_raise_hard_limit = true;
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text, "ulimit -l 65536\n");
}

TEST(Ulimit, IsNotOfferedBeyondTheHardLimitOtherwise) {
  DoctorFacts facts = LimitedFacts();
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text,
            "sudo prlimit --pid $$ --memlock=67108864:67108864\n");
  facts.caller.uid = 0;  // and may not raise it: sudo makes nothing more of it
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text, "");
  facts.caller.uid = 1000;
  facts.caller.in_container = true;
  facts.surroundings.container = Container::kDocker;
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text, "");
  EXPECT_TRUE(Has(FixOf(FixKind::kUlimit, facts).notes.front(), "the hard limit is 8 MiB"));
  for (const Fix& fix : FixesFor(facts)) EXPECT_FALSE(Has(fix.text, "ulimit -")) << fix.text;
}

TEST(Ulimit, OfAUserNamespaceIsRaisedOutside) {
  DoctorFacts facts = LimitedFacts();
  facts.limits.in_initial_user_namespace = false;
  facts.caller.in_initial_user_namespace = false;
  facts.caller.uid = 0;
  const std::vector<Fix> fixes = FixesFor(facts);
  ASSERT_EQ(fixes.size(), 1u);
  EXPECT_EQ(fixes[0].text, "sudo prlimit --pid $$ --memlock=67108864:67108864\n");
  EXPECT_TRUE(Has(fixes[0].place, "Outside of this user namespace"));
}

TEST(Ulimit, OfARunningProcessIsChangedInPlace) {
  DoctorFacts facts = LimitedFacts();
  facts.process = os::ProcessLimits{};
  facts.process->pid = 77;
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text,
            "sudo prlimit --pid 77 --memlock=67108864:67108864\n");
  facts.limits.memlock_hard_bytes = 128 * kMiB;
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text, "prlimit --pid 77 --memlock=67108864:\n");
  facts.uid = 7;  // another user's
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text, "sudo prlimit --pid 77 --memlock=67108864:\n");
  facts.limits.memlock_hard_bytes = 8 * kMiB;
  facts.caller.uid = 0;
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text, "");
  facts.caller.may_raise_hard_limit = true;
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text, "prlimit --pid 77 --memlock=67108864:67108864\n");
}

// Root without CAP_SYS_RESOURCE may not change what belongs to others.
TEST(Ulimit, OfAnothersProcessSaysWhomToAsk) {
  DoctorFacts facts = LimitedFacts();
  facts.process = os::ProcessLimits{};
  facts.process->pid = 77;
  facts.limits.memlock_hard_bytes = 128 * kMiB;
  facts.caller.uid = 0;
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text, "");
  EXPECT_TRUE(Has(FixOf(FixKind::kUlimit, facts).notes.front(), "belongs to another user"));
  facts.caller.may_raise_hard_limit = true;
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text, "prlimit --pid 77 --memlock=67108864:\n");
}

TEST(FixesFor, NoneHelpsAProcessWithoutMemory) {
  DoctorFacts facts = LimitedFacts();
  facts.process = os::ProcessLimits{};
  facts.process->has_memory = false;
  EXPECT_TRUE(FixesFor(facts).empty());
  EXPECT_EQ(FixOf(FixKind::kUlimit, facts).text, "");
  EXPECT_FALSE(FixOf(FixKind::kUlimit, facts).is_needless);
}

// It may be in the container too, where nobody reads limits.d.
TEST(FixesFor, APlaceIsNotGuessedFromWithinAContainer) {
  DoctorFacts facts = LimitedFacts();
  facts.surroundings.root_known = false;
  EXPECT_EQ(KindsFor(facts), (std::vector{FixKind::kUlimit, FixKind::kPam}));
  facts.caller.in_container = true;
  EXPECT_EQ(KindsFor(facts), std::vector<FixKind>());
}

TEST(FixesFor, DependOnWhereTheProcessRuns) {
  const struct {
    Container container;
    const char* unit;
    bool user_manager;
    bool initial_namespace;
    std::vector<FixKind> kinds;
  } cases[] = {
      {Container::kNone, "session-2.scope", false, true, {FixKind::kUlimit, FixKind::kPam}},
      {Container::kNone, "", false, true, {FixKind::kUlimit, FixKind::kPam}},
      {Container::kNone, "db.service", false, true, {FixKind::kUlimit, FixKind::kSystemd}},
      {Container::kNone, "x.scope", true, true, {FixKind::kUlimit, FixKind::kSystemd}},
      {Container::kNone, "", false, false, {FixKind::kUlimit}},
      {Container::kDocker, "", false, true, {FixKind::kDocker}},
      {Container::kPodman, "", false, false, {FixKind::kSystemd, FixKind::kDocker}},
      {Container::kKubernetes, "", false, true, {FixKind::kKubernetes}},
      {Container::kLxc, "", false, true, {FixKind::kLxc}},
      {Container::kNspawn, "", false, true, {FixKind::kNspawn}},
      {Container::kOther, "", false, true, {}},
  };
  for (const auto& [container, unit, user_manager, initial_namespace, kinds] : cases) {
    DoctorFacts facts = LimitedFacts();
    facts.surroundings.container = container;
    facts.surroundings.unit = unit;
    facts.surroundings.user_manager = user_manager;
    facts.caller.in_container = container != Container::kNone;
    facts.caller.in_initial_user_namespace = initial_namespace;
    facts.limits.in_initial_user_namespace = initial_namespace;
    EXPECT_EQ(KindsFor(facts), kinds) << os::NameOf(container) << " " << unit;
    EXPECT_FALSE(FixesFor(facts).empty());
  }
}

TEST(Texts, AreWhatEachPlaceReads) {
  const DoctorFacts facts = LimitedFacts();
  EXPECT_EQ(FixOf(FixKind::kSystemd, facts).text, "[Service]\nLimitMEMLOCK=67108864\n");
  EXPECT_EQ(FixOf(FixKind::kDocker, facts).text, "--ulimit memlock=67108864:67108864\n");
  EXPECT_EQ(FixOf(FixKind::kPam, facts).text, "alice - memlock 65536\n");  // KiB
  EXPECT_EQ(FixOf(FixKind::kKubernetes, facts).text,
            "securityContext:\n  capabilities:\n    add: [\"IPC_LOCK\"]\n");
  EXPECT_EQ(FixOf(FixKind::kLxc, facts).text, "lxc.prlimit.memlock = 67108864\n");
  EXPECT_EQ(FixOf(FixKind::kNspawn, facts).text, "[Exec]\nLimitMEMLOCK=67108864\n");
}

TEST(Systemd, NamesTheUnitOrTheUsersManager) {
  DoctorFacts facts = LimitedFacts();
  facts.surroundings.unit = "db.service";
  EXPECT_TRUE(Has(FixOf(FixKind::kSystemd, facts).place, "systemctl edit db.service"));
  facts.surroundings.user_manager = true;
  EXPECT_TRUE(Has(FixOf(FixKind::kSystemd, facts).place, "user@1000.service"));
}

// A capability counts for root alone, and in the initial user namespace alone.
TEST(Kubernetes, ACapabilityIsNotOfferedWhereItCountsForNothing) {
  DoctorFacts facts = LimitedFacts();
  facts.surroundings.container = Container::kKubernetes;
  EXPECT_EQ(FixOf(FixKind::kKubernetes, facts).text, "[Service]\nLimitMEMLOCK=67108864\n");
  EXPECT_TRUE(Has(FixOf(FixKind::kKubernetes, facts).place, "containerd.service.d"));
  facts.uid = 0;
  EXPECT_TRUE(Has(FixOf(FixKind::kKubernetes, facts).text, "IPC_LOCK"));
  facts.limits.in_initial_user_namespace = false;
  EXPECT_FALSE(Has(FixOf(FixKind::kKubernetes, facts).text, "IPC_LOCK"));
}

TEST(Docker, ACapabilityIsNotOfferedInAUserNamespace) {
  DoctorFacts facts = LimitedFacts();
  const auto offers = [&facts] {
    for (const std::string& note : FixOf(FixKind::kDocker, facts).notes) {
      if (note.starts_with("Or --cap-add IPC_LOCK")) return true;
    }
    return false;
  };
  EXPECT_TRUE(offers());
  facts.limits.in_initial_user_namespace = false;
  EXPECT_FALSE(offers());
}

TEST(Pam, NamesTheUser) {
  DoctorFacts facts = LimitedFacts();
  facts.user = "";
  EXPECT_EQ(FixOf(FixKind::kPam, facts).text, ":1000 - memlock 65536\n");
  facts.limits.in_initial_user_namespace = false;  // who it is outside is not known
  EXPECT_EQ(FixOf(FixKind::kPam, facts).text, "* - memlock 65536\n");
}

TEST(FixKindOf, KnowsAllNames) {
  for (const FixKind kind :
       {FixKind::kUlimit, FixKind::kSystemd, FixKind::kDocker, FixKind::kKubernetes, FixKind::kPam,
        FixKind::kLxc, FixKind::kNspawn}) {
    EXPECT_EQ(FixKindOf(NameOf(kind)), kind);
  }
  EXPECT_EQ(FixKindOf("bogus"), std::nullopt);
  EXPECT_EQ(FixKindNames(), "ulimit|systemd|docker|kubernetes|pam|lxc|nspawn");
}

}  // namespace
}  // namespace cli
