// The checks and the verdict, on facts that are invented or read from pretended files.

#include "cli/doctor_checks.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/doctor_facts.h"
#include "cli/doctor_verdict.h"
#include "cli/invented_facts.h"
#include "os/fake_tree.h"

namespace cli {
namespace {

using os::testing::FakeTree;
using Answer = Verdict::Answer;
using Status = Check::Status;

constexpr uint64_t kMiB = uint64_t{1} << 20;

Check CheckOf(const DoctorFacts& facts, const std::string& id) {
  for (const Check& check : ChecksOf(facts, /*in_bytes=*/false)) {
    if (check.id == id) return check;
  }
  ADD_FAILURE() << "no check " << id;
  return {};
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void ExpectCheck(const DoctorFacts& facts, const std::string& id, Status status,
                 const std::string& part) {
  const Check check = CheckOf(facts, id);
  EXPECT_STREQ(NameOf(check.status), NameOf(status)) << id << ": " << check.summary;
  EXPECT_TRUE(Has(check.summary, part)) << id << ": " << check.summary;
  const bool is_bad = status == Status::kProblem || status == Status::kWarning;
  EXPECT_EQ(!check.advice.empty(), is_bad) << id << ": " << check.advice;
}

// --- The verdict

TEST(Verdict, IsWhatTheTrialSays) {
  DoctorFacts facts = InventedFacts();
  facts.trial = absl::OkStatus();
  const Verdict yes = VerdictOf(facts, false);
  EXPECT_EQ(yes.answer, Answer::kYes);
  EXPECT_TRUE(yes.tried);
  EXPECT_EQ(yes.text, "Yes: this process can lock 64 MiB.");
  facts.size_is_default = true;
  EXPECT_EQ(VerdictOf(facts, true).text,
            "Yes: this process can lock 67108864 (as no SIZE was given).");
  facts.trial = absl::UnavailableError("something else");
  EXPECT_EQ(VerdictOf(facts, false).answer, Answer::kNo);
  EXPECT_EQ(VerdictOf(facts, false).text, "No: something else.");
}

TEST(Verdict, SaysThatAPartOfMuchMemoryWasTried) {
  DoctorFacts facts = InventedFacts();
  facts.size = kTrialBytesMax;
  facts.limits.headroom_bytes = 4 * kTrialBytesMax;
  facts.trial = absl::OkStatus();
  EXPECT_EQ(VerdictOf(facts, false).text, "Yes: this process can lock 1 GiB.");
  facts.size *= 2;
  EXPECT_EQ(VerdictOf(facts, false).text,
            "Yes: this process can lock 2 GiB: 1 GiB was locked, and the limit allows the rest.");
  facts.limits.rss_soft_bytes = kTrialBytesMax;  // which the kernel was not asked about
  EXPECT_EQ(VerdictOf(facts, false).answer, Answer::kNo);
}

TEST(Verdict, NamesTheLimitAndWhatIsAskedFor) {
  DoctorFacts facts = InventedFacts();
  facts.limits.memlock_soft_bytes = 8 * kMiB;
  facts.trial = absl::ResourceExhaustedError("over RLIMIT_MEMLOCK");
  EXPECT_EQ(VerdictOf(facts, false).text,
            "No: RLIMIT_MEMLOCK lets this process lock 8 MiB, not 64 MiB.");
  EXPECT_TRUE(VerdictOf(facts, false).tried);
  facts.limits.locked_bytes = 4096;
  EXPECT_TRUE(Has(VerdictOf(facts, false).text, "64 MiB besides 4 KiB that are locked"));
  facts.limits.memlock_soft_bytes = 0;
  EXPECT_TRUE(Has(VerdictOf(facts, false).text, "is 0, which forbids every lock"));
}

TEST(Verdict, SaysThatACapabilityOfAUserNamespaceIsNone) {
  DoctorFacts facts = InventedFacts();
  facts.limits.memlock_soft_bytes = 8 * kMiB;
  facts.limits.in_initial_user_namespace = false;
  facts.claims_capability = true;
  EXPECT_TRUE(Has(VerdictOf(facts, false).text, "CAP_IPC_LOCK is a user namespace's own"));
  facts.claims_capability = false;
  EXPECT_FALSE(Has(VerdictOf(facts, false).text, "CAP_IPC_LOCK"));
}

TEST(Verdict, WantOfMemoryComesFirst) {
  DoctorFacts facts = InventedFacts();
  facts.limits.memlock_soft_bytes = 8 * kMiB;
  facts.limits.headroom_bytes = 32 * kMiB;
  const Verdict verdict = VerdictOf(facts, false);
  EXPECT_EQ(verdict.answer, Answer::kNo);
  EXPECT_FALSE(verdict.tried);
  EXPECT_TRUE(Has(verdict.text, "the machine has room for 28.0 MiB, not for 64 MiB"))
      << verdict.text;
  EXPECT_EQ(ObstaclesOf(facts), (std::vector{Obstacle::kMemory, Obstacle::kLockLimit}));
}

TEST(Verdict, MoreThanTheMachineHasIsNoWhateverElseIsKnown) {
  DoctorFacts facts = InventedFacts();
  facts.limits.headroom_bound = pinlock::Limits::Bound::kNone;  // as without /proc
  facts.limits.headroom_bytes = ~uint64_t{0};
  facts.size = facts.physical_bytes;
  EXPECT_EQ(VerdictOf(facts, false).answer, Answer::kUnknown);
  facts.size += 1;
  EXPECT_EQ(VerdictOf(facts, false).answer, Answer::kNo);
  EXPECT_TRUE(Has(VerdictOf(facts, false).text, "the machine has 2.0 GiB of memory, not for "))
      << VerdictOf(facts, false).text;
  ExpectCheck(facts, "memory", Status::kProblem, "cannot be read; the machine has 2.0 GiB");
  EXPECT_TRUE(Has(CheckOf(facts, "memory").advice, "lock no more than 2.0 GiB"));
  EXPECT_TRUE(Has(VerdictOf(facts, false).text, "it was not tried"));
  facts.process = os::ProcessLimits{};
  EXPECT_FALSE(Has(VerdictOf(facts, false).text, "it was not tried"));
}

TEST(Verdict, OfAnotherProcessIsByItsNumbers) {
  DoctorFacts facts = InventedFacts();
  facts.process = os::ProcessLimits{};
  facts.process->pid = 77;
  facts.process->name = "a\x1b[31mb";
  EXPECT_EQ(VerdictOf(facts, false).text,
            "Yes, by its numbers: process 77 (a\\x1b[31mb) can lock 64 MiB.");
  facts.limits.memlock_soft_bytes = 8 * kMiB;
  EXPECT_EQ(VerdictOf(facts, false).answer, Answer::kNo);
  EXPECT_TRUE(Has(VerdictOf(facts, false).text, "No, by its numbers: "));
  facts.memlock_known = false;
  EXPECT_EQ(VerdictOf(facts, false).answer, Answer::kUnknown);
  facts.memlock_known = true;
  facts.process->has_memory = false;
  EXPECT_EQ(VerdictOf(facts, false).answer, Answer::kNo);
  EXPECT_TRUE(Has(VerdictOf(facts, false).text, "no memory of its own"));
  EXPECT_EQ(ObstaclesOf(facts), std::vector<Obstacle>());
}

TEST(Verdict, CountsWholePages) {
  DoctorFacts facts = InventedFacts();
  facts.size = 4097;
  facts.limits.memlock_soft_bytes = 8192;
  EXPECT_FALSE(IsObstacle(Obstacle::kLockLimit, facts));
  facts.limits.memlock_soft_bytes = 8191;
  EXPECT_TRUE(IsObstacle(Obstacle::kLockLimit, facts));
  facts.limits.locked_bytes = 8192;
  facts.limits.memlock_soft_bytes = 16384;
  EXPECT_FALSE(IsObstacle(Obstacle::kLockLimit, facts));
  EXPECT_EQ(BytesNeeded(facts), 16384u);
  facts.size = ~uint64_t{0};
  EXPECT_TRUE(IsObstacle(Obstacle::kLockLimit, facts));
  EXPECT_EQ(BytesNeeded(facts), ~uint64_t{0});
}

TEST(Verdict, NoLimitBindsWhoIsPrivileged) {
  DoctorFacts facts = InventedFacts();
  facts.limits.memlock_soft_bytes = 0;
  facts.limits.rss_soft_bytes = 0;
  facts.limits.plock_max_bytes = 0;
  EXPECT_EQ(ObstaclesOf(facts),
            (std::vector{Obstacle::kLockLimit, Obstacle::kRssLimit, Obstacle::kPlockMax}));
  facts.limits.privileged = true;
  EXPECT_EQ(ObstaclesOf(facts), std::vector<Obstacle>());
}

// --- The checks of the process

TEST(Checks, LockLimit) {
  DoctorFacts facts = InventedFacts();
  ExpectCheck(facts, "lock-limit", Status::kOk, "soft unlimited (ulimit -l: unlimited)");
  facts.limits.memlock_soft_bytes = 8 * kMiB;
  facts.limits.memlock_hard_bytes = 16 * kMiB;
  facts.limits.locked_bytes = 12288;
  ExpectCheck(facts, "lock-limit", Status::kProblem,
              "soft 8 MiB (ulimit -l: 8192), hard 16 MiB (16384); 12 KiB locked");
  const Check check = CheckOf(facts, "lock-limit");
  EXPECT_EQ(check.values["soft_bytes"], 8 * kMiB);
  EXPECT_EQ(check.values["hard_bytes"], 16 * kMiB);
  EXPECT_EQ(check.values["locked_bytes"], 12288);
  EXPECT_EQ(check.values["needed_bytes"], 64 * kMiB + 12288);
  facts.limits.privileged = true;
  ExpectCheck(facts, "lock-limit", Status::kOk, "does not bind");
  facts.memlock_known = false;
  ExpectCheck(facts, "lock-limit", Status::kUnknown, "may not be read");
}

TEST(Checks, Privilege) {
  DoctorFacts facts = InventedFacts();
  ExpectCheck(facts, "privilege", Status::kOk, "CAP_IPC_LOCK: no (tried)");
  facts.claims_capability = true;
  ExpectCheck(facts, "privilege", Status::kWarning, "claimed by CapEff, but the kernel does not");
  facts.limits.in_initial_user_namespace = false;
  EXPECT_TRUE(Has(CheckOf(facts, "privilege").advice, "a user namespace's own"));
  facts.limits.privileged = true;
  ExpectCheck(facts, "privilege", Status::kOk, "CAP_IPC_LOCK: yes (tried)");
  facts.process = os::ProcessLimits{};
  ExpectCheck(facts, "privilege", Status::kOk, "yes (by its numbers, as it cannot be tried)");
  facts.limits.privileged = false;
  facts.claims_capability = std::nullopt;
  ExpectCheck(facts, "privilege", Status::kUnknown, "may not be read");
}

TEST(Checks, Namespace) {
  DoctorFacts facts = InventedFacts();
  ExpectCheck(facts, "namespace", Status::kOk, "the initial user namespace");
  facts.limits.in_initial_user_namespace = false;
  ExpectCheck(facts, "namespace", Status::kOk, "root and capabilities in it lift no limit");
  facts.process = os::ProcessLimits{};
  facts.process->shares_user_namespace = false;
  ExpectCheck(facts, "namespace", Status::kOk, "another than doctor is in");
}

TEST(Checks, ContainerAndUnit) {
  DoctorFacts facts = InventedFacts();
  ExpectCheck(facts, "container", Status::kOk, "no container");
  facts.surroundings.container = os::Surroundings::Container::kDocker;
  facts.surroundings.container_mark = "/.dockerenv";
  facts.surroundings.unit = "x.service";
  ExpectCheck(facts, "container", Status::kOk, "docker (/.dockerenv); systemd unit x.service");
  EXPECT_EQ(CheckOf(facts, "container").values["kind"], "docker");
  facts.surroundings = {};
  facts.surroundings.root_known = false;
  ExpectCheck(facts, "container", Status::kUnknown, "may not be looked at");
}

TEST(Checks, MemoryOfTheMachineAndOfCgroups) {
  using Bound = pinlock::Limits::Bound;
  DoctorFacts facts = InventedFacts();
  ExpectCheck(facts, "memory", Status::kOk, "1.0 GiB free of 2.0 GiB of the machine");
  facts.limits.headroom_bytes = 67 * kMiB;
  ExpectCheck(facts, "memory", Status::kProblem, "of which 4.0 MiB stay free");
  EXPECT_TRUE(Has(CheckOf(facts, "memory").advice, "lock no more than 63.0 MiB"));
  facts.limits.headroom_bound = Bound::kCgroupV2;
  facts.limits.headroom_cgroup = "/sys/fs/cgroup/x";
  ExpectCheck(facts, "memory", Status::kProblem, "of the cgroup (v2) /sys/fs/cgroup/x");
  EXPECT_TRUE(Has(CheckOf(facts, "memory").advice, "memory.max"));
  EXPECT_EQ(CheckOf(facts, "memory").values["cgroup_version"], 2);
  facts.limits.headroom_bound = Bound::kCgroupV1;
  EXPECT_TRUE(Has(CheckOf(facts, "memory").advice, "memory.limit_in_bytes"));
  facts.surroundings.container = os::Surroundings::Container::kDocker;
  EXPECT_TRUE(Has(CheckOf(facts, "memory").advice, "--memory"));
  facts.surroundings.container = os::Surroundings::Container::kKubernetes;
  EXPECT_TRUE(Has(CheckOf(facts, "memory").advice, "resources.limits.memory"));
  facts.limits.headroom_bound = Bound::kNone;
  ExpectCheck(facts, "memory", Status::kUnknown, "cannot be read");
  EXPECT_TRUE(CheckOf(facts, "memory").values["headroom_bytes"].is_null());
}

TEST(Checks, LimitsThatLinuxIgnores) {
  DoctorFacts facts = InventedFacts();
  EXPECT_TRUE(CheckOf(facts, "rss-limit").detail);
  EXPECT_TRUE(CheckOf(facts, "plock-max").detail);
  facts.limits.rss_soft_bytes = 128 * kMiB;
  ExpectCheck(facts, "rss-limit", Status::kOk, "RLIMIT_RSS: 128 MiB");
  EXPECT_FALSE(CheckOf(facts, "rss-limit").detail);
  facts.limits.pinned_bytes = 100 * kMiB;
  facts.limits.plock_max_bytes = 128 * kMiB;
  ExpectCheck(facts, "rss-limit", Status::kProblem, "RLIMIT_RSS: 128 MiB");
  ExpectCheck(facts, "plock-max", Status::kProblem, "PLOCK_MAX: 128 MiB");
  facts.process = os::ProcessLimits{};
  ExpectCheck(facts, "rss-limit", Status::kUnknown, "RLIMIT_RSS: not known");
  ExpectCheck(facts, "plock-max", Status::kUnknown, "PLOCK_MAX: not known");
  facts.process->rss = os::ByteLimit{128 * kMiB, std::nullopt};
  ExpectCheck(facts, "rss-limit", Status::kProblem, "RLIMIT_RSS: 128 MiB");
}

TEST(Checks, Mappings) {
  DoctorFacts facts = InventedFacts();
  ExpectCheck(facts, "mappings", Status::kOk, "30 of 65530");
  facts.limits.mappings = 60000;
  ExpectCheck(facts, "mappings", Status::kWarning, "60000 of 65530");
  facts.limits.mappings = 65530;
  ExpectCheck(facts, "mappings", Status::kProblem, "65530 of 65530");
  facts.limits.mappings = std::nullopt;
  ExpectCheck(facts, "mappings", Status::kUnknown, "may not be read");
}

// --- The checks of the machine, on files

DoctorFacts FactsOfMachine(const FakeTree& tree) {
  DoctorFacts facts = InventedFacts();
  facts.machine = os::ReadMachineSettings(tree.root());
  return facts;
}

TEST(MachineChecks, EachSettingIsSeen) {
  const struct {
    const char* id;
    const char* path;
    const char* text;
    Status status;
    const char* part;
  } cases[] = {
      {"compaction", "/proc/sys/vm/compact_unevictable_allowed", "0", Status::kOk, "stay"},
      {"compaction", "/proc/sys/vm/compact_unevictable_allowed", "1", Status::kWarning,
       "may be moved"},
      {"ksm", "/sys/kernel/mm/ksm/run", "0", Status::kOk, "no page is merged"},
      {"ksm", "/sys/kernel/mm/ksm/run", "1", Status::kWarning, "MADV_MERGEABLE"},
      {"ksm", "/sys/kernel/mm/ksm/run", "2", Status::kOk, "no page is merged"},
      {"huge-pages", "/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never",
       Status::kOk, "madvise"},
      {"huge-pages", "/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never",
       Status::kWarning, "khugepaged may move pages"},
      {"numa", "/proc/sys/kernel/numa_balancing", "0", Status::kOk, "no page is moved"},
      {"numa", "/proc/sys/kernel/numa_balancing", "1", Status::kWarning, "unmaps pages"},
      {"swap", "/proc/meminfo", "SwapTotal: 0 kB\n", Status::kOk, "none: unlocked pages of files"},
      {"swap", "/proc/meminfo", "SwapTotal: 2048 kB\nSwapFree: 1024 kB\n", Status::kOk,
       "2.0 MiB (1.0 MiB free)"},
      {"hugetlb", "/proc/sys/vm/nr_hugepages", "17", Status::kOk, "vm.nr_hugepages = 17"},
      {"oom", "/proc/sys/vm/panic_on_oom", "0", Status::kOk, "vm.panic_on_oom = 0"},
      {"oom", "/proc/sys/vm/panic_on_oom", "1", Status::kWarning, "the machine does"},
      {"overcommit", "/proc/sys/vm/overcommit_memory", "0", Status::kOk, "= 0"},
  };
  for (const auto& [id, path, text, status, part] : cases) {
    FakeTree tree;
    tree.Write(path, text);
    ExpectCheck(FactsOfMachine(tree), id, status, part);
  }
}

TEST(MachineChecks, WhatIsNotThereIsNoFinding) {
  const FakeTree empty;
  for (const Check& check : ChecksOf(FactsOfMachine(empty), false)) {
    EXPECT_TRUE(check.status == Status::kOk || check.status == Status::kUnknown) << check.id;
    EXPECT_FALSE(check.summary.empty()) << check.id;
  }
  ExpectCheck(FactsOfMachine(empty), "swap", Status::kUnknown, "not known");
  ExpectCheck(FactsOfMachine(empty), "numa", Status::kOk, "does not have it");
}

TEST(MachineChecks, StrictOvercommitMayBeTooTight) {
  FakeTree tree;
  tree.Write("/proc/sys/vm/overcommit_memory", "2\n");
  tree.Write("/proc/meminfo", "CommitLimit: 1048576 kB\nCommitted_AS: 524288 kB\n");
  ExpectCheck(FactsOfMachine(tree), "overcommit", Status::kOk, "512.0 MiB may still be mapped");
  tree.Write("/proc/meminfo", "CommitLimit: 1024 kB\nCommitted_AS: 2048 kB\n");
  ExpectCheck(FactsOfMachine(tree), "overcommit", Status::kWarning, "0 B may still be mapped");
}

TEST(MachineChecks, SharedMemory) {
  DoctorFacts facts = InventedFacts();
  ExpectCheck(facts, "dev-shm", Status::kOk, "/dev/shm: 1.0 GiB free of 1.0 GiB");
  facts.shared_memory = os::FileSystemRoom{64 * kMiB, 63 * kMiB};
  ExpectCheck(facts, "dev-shm", Status::kWarning, "too little");
  facts.surroundings.container = os::Surroundings::Container::kDocker;
  EXPECT_TRUE(Has(CheckOf(facts, "dev-shm").advice, "--shm-size"));
  facts.shared_memory = std::nullopt;
  ExpectCheck(facts, "dev-shm", Status::kWarning, "there is no /dev/shm");
  facts.shared_memory_known = false;
  ExpectCheck(facts, "dev-shm", Status::kUnknown, "may not be looked at");
  facts.shared_memory_known = true;
  facts.shared_memory = os::FileSystemRoom{0, 0};
  ExpectCheck(facts, "dev-shm", Status::kOk, "no limit of its own");
}

TEST(MachineChecks, WhatAPoolNeedsIsTried) {
  DoctorFacts facts = InventedFacts();
  ExpectCheck(facts, "io-uring", Status::kOk, "usable (tried)");
  ExpectCheck(facts, "membarrier", Status::kOk, "usable (tried)");
  facts.io_uring = false;
  facts.machine.io_uring_disabled = 2;
  facts.membarrier = false;
  ExpectCheck(facts, "io-uring", Status::kWarning, "refused (tried) (kernel.io_uring_disabled: 2)");
  ExpectCheck(facts, "membarrier", Status::kWarning, "refused (tried)");
  facts.io_uring = std::nullopt;
  facts.membarrier = std::nullopt;
  ExpectCheck(facts, "io-uring", Status::kUnknown, "cannot be tried");
  facts.io_uring_error = os::Errno(EMFILE);
  ExpectCheck(facts, "io-uring", Status::kUnknown, "not now: EMFILE");
  facts.io_uring_error = os::Errno(ENOMEM);
  ExpectCheck(facts, "io-uring", Status::kWarning, "the lock limit has no room for its rings");
  ExpectCheck(facts, "membarrier", Status::kUnknown, "cannot be tried");
}

// --- Another process, wholly on files

TEST(FactsOfAProcess, AreReadFromItsFiles) {
  FakeTree tree;
  tree.Write("/proc/77/status",
             "Name:\tdb\nUid:\t5\t5\t5\t5\nNSpid:\t77\nVmLck:\t4 kB\nCapEff:\t0000000000004000\n");
  tree.Write("/proc/77/limits", "Max locked memory  8388608  16777216  bytes\n");
  tree.Write("/proc/77/uid_map", "0 1000 1\n");
  tree.Write("/proc/77/maps", "1000-2000 r--p 0 0:0 0\n");
  tree.Write("/proc/77/cgroup", "0::/system.slice/db.service\n");
  tree.Write("/proc/77/root/etc/hostname", "x\n");
  tree.Write("/proc/meminfo", "MemTotal: 2097152 kB\nMemAvailable: 1048576 kB\n");
  tree.Write("/proc/sys/vm/max_map_count", "65530\n");
  const os::Result<DoctorFacts> facts = ReadFactsOf(77, 64 * kMiB, tree.root());
  ASSERT_TRUE(facts.ok());
  ExpectCheck(*facts, "lock-limit", Status::kProblem,
              "soft 8 MiB (ulimit -l: 8192), hard 16 MiB (16384); 4 KiB locked");
  ExpectCheck(*facts, "privilege", Status::kWarning, "claimed");
  ExpectCheck(*facts, "namespace", Status::kOk, "a user namespace");
  ExpectCheck(*facts, "container", Status::kOk, "no container; systemd unit db.service");
  ExpectCheck(*facts, "memory", Status::kOk, "1.0 GiB free of 2.0 GiB");
  ExpectCheck(*facts, "mappings", Status::kOk, "1 of 65530");
  ExpectCheck(*facts, "dev-shm", Status::kWarning, "there is no /dev/shm");  // in its root
  EXPECT_EQ(facts->limits.headroom_reserve_bytes, 8 * kMiB);
  EXPECT_EQ(VerdictOf(*facts, false).answer, Answer::kNo);
  // In the initial user namespace the claim is believed.
  tree.Write("/proc/77/uid_map", "0 0 4294967295\n");
  EXPECT_EQ(VerdictOf(*ReadFactsOf(77, 64 * kMiB, tree.root()), false).answer, Answer::kYes);
  EXPECT_EQ(ReadFactsOf(78, 1, tree.root()).error(), os::Errno(ENOENT));
  // Not in another one that maps every user onto itself.
  tree.Write("/proc/self/ns/user", "");
  tree.Write("/proc/77/ns/user", "");
  EXPECT_EQ(VerdictOf(*ReadFactsOf(77, 64 * kMiB, tree.root()), false).answer, Answer::kNo);
  tree.Remove("/proc/77/status");
  tree.Remove("/proc/77/limits");
  EXPECT_EQ(ReadFactsOf(77, 1, tree.root()).error(), os::Errno(EACCES));
}

}  // namespace
}  // namespace cli
