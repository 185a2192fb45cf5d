// `mpool run` as a user meets it.

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>

#include "cli/json_schema.h"
#include "cli/run_mpool.h"
#include "cli/run_report.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "os/child_process.h"

namespace cli {
namespace {

constexpr char kMemoryUser[] = "tests/support/memory_user ";

// Takes the rights to exceed the lock limit and to raise it away from root; others have neither.
constexpr char kWithoutPrivilege[] =
    "drop='setpriv --bounding-set=-ipc_lock,-sys_resource'; "
    "if $drop true 2>/dev/null; then privilege=$drop; fi;";

RunReport SomeReport() {
  RunReport report;
  report.command = {"a", ""};
  report.end.faults = {.minor = 1'234'567, .major = 1'000};
  report.end.user_us = 1'500'000;
  report.memory = {.locked_bytes = 4 << 20, .resident_bytes_max = 5 << 20};
  report.wall_us = 520'000;
  return report;
}

TEST(RunReport, IsALine) {
  EXPECT_EQ(
      TextOf(SomeReport(), /*details=*/false),
      "mpool run: 1,000 major and 1,234,567 minor faults; 4.0 MiB locked, 5.0 MiB resident at "
      "most; 0.52 s\n");
  RunReport killed = SomeReport();
  killed.memory.reset();
  killed.end.signal = SIGKILL;
  EXPECT_EQ(TextOf(killed, /*details=*/false),
            "mpool run: 1,000 major and 1,234,567 minor faults; memory not seen; 0.52 s\n"
            "mpool run: killed by signal 9 (Killed)\n");
}

TEST(RunReport, HasDetails) {
  RunReport report = SomeReport();
  report.limit_bytes = 65536;
  const std::string text = TextOf(report, /*details=*/true);
  EXPECT_NE(text.find("\nmpool run: exit code 0\n"), std::string::npos) << text;
  EXPECT_NE(text.find("1.50 s of its own, 0.00 s in the kernel"), std::string::npos) << text;
  EXPECT_NE(text.find("lock limit: 64 KiB\n"), std::string::npos) << text;
  report.limit_bytes = os::ChildProcess::kUnlimited;
  EXPECT_NE(TextOf(report, true).find("lock limit: unlimited\n"), std::string::npos);
}

TEST(RunReport, LetsTheProgramsOwnFailureWin) {
  RunReport report = SomeReport();
  EXPECT_EQ(report.ExitCode(), 0) << "nothing was said of major faults";
  report.allowed_major_faults = 1'000;
  EXPECT_EQ(report.ExitCode(), 0);
  report.allowed_major_faults = 999;
  EXPECT_EQ(report.ExitCode(), 1);
  report.end.exit_code = 42;
  EXPECT_EQ(report.ExitCode(), 42);
  report.end = {.exit_code = 0, .signal = SIGTERM, .faults = report.end.faults};
  EXPECT_EQ(report.ExitCode(), 143);
}

TEST(RunReport, IsJsonToo) {
  RunReport report = SomeReport();
  report.command.push_back("\xff");
  const auto json = ExpectValidJson(JsonOf(report), "mpool.run/1");
  EXPECT_EQ(json["command"], nlohmann::ordered_json({"a", "", nullptr}));
  EXPECT_EQ(json["minor_faults"], 1'234'567);
  EXPECT_EQ(json["locked_bytes_max"], 4 << 20);
  EXPECT_TRUE(json["limit_bytes"].is_null());
  report.memory.reset();
  report.end.signal = SIGKILL;
  const auto killed = ExpectValidJson(JsonOf(report), "mpool.run/1");
  EXPECT_TRUE(killed["exit_code"].is_null());
  EXPECT_TRUE(killed["resident_bytes_max"].is_null());
}

TEST(MpoolRun, LeavesTheProgramItsStreamsAndItsExitCode) {
  const Outcome piped =
      RunMpool("run -- sh -c 'cat; echo out; echo err >&2; exit 42' </etc/hostname");
  EXPECT_EQ(piped.exit_code, 42);
  EXPECT_EQ(piped.out, Contents("/etc/hostname") + "out\n");
  EXPECT_EQ(piped.err.rfind("err\nmpool run: ", 0), 0u) << piped.err;
  EXPECT_NE(piped.err.find(" minor faults; "), std::string::npos) << piped.err;
}

TEST(MpoolRun, TakesTheCommandAsItIs) {
  for (const char* dashes : {"", "-- "}) {
    const Outcome run =
        RunMpool(std::string("run -q ") + dashes + "printf '<%s>' '[a,b]' '' --json -- -h ls");
    EXPECT_EQ(run.exit_code, 0);
    EXPECT_EQ(run.out, "<[a,b]><><--json><--><-h><ls>");
    EXPECT_EQ(run.err, "");
  }
}

TEST(MpoolRun, HasTheStatusThatAShellGivesAKilledProgram) {
  const Outcome run = RunMpool("run sh -c 'kill -KILL $$'");
  EXPECT_EQ(run.exit_code, 137);
  EXPECT_NE(run.err.find("killed by signal 9 (Killed)"), std::string::npos) << run.err;
}

TEST(MpoolRun, HandsOnASignalThatIsSentToItAlone) {
  const Outcome run = RunMpool(
      "run sh -c 'trap \"echo got it; exit 3\" TERM; kill -TERM $PPID; "
      "while :; do sleep 0.01; done'");
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_EQ(run.out, "got it\n");
}

TEST(MpoolRun, SaysWhyAProgramCannotBeRun) {
  const std::string script = Temporary("script");
  std::ofstream(script) << "#!/nonexistent/interpreter\n";
  ASSERT_EQ(std::system(("chmod +x " + script).c_str()), 0);
  const struct {
    std::string arguments;
    int exit_code;
    const char* reason;
  } cases[] = {{"no-such-program", 127, "no program 'no-such-program' in PATH"},
               {"/nonexistent/program", 127, "No such file"},
               {script, 127, "the interpreter"},
               {"/etc", 126, "'/etc' cannot be run: Permission denied"},
               {"", 125, "COMMAND is required"},
               {"--bogus true", 125, "--bogus"},
               {"--limit 6Q true", 125, "'6Q' is no size"},
               {"--limit '' true", 125, "'' is no size"},
               {"--fail-on-majflt=x true", 125, "'x' is no number"},
               {"-o /nonexistent/file true", 125, "cannot write to /nonexistent/file: No such"},
               {"-o /dev/full true", 125, "the report cannot be written: No space left"}};
  for (const auto& [arguments, exit_code, reason] : cases) {
    const Outcome run = RunMpool("run " + arguments);
    EXPECT_EQ(run.exit_code, exit_code) << arguments;
    EXPECT_NE(run.err.find(reason), std::string::npos) << run.err;
    EXPECT_EQ(run.out, "");
  }
}

TEST(MpoolRun, KeepsTheExitCodeOfAProgramThatFailsThoughTheReportIsLost) {
  EXPECT_EQ(RunMpool("run -o /dev/full sh -c 'exit 7'").exit_code, 7);
}

TEST(MpoolRun, SetsTheLockLimit) {
  const Outcome run = RunMpool("run -q --limit 64K " + std::string(kMemoryUser) + "limit",
                               std::string("ulimit -l 1024;") + kWithoutPrivilege);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "65536 65536\n");
  const Outcome lock = RunMpool("run --limit 64K " + std::string(kMemoryUser) + "lock 1000000",
                                std::string("ulimit -l 1024;") + kWithoutPrivilege);
  EXPECT_EQ(lock.exit_code, 1);
  EXPECT_NE(lock.err.find("mlock: Cannot allocate memory"), std::string::npos) << lock.err;
}

TEST(MpoolRun, SaysThatALimitIsAboveTheHardLimit) {
  const Outcome run =
      RunMpool("run --limit 2M true", std::string("ulimit -l 1024;") + kWithoutPrivilege);
  EXPECT_EQ(run.exit_code, 125);
  EXPECT_EQ(run.err.rfind("mpool run: cannot set the lock limit to 2 MiB: the hard limit is 1 MiB, "
                          "and raising it needs CAP_SYS_RESOURCE; `mpool doctor`",
                          0),
            0u)
      << run.err;
}

TEST(MpoolRun, SeesHowMuchIsLocked) {
  const Outcome run = RunMpool("run --json " + std::string(kMemoryUser) + "lock 65536");
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const auto json = ExpectValidJson(run.err, "mpool.run/1");
  EXPECT_GE(json["locked_bytes_max"], 65536);
  EXPECT_LE(json["locked_bytes_max"], 65536 + 4096);
  EXPECT_GE(json["resident_bytes_max"], 65536);
  EXPECT_EQ(json["command"][1], "lock");
}

TEST(MpoolRun, FailsWhereItIsAskedToAndTheProgramTookMajorFaults) {
  const std::string path = Temporary("pages");
  std::ofstream(path) << std::string(1 << 20, 'x');
  const std::string program = kMemoryUser + ("fault " + path);
  const std::string report = Temporary("report.json");
  const Outcome plain = RunMpool("run --json --output " + report + " " + program);
  if (plain.exit_code == 77) GTEST_SKIP() << path << " does not leave the page cache";
  EXPECT_EQ(plain.exit_code, 0);
  EXPECT_EQ(plain.err, "");
  EXPECT_GE(ExpectValidJson(Contents(report), "mpool.run/1")["major_faults"], 1);

  const Outcome failed = RunMpool("run -q --fail-on-majflt -- " + program);
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_NE(failed.err.find(", where --fail-on-majflt allows 0\n"), std::string::npos)
      << failed.err;
  EXPECT_EQ(RunMpool("run --fail-on-majflt=1000000 -- " + program).exit_code, 0);
  EXPECT_EQ(RunMpool("run --fail-on-majflt -- sh -c '" + program + "; exit 9'").exit_code, 9);
}

}  // namespace
}  // namespace cli
