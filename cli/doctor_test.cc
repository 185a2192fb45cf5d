// `mpool doctor` as a user meets it, under limits that a shell sets.

#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <sstream>
#include <string>

#include "cli/json_schema.h"
#include "cli/run_mpool.h"
#include "nlohmann/json.hpp"
#include "os/memory.h"
#include "os/privilege.h"
#include "tests/support/child.h"
#include "tests/support/forbid_syscalls.h"
#include "tests/support/memory_cgroup.h"

namespace cli {
namespace {

using Json = nlohmann::ordered_json;

// Takes from root the right to exceed the lock limit and to raise it; others do not have it.
constexpr char kWithoutPrivilege[] =
    "drop='setpriv --bounding-set=-ipc_lock,-sys_resource'; $drop true 2>/dev/null || drop=;"
    "privilege=$drop;";
constexpr char kInUserNamespace[] = "privilege='unshare -Ur';";

std::string Limited(const std::string& kib) { return "ulimit -l " + kib + ";" + kWithoutPrivilege; }

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// With the lines that were broken to fit put together again.
std::string Unbroken(const std::string& text) {
  std::string line;
  std::istringstream words(text);
  for (std::string word; words >> word;) line += (line.empty() ? "" : " ") + word;
  return line;
}

size_t CountLines(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

Json CheckOf(const Json& report, const std::string& id) {
  for (const Json& check : report["checks"]) {
    if (check["id"] == id) return check;
  }
  ADD_FAILURE() << "no check " << id;
  return Json::object();
}

TEST(MpoolDoctor, SaysYesWhereItCan) {
  const Outcome doctor = RunMpool("doctor 64K", Limited("64"));
  EXPECT_EQ(doctor.exit_code, 0) << doctor.out << doctor.err;
  EXPECT_EQ(doctor.out.rfind("Yes: this process can lock 64 KiB.\n\n", 0), 0u) << doctor.out;
  EXPECT_TRUE(Has(doctor.out, "\nok       lock-limit  soft 64 KiB (ulimit -l: 64)")) << doctor.out;
  EXPECT_FALSE(Has(doctor.out, "To change it")) << doctor.out;
  EXPECT_EQ(doctor.err, "");
  std::istringstream lines(doctor.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
}

TEST(MpoolDoctor, NamesTheLimitBothItsValuesAndAFix) {
  const Outcome doctor = RunMpool("doctor 64M", Limited("8192"));
  EXPECT_EQ(doctor.exit_code, 1) << doctor.out << doctor.err;
  EXPECT_EQ(doctor.out.rfind("No: RLIMIT_MEMLOCK lets this process lock 8 MiB, not 64 MiB.", 0), 0u)
      << doctor.out;
  EXPECT_TRUE(Has(doctor.out, "soft 8 MiB (ulimit -l: 8192), hard 8 MiB (8192)")) << doctor.out;
  EXPECT_TRUE(Has(doctor.out, "\nTo change it:\n")) << doctor.out;
  EXPECT_TRUE(Has(doctor.out, "67108864")) << doctor.out;  // in bytes, in one of the fixes
  EXPECT_FALSE(Has(doctor.out, "ulimit -l 65536")) << doctor.out;
  EXPECT_FALSE(Has(doctor.out, "ulimit -S -l")) << doctor.out;
}

TEST(MpoolDoctor, WhoFollowsTheFixIsHelped) {
  const std::string setup = std::string("ulimit -Sl 1024; ulimit -Hl 8192;") + kWithoutPrivilege;
  const Outcome before = RunMpool("doctor 4M", setup);
  EXPECT_EQ(before.exit_code, 1) << before.out;
  EXPECT_TRUE(Has(before.out, "soft 1 MiB (ulimit -l: 1024), hard 8 MiB (8192)")) << before.out;
  const Outcome fix = RunMpool("doctor 4M --fix=ulimit", setup);
  EXPECT_EQ(fix.exit_code, 0) << fix.err;
  EXPECT_EQ(fix.out, "ulimit -S -l 4096\n");
  EXPECT_TRUE(Has(before.out, "    " + fix.out)) << before.out;
  const Outcome needless = RunMpool("doctor 1M --fix=ulimit", setup);
  EXPECT_EQ(needless.exit_code, 0) << needless.err;
  EXPECT_EQ(needless.out, "");
  EXPECT_EQ(needless.err, "# the soft limit allows it already: there is nothing to raise.\n");
  const Outcome after = RunMpool("doctor 4M", setup + fix.out);
  EXPECT_EQ(after.exit_code, 0) << after.out << after.err;
  EXPECT_TRUE(Has(after.out, "Yes: this process can lock 4 MiB.")) << after.out;
}

TEST(MpoolDoctor, AHardLimitThatIsTooLowIsNotRaisedByUlimit) {
  const std::string setup = std::string("ulimit -Sl 1024; ulimit -Hl 2048;") + kWithoutPrivilege;
  const Outcome doctor = RunMpool("doctor 4M", setup);
  EXPECT_EQ(doctor.exit_code, 1);
  EXPECT_FALSE(Has(doctor.out, "ulimit -l 4096")) << doctor.out;
  EXPECT_FALSE(Has(doctor.out, "ulimit -S -l")) << doctor.out;
  const Outcome fix = RunMpool("doctor 4M --fix=ulimit", setup);
  if (fix.exit_code == 0) {
    EXPECT_TRUE(Has(fix.out, "sudo prlimit")) << fix.out;
  } else {
    EXPECT_EQ(fix.exit_code, 1);
    EXPECT_EQ(fix.out, "");
    EXPECT_TRUE(Has(fix.err, "the hard limit is 2 MiB")) << fix.err;
  }
}

TEST(MpoolDoctor, SaysThatALimitOf0ForbidsEveryLock) {
  const Outcome doctor = RunMpool("doctor 4K --prove", Limited("0"));
  EXPECT_EQ(doctor.exit_code, 1);
  EXPECT_TRUE(Has(doctor.out, "No: RLIMIT_MEMLOCK is 0, which forbids every lock")) << doctor.out;
  EXPECT_TRUE(Has(doctor.out, "No proof: not one page can be locked")) << doctor.out;
}

TEST(MpoolDoctor, CountsInWholePages) {
  EXPECT_EQ(RunMpool("doctor 65536", Limited("64")).exit_code, 0);
  EXPECT_EQ(RunMpool("doctor 65537", Limited("64")).exit_code, 1);
}

TEST(MpoolDoctor, ACapabilityOfAUserNamespaceHelpsNobody) {
  if (std::system("unshare -Ur true 2>/dev/null") != 0) {
    GTEST_SKIP() << "no user namespaces can be made here";
  }
  const std::string setup = std::string("ulimit -l 8192;") + kInUserNamespace;
  const Outcome doctor = RunMpool("doctor 64M", setup);
  EXPECT_EQ(doctor.exit_code, 1) << doctor.out << doctor.err;
  EXPECT_TRUE(Has(doctor.out, "No: RLIMIT_MEMLOCK lets this process lock 8 MiB")) << doctor.out;
  EXPECT_TRUE(Has(Unbroken(doctor.out), "CAP_IPC_LOCK is a user namespace's own")) << doctor.out;
  EXPECT_TRUE(Has(doctor.out, "\nwarning  privilege   CAP_IPC_LOCK: claimed by CapEff"))
      << doctor.out;
  EXPECT_FALSE(Has(doctor.out, "ulimit -l 65536")) << doctor.out;
  const Json report = ExpectValidJson(RunMpool("doctor 64M --json", setup).out, "mpool.doctor/1");
  EXPECT_EQ(CheckOf(report, "privilege")["values"]["claimed"], true);
  EXPECT_EQ(CheckOf(report, "privilege")["values"]["privileged"], false);
  EXPECT_EQ(CheckOf(report, "namespace")["values"]["initial"], false);
}

TEST(MpoolDoctor, TheRealCapabilityIsFoundByTrying) {
  if (!os::HasLockPrivilege()) GTEST_SKIP() << "this process has no CAP_IPC_LOCK that counts";
  const Outcome doctor = RunMpool("doctor 16M", "ulimit -l 64;");
  EXPECT_EQ(doctor.exit_code, 0) << doctor.out;
  EXPECT_TRUE(Has(doctor.out, "CAP_IPC_LOCK: yes (tried)")) << doctor.out;
  EXPECT_TRUE(Has(doctor.out, "does not bind")) << doctor.out;
}

// Whether or not there is room for it.
TEST(MpoolDoctor, AsksTheKernelAboutMoreThanItLocks) {
  const Outcome doctor = RunMpool("doctor 1025M --json", Limited("64"));
  EXPECT_EQ(doctor.exit_code, 1) << doctor.out;
  const Json report = ExpectValidJson(doctor.out, "mpool.doctor/1");
  EXPECT_EQ(report["causes"].back(), "lock-limit");
}

TEST(MpoolDoctor, DoesNotTryWhatTheMachineHasNoRoomFor) {
  const Outcome doctor = RunMpool("doctor 1P", Limited("64"));
  EXPECT_EQ(doctor.exit_code, 1);
  EXPECT_TRUE(Has(Unbroken(doctor.out), "not for 1 PiB; it was not tried")) << doctor.out;
  EXPECT_FALSE(Has(doctor.out, "memlock")) << doctor.out;  // no limit would help
}

TEST(MpoolDoctor, DoesNotTryWhatTheCgroupHasNoRoomFor) {
  const auto cgroup = test_support::MemoryCgroup::Create(uint64_t{48} << 20);
  if (!cgroup) GTEST_SKIP() << "no memory cgroup may be made here";
  test_support::RunInChild([&cgroup] {
    ASSERT_EQ(cgroup->Enter(), os::kSuccess);
    const Outcome doctor = RunMpool("doctor 64M");
    EXPECT_EQ(doctor.exit_code, 1) << doctor.out << doctor.err;
    EXPECT_TRUE(Has(Unbroken(doctor.out), cgroup->directory())) << doctor.out;
    EXPECT_TRUE(Has(Unbroken(doctor.out), "it was not tried")) << doctor.out;
    EXPECT_TRUE(Has(doctor.out, "To change it:\n  memory: ")) << doctor.out;
    EXPECT_EQ(RunMpool("doctor 1M").exit_code, 0);
  });
}

// --- Output

TEST(MpoolDoctor, QuietIsTheVerdictAlone) {
  const Outcome no = RunMpool("doctor 64M -q", Limited("64"));
  EXPECT_EQ(no.exit_code, 1);
  EXPECT_EQ(CountLines(no.out), 1u) << no.out;
  const Outcome yes = RunMpool("doctor 4K -q -b", Limited("64"));
  EXPECT_EQ(yes.out, "Yes: this process can lock 4096.\n");
}

TEST(MpoolDoctor, QuietTellsOfAFailureAllTheSame) {
  const Outcome doctor = RunMpool("doctor 4K -q --prove", Limited("0"));
  EXPECT_EQ(doctor.exit_code, 1);
  EXPECT_EQ(CountLines(doctor.out), 1u) << doctor.out;
  EXPECT_EQ(doctor.err,
            "mpool doctor: no proof: not one page can be locked here, so there is nothing to "
            "prove\n");
}

TEST(MpoolDoctor, VerboseSaysWhy) {
  const Outcome doctor = RunMpool("doctor 4K -v --color always", Limited("64"));
  EXPECT_EQ(doctor.exit_code, 0);
  EXPECT_TRUE(Has(doctor.out, "hugetlb")) << doctor.out;
  EXPECT_TRUE(Has(doctor.out, "CapEff does")) << doctor.out;
  EXPECT_TRUE(Has(doctor.out, "\x1b[32m")) << doctor.out;
}

TEST(MpoolDoctor, SaysWhichSizeItTakesWithoutOne) {
  const Outcome doctor = RunMpool("doctor -q");
  EXPECT_TRUE(Has(doctor.out, "64 MiB")) << doctor.out;
  const Json report = ExpectValidJson(RunMpool("doctor --json").out, "mpool.doctor/1");
  EXPECT_EQ(report["size_bytes"], 64 << 20);
}

TEST(MpoolDoctor, JsonHasTheNumbers) {
  const Outcome doctor = RunMpool("doctor 1M --json", Limited("64"));
  EXPECT_EQ(doctor.exit_code, 1);
  const Json report = ExpectValidJson(doctor.out, "mpool.doctor/1");
  EXPECT_EQ(report["verdict"], "no");
  EXPECT_EQ(report["tried"], true);
  EXPECT_EQ(report["causes"][0], "lock-limit");
  const Json limit = CheckOf(report, "lock-limit");
  EXPECT_EQ(limit["status"], "problem");
  EXPECT_EQ(limit["values"]["soft_bytes"], 65536);
  EXPECT_EQ(limit["values"]["hard_bytes"], 65536);
  EXPECT_EQ(limit["values"]["needed_bytes"], 1 << 20);
  EXPECT_FALSE(report["fixes"].empty());
  // What is tried, here.
  EXPECT_TRUE(CheckOf(report, "membarrier")["values"]["usable"].is_boolean());
  EXPECT_TRUE(CheckOf(report, "io-uring")["values"]["usable"].is_boolean());
  EXPECT_GT(CheckOf(report, "mappings")["values"]["mappings"], 0);
}

TEST(MpoolDoctor, AFixIsOnlyWhatIsToBePasted) {
  const struct {
    const char* kind;
    const char* text;
  } cases[] = {{"systemd", "[Service]\nLimitMEMLOCK=67108864\n"},
               {"docker", "--ulimit memlock=67108864:67108864\n"},
               {"lxc", "lxc.prlimit.memlock = 67108864\n"},
               {"nspawn", "[Exec]\nLimitMEMLOCK=67108864\n"}};
  for (const auto& [kind, text] : cases) {
    const Outcome fix = RunMpool(std::string("doctor 64M --fix=") + kind, Limited("64"));
    EXPECT_EQ(fix.exit_code, 0) << kind << fix.err;
    EXPECT_EQ(fix.out, text);
    EXPECT_EQ(fix.err.rfind("# ", 0), 0u) << fix.err;
  }
  const Outcome pam = RunMpool("doctor 64M --fix=pam -q", Limited("64"));
  EXPECT_TRUE(pam.out.ends_with(" - memlock 65536\n")) << pam.out;
  EXPECT_EQ(pam.err, "");
  const Outcome kubernetes = RunMpool("doctor 64M --fix=kubernetes", Limited("64"));
  EXPECT_EQ(kubernetes.exit_code, 0);
  EXPECT_TRUE(Has(kubernetes.out, "IPC_LOCK") || Has(kubernetes.out, "LimitMEMLOCK=67108864"));
}

TEST(MpoolDoctor, ProvesThatLockedPagesStay) {
  const Outcome doctor = RunMpool("doctor 64K --prove --json", Limited("64"));
  const Json proof = ExpectValidJson(doctor.out, "mpool.doctor/1")["proof"];
  ASSERT_TRUE(proof.is_object()) << doctor.out;
  EXPECT_EQ(proof["locked"]["answer"], "EINVAL");
  EXPECT_EQ(proof["locked"]["pages"], 65536 / os::RealMemory().page_size());
  EXPECT_EQ(proof["locked"]["present_after"], proof["locked"]["pages"]);
  EXPECT_EQ(proof["locked"]["faults_after"], 0);
  EXPECT_EQ(proof["locked"]["present_before"], proof["locked"]["pages"]);
  // Where there is neither swap nor a disk, it says that it proves nothing.
  if (proof["unlocked"]["present_after"] == 0) {
    EXPECT_EQ(doctor.exit_code, 0) << doctor.out << doctor.err;
    EXPECT_EQ(proof["proved"], true);
    EXPECT_GT(proof["unlocked"]["faults_after"], 0);
  } else {
    EXPECT_EQ(doctor.exit_code, 1) << doctor.out << doctor.err;
    EXPECT_TRUE(proof["proved"].is_null());
    const Outcome quiet = RunMpool("doctor 64K --prove -q", Limited("64"));
    EXPECT_EQ(quiet.exit_code, 1);
    EXPECT_TRUE(Has(quiet.err, "It proves nothing: MADV_PAGEOUT answered ")) << quiet.err;
  }
  const Outcome text = RunMpool("doctor 64K --prove", Limited("64"));
  EXPECT_TRUE(Has(text.out, "\nTo prove it:\n")) << text.out;
}

// What a container's filter of system calls often does.
TEST(MpoolDoctor, SeesWhatIsForbidden) {
  test_support::RunInChild([] {
    const long forbidden[] = {SYS_io_uring_setup, SYS_membarrier};
    test_support::ForbidSyscalls(forbidden, EPERM);
    if (::testing::Test::IsSkipped()) return;
    const Outcome doctor = RunMpool("doctor 4K --json");
    EXPECT_EQ(doctor.exit_code, 0) << doctor.out;  // these are warnings
    const Json report = ExpectValidJson(doctor.out, "mpool.doctor/1");
    for (const char* id : {"io-uring", "membarrier"}) {
      EXPECT_EQ(CheckOf(report, id)["values"]["usable"], false) << id;
      EXPECT_EQ(CheckOf(report, id)["status"], "warning") << id;
      EXPECT_TRUE(CheckOf(report, id)["advice"].is_string()) << id;
    }
  });
}

// --- Another process

// Starts a program without privilege under the limits that a shell sets so, runs `mpool ARGUMENTS`,
// in which it is $pid, and ends it.
Outcome RunOnAnother(const std::string& arguments, const std::string& limits) {
  const std::string start =
      "(" + limits + " exec $drop sleep 60) & pid=$!;" +
      "until [ \"$(cat /proc/$pid/comm)\" = sleep ]; do sleep 0.01; done; privilege=;";
  return RunMpool(arguments + "; code=$?; kill $pid; exit $code", kWithoutPrivilege + start);
}

TEST(MpoolDoctor, TellsOfAnotherProcessByItsNumbers) {
  const Outcome no = RunOnAnother("doctor 1M --pid $pid", "ulimit -l 64;");
  EXPECT_EQ(no.exit_code, 1) << no.out << no.err;
  EXPECT_EQ(no.out.rfind("No, by its numbers: RLIMIT_MEMLOCK lets process", 0), 0u) << no.out;
  EXPECT_TRUE(Has(Unbroken(no.out), "(sleep) lock 64 KiB, not 1 MiB")) << no.out;
  EXPECT_TRUE(Has(no.out, "soft 64 KiB (ulimit -l: 64), hard 64 KiB (64)")) << no.out;
  const Outcome yes = RunOnAnother("doctor 64K --pid $pid --json", "ulimit -l 64;");
  EXPECT_EQ(yes.exit_code, 0) << yes.out << yes.err;
  const Json report = ExpectValidJson(yes.out, "mpool.doctor/1");
  EXPECT_EQ(report["name"], "sleep");
  EXPECT_EQ(report["tried"], false);
  EXPECT_GT(report["pid"], 1);
}

TEST(MpoolDoctor, WhoFollowsTheFixHelpsARunningProcess) {
  const std::string limits = "ulimit -Sl 64; ulimit -Hl 8192;";
  EXPECT_EQ(RunOnAnother("doctor 1M -q --pid $pid", limits).exit_code, 1);
  const std::string fix = "'" + Temporary("fix") + "'";
  const Outcome after = RunOnAnother("doctor 1M -q --fix=ulimit --pid $pid >" + fix + " && sh " +
                                         fix + " && " MPOOL_PROGRAM " doctor 1M -q --pid $pid",
                                     limits);
  EXPECT_EQ(after.exit_code, 0) << after.out << after.err;
  EXPECT_TRUE(Has(after.out, "Yes, by its numbers: process")) << after.out;
  EXPECT_TRUE(Has(Contents(Temporary("fix")), "--memlock=1048576:\n"));
}

TEST(MpoolDoctor, KnowsThatThereIsNoSuchProcess) {
  const Outcome doctor = RunMpool("doctor --pid 2000000000");
  EXPECT_EQ(doctor.exit_code, 3);
  EXPECT_EQ(doctor.err, "mpool doctor: there is no process 2000000000\n");
  EXPECT_EQ(doctor.out, "");
}

// --- Mistakes

TEST(MpoolDoctor, RefusesWrongUsage) {
  for (const char* arguments :
       {"doctor 0", "doctor ''", "doctor 64X", "doctor -1", "doctor 99999P", "doctor 1M 2M",
        "doctor --pid 0", "doctor --pid x", "doctor --pid ''", "doctor --fix=bogus", "doctor --fix",
        "doctor --bogus", "doctor --prove --pid 1", "doctor --prove --fix=pam",
        "doctor --json --fix=pam"}) {
    const Outcome refused = RunMpool(arguments);
    EXPECT_EQ(refused.exit_code, 2) << arguments;
    EXPECT_EQ(refused.out, "") << arguments;
    EXPECT_NE(refused.err, "") << arguments;
  }
}

}  // namespace
}  // namespace cli
