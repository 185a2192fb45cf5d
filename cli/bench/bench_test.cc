// `mpool bench` as a user runs it.

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "cli/json_schema.h"
#include "cli/run_mpool.h"
#include "gtest/gtest.h"

namespace cli {
namespace {

void WriteFile(const std::string& path, size_t bytes) {
  std::ofstream file(path, std::ios::binary);
  for (size_t i = 0; i < bytes; ++i) file.put(static_cast<char>(i * 7 + i / 4096));
}

TEST(MpoolBench, MeasuresAFileInFourWays) {
  const std::string file = Temporary("bench.file");
  const std::string page = Temporary("bench.html");
  WriteFile(file, 100 * 4096 + 1);
  const Outcome bench = RunMpool("bench --secs 1 --json - --report " + page + " " + file);
  EXPECT_EQ(bench.exit_code, 0) << bench.err;
  const auto json = ExpectValidJson(bench.out, "mpool.bench/1");
  ASSERT_EQ(json["modes"].size(), 4u);
  EXPECT_EQ(json["file"], file);
  EXPECT_EQ(json["working_set_bytes"], 100 * 4096);
  EXPECT_EQ(json["adversary"], "pageout");
  EXPECT_EQ(json["finding"], false);
  for (const auto& mode : json["modes"]) {
    EXPECT_GT(mode["touches"], 0) << mode["mode"];
    if (mode["mode"] != "pool" && mode["mode"] != "mlock") continue;
    EXPECT_EQ(mode["major_faults"], 0) << mode["mode"];
    EXPECT_EQ(mode["page_outs_done"], 0) << mode["mode"];
    EXPECT_EQ(mode["present_pages"], 100) << mode["mode"];
    EXPECT_GE(mode["locked_bytes"], 100 * 4096) << mode["mode"];
  }
  EXPECT_EQ(json["modes"][3]["pool_misses"], 0);
  const std::string json_file = Temporary("bench.json");
  std::ofstream(json_file) << bench.out;
  const std::string check = "/usr/bin/python3 cli/bench/check_page.py " + page + " " + json_file +
                            " >" + Temporary("problems") + " 2>&1";
  EXPECT_EQ(std::system(check.c_str()), 0) << Contents(Temporary("problems"));
}

TEST(MpoolBench, PrintsFaultsAndPercentilesOfATemporaryFile) {
  const Outcome bench = RunMpool("bench --secs 0.3 --size 1M -v");
  EXPECT_EQ(bench.exit_code, 0) << bench.err;
  for (const char* text :
       {"1.0 MiB of a temporary file", "MODE ", " MAJOR ", " P99.9 ", "\nmalloc ", "\npool ",
        "RUN QUEUE", "CPU/TOUCH", "The pool took no major fault"}) {
    EXPECT_NE(bench.out.find(text), std::string::npos) << text << "\n" << bench.out;
  }
}

TEST(MpoolBench, QuietlyPrintsTheVerdictAlone) {
  const Outcome bench = RunMpool("bench -q --secs 0.1 --size 1M --modes pool");
  EXPECT_EQ(bench.exit_code, 0) << bench.err;
  EXPECT_EQ(bench.out, "The pool took no major fault.\n");
  EXPECT_EQ(bench.err, "");
}

TEST(MpoolBench, EndsEarlyWithAReport) {
  const Outcome bench = RunMpool("bench --secs 600 --size 1M --modes pool", EndedWhileItMeasures());
  EXPECT_NE(bench.out.find("Ended early"), std::string::npos) << bench.out << bench.err;
  EXPECT_NE(bench.out.find("The pool took no major fault."), std::string::npos) << bench.out;
}

// Takes the right to exceed the lock limit away from root; others do not have it, nor need they.
constexpr char kWithoutPrivilege[] =
    "drop='setpriv --bounding-set=-ipc_lock'; if $drop true 2>/dev/null; then privilege=$drop; fi;";

TEST(MpoolBench, TakesLessWhereTheLockLimitIsLowAndSaysSo) {
  const Outcome bench =
      RunMpool("bench --secs 0.2 --json -", std::string("ulimit -l 4096;") + kWithoutPrivilege);
  EXPECT_EQ(bench.exit_code, 0) << bench.err;
  EXPECT_NE(bench.err.find("The lock limit of 4.0 MiB allows a working set of"), std::string::npos)
      << bench.err;
  const auto json = ExpectValidJson(bench.out, "mpool.bench/1");
  EXPECT_LT(json["working_set_bytes"], 2 << 20);
  EXPECT_GT(json["working_set_bytes"], 1 << 20);
}

TEST(MpoolBench, WorksUnderALockLimitOf64KiB) {
  const Outcome bench =
      RunMpool("bench --secs 0.2", std::string("ulimit -l 64;") + kWithoutPrivilege);
  EXPECT_EQ(bench.exit_code, 0) << bench.err;
  EXPECT_NE(bench.err.find("The lock limit of 64.0 KiB allows"), std::string::npos) << bench.err;
}

TEST(MpoolBench, SaysWhatIsWrongWithTheLockLimitOrTheFile) {
  ASSERT_EQ(std::system(("mkfifo " + Temporary("fifo")).c_str()), 0);
  const Outcome none =
      RunMpool("bench --secs 0.2", std::string("ulimit -l 0;") + kWithoutPrivilege);
  EXPECT_EQ(none.exit_code, 1) << none.out;
  EXPECT_NE(none.err.find("lock"), std::string::npos) << none.err;
  WriteFile(Temporary("small"), 4096);
  const struct {
    std::string arguments;
    const char* reason;
  } cases[] = {{"/nonexistent/file", "cannot open /nonexistent/file"},
               {"/etc", "not a regular file"},
               {Temporary("fifo"), "not a regular file"},
               {Temporary("small"), "needs a file of at least 32768"},
               {"--json /nonexistent/f", "cannot write /nonexistent/f"},
               {"--report /nonexistent/f", "cannot write /nonexistent/f"},
               {"--secs 0.1 --size 1M --modes pool --report /dev/full", "cannot write /dev/full"},
               {"--pressure 1P", "could wake the OOM killer"}};
  for (const auto& [arguments, reason] : cases) {
    const Outcome bench = RunMpool("bench " + arguments);
    EXPECT_EQ(bench.exit_code, 1) << arguments;
    EXPECT_NE(bench.err.find(reason), std::string::npos) << bench.err;
    // What was measured is not lost with the report.
    EXPECT_EQ(bench.out.empty(), arguments.find("/dev/full") == arguments.npos) << arguments;
  }
}

TEST(MpoolBench, NeverWritesAReportOverTheFileOrTheOtherReport) {
  const std::string file = Temporary("precious"), link = Temporary("link");
  WriteFile(file, 100 * 4096);
  ASSERT_EQ(symlink(file.c_str(), link.c_str()), 0);
  for (const std::string& arguments :
       {"--json " + file + " " + file, "--report " + link + " " + file,
        "--json new --report ./new " + file}) {
    const Outcome bench = RunMpool("bench --secs 0.1 " + arguments);
    EXPECT_EQ(bench.exit_code, 2) << arguments;
    EXPECT_NE(bench.err.find("name"), std::string::npos) << bench.err;
    EXPECT_EQ(bench.out, "") << arguments;
    EXPECT_EQ(std::filesystem::file_size(file), 100u * 4096) << arguments;
  }
  const Outcome both = RunMpool("bench --secs 0.1 --size 1M --json /dev/null --report /dev/null");
  EXPECT_EQ(both.exit_code, 0) << both.err;
}

TEST(MpoolBench, RefusesWrongUsageWithStatus2) {
  for (const char* arguments :
       {"--modes bogus", "--secs 0", "--secs 0.01", "--secs x", "--pressure x", "--cgroup 1M",
        "--adversary x", "--adversary pressure", "--bogus", "a b", "--color sometimes"}) {
    const Outcome bench = RunMpool(std::string("bench ") + arguments);
    EXPECT_EQ(bench.exit_code, 2) << arguments;
    EXPECT_EQ(bench.out, "") << arguments;
    EXPECT_NE(bench.err, "") << arguments;
  }
}

// Pressure that fits is allowed to anybody.
TEST(MpoolBench, BesideAProcessThatUsesSomeMemory) {
  const Outcome bench = RunMpool("bench --secs 0.3 --size 1M --pressure 4M --json -");
  EXPECT_EQ(bench.exit_code, 0) << bench.err;
  const auto json = ExpectValidJson(bench.out, "mpool.bench/1");
  EXPECT_EQ(json["adversary"], "pressure");
  EXPECT_EQ(json["pressure_bytes"], 4 << 20);
  EXPECT_EQ(json["pressure_died"], false);
  EXPECT_EQ(json["modes"][3]["major_faults"], 0);
}

}  // namespace
}  // namespace cli
