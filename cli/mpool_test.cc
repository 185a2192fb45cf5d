// The program as a user meets it: exit codes, and what it prints where.

#include <fstream>
#include <sstream>
#include <string>

#include "cli/json_schema.h"
#include "cli/run_mpool.h"
#include "gtest/gtest.h"

namespace {

using cli::Contents;
using cli::Outcome;
using cli::RunMpool;
using cli::Temporary;

void ExpectFits80Columns(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 80u) << line;
    EXPECT_TRUE(line.empty() || line.back() != ' ') << "[" << line << "]";
  }
}

void WriteFile(const std::string& path, size_t bytes) {
  std::ofstream file(path, std::ios::binary);
  for (size_t i = 0; i < bytes; ++i) file.put(static_cast<char>(i * 7 + i / 4096));
}

TEST(MpoolDemo, ShowsThatEveryClaimHoldsOnTheDefaultFile) {
  const Outcome demo = RunMpool("demo");
  EXPECT_EQ(demo.exit_code, 0) << demo.out << demo.err;
  EXPECT_EQ(demo.err, "");
  EXPECT_NE(demo.out.find("Every claim holds."), std::string::npos) << demo.out;
  EXPECT_EQ(demo.out.find("FAILED"), std::string::npos) << demo.out;
  ExpectFits80Columns(demo.out);
}

TEST(MpoolDemo, TellsTheSameAsJson) {
  const Outcome demo = RunMpool("demo --json");
  EXPECT_EQ(demo.exit_code, 0) << demo.err;
  const auto object = cli::ExpectValidJson(demo.out, "mpool.demo/1");
  EXPECT_EQ(object["all_hold"], true);
  EXPECT_EQ(object["claims"].size(), 7u);
  ASSERT_EQ(object["touches"].size(), 2u);
  EXPECT_EQ(object["touches"][1]["faults"], 0u);
}

TEST(MpoolDemo, WorksOnACopyAndLeavesTheFileAlone) {
  const std::string path = Temporary("a file with a rather long name, and a tail that is no page");
  WriteFile(path, 100 * 4096 + 123);
  const std::string before = Contents(path);
  const Outcome demo = RunMpool("demo '" + path + "'");
  EXPECT_EQ(demo.exit_code, 0) << demo.out << demo.err;
  EXPECT_NE(demo.out.find("100 pages"), std::string::npos) << demo.out;
  EXPECT_EQ(Contents(path), before);
  ExpectFits80Columns(demo.out);
}

// Takes the right to exceed the lock limit away from root; others do not have it, nor need they.
constexpr char kWithoutPrivilege[] =
    "drop='setpriv --bounding-set=-ipc_lock'; if $drop true 2>/dev/null; then privilege=$drop; fi;";

TEST(MpoolDemo, WorksUnderALockLimitOf64KiB) {
  const Outcome demo = RunMpool("demo", std::string("ulimit -l 64;") + kWithoutPrivilege);
  EXPECT_EQ(demo.exit_code, 0) << demo.out << demo.err;
  EXPECT_NE(demo.out.find("The lock limit of 64.0 KiB bounds the pool"), std::string::npos)
      << demo.out;
}

TEST(MpoolDemo, SaysWhichLimitForbidsIt) {
  const Outcome demo = RunMpool("demo", std::string("ulimit -l 0;") + kWithoutPrivilege);
  EXPECT_EQ(demo.exit_code, 1) << demo.out << demo.err;
  EXPECT_NE(demo.err.find("RLIMIT_MEMLOCK is 0"), std::string::npos) << demo.err;
  EXPECT_NE(demo.err.find("cure"), std::string::npos) << demo.err;
}

TEST(MpoolDemo, SaysWhatIsWrongWithAFile) {
  WriteFile(Temporary("small"), 4096);
  const struct {
    std::string argument;
    const char* reason;
  } cases[] = {{"/nonexistent/file", "No such file"},
               {"/etc", "not a regular file"},
               {"/dev/null", "not a regular file"},
               {Temporary("small"), "needs a file of at least"}};
  for (const auto& [argument, reason] : cases) {
    const Outcome demo = RunMpool("demo " + argument);
    EXPECT_EQ(demo.exit_code, 1) << argument;
    EXPECT_NE(demo.err.find(argument), std::string::npos) << demo.err;
    EXPECT_NE(demo.err.find(reason), std::string::npos) << demo.err;
    EXPECT_EQ(demo.out, "");
  }
}

TEST(Mpool, HelpListsTheCommands) {
  for (const char* arguments : {"help", "--help", "-h"}) {
    const Outcome help = RunMpool(arguments);
    EXPECT_EQ(help.exit_code, 0) << arguments;
    for (const char* command : {"doctor", "demo", "bench", "run", "check", "stat", "top", "map",
                                "ls", "rm", "rsm", "help"}) {
      EXPECT_NE(help.out.find(std::string("\n  ") + command + " "), std::string::npos) << help.out;
    }
    EXPECT_EQ(help.err, "");
    ExpectFits80Columns(help.out);
  }
  const struct {
    const char* command;
    const char* argument;
  } cases[] = {{"demo", "FILE"},   {"doctor", "--fix"}, {"bench", "--cgroup"},
               {"run", "COMMAND"}, {"check", "FILE"},   {"stat", "POOL"},
               {"map", "POOL"},    {"ls", "--json"},    {"rm", "POOL"}};
  for (const auto& [command, argument] : cases) {
    const Outcome help = RunMpool(std::string("help ") + command);
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_NE(help.out.find(argument), std::string::npos) << help.out;
    ExpectFits80Columns(help.out);
  }
}

TEST(Mpool, EveryCommandHasHelpAndJson) {
  const Outcome help = RunMpool("help --json");
  EXPECT_EQ(help.exit_code, 0);
  const auto object = cli::ExpectValidJson(help.out, "mpool.help/1");
  EXPECT_GE(object["commands"].size(), 6u);
  for (const auto& command : object["commands"]) {
    const std::string name = command["name"];
    for (const std::string& arguments : {name + " --help", name + " -h", "help " + name}) {
      const Outcome outcome = RunMpool(arguments);
      EXPECT_EQ(outcome.exit_code, 0) << arguments;
      EXPECT_NE(outcome.out.find("--json"), std::string::npos) << outcome.out;
      ExpectFits80Columns(outcome.out);
    }
  }
}

TEST(Mpool, EveryCommandIsInTheManPage) {
  const std::string page = Contents("docs/man/mpool.1");
  const auto object = cli::ExpectValidJson(RunMpool("help --json").out, "mpool.help/1");
  for (const auto& command : object["commands"]) {
    const std::string name = command["name"];
    EXPECT_NE(page.find("\n.Cm " + name + "\n"), std::string::npos) << "no synopsis of " << name;
    EXPECT_NE(page.find("\n.It Cm " + name + " "), std::string::npos) << "no section on " << name;
  }
}

TEST(Mpool, PrintsItsVersion) {
  for (const char* arguments : {"--version", "-V"}) {
    const Outcome version = RunMpool(arguments);
    EXPECT_EQ(version.exit_code, 0);
    EXPECT_EQ(version.out.rfind("mpool ", 0), 0u) << version.out;
  }
}

TEST(Mpool, RefusesWrongUsageWithStatus2) {
  for (const char* arguments :
       {"", "bogus", "demo a b", "check", "demo --bogus", "help bogus", "help demo ls", "ls a",
        "ls --bogus", "ls -o BOGUS", "rm", "rm a b"}) {
    const Outcome refused = RunMpool(arguments);
    EXPECT_EQ(refused.exit_code, 2) << arguments;
    EXPECT_EQ(refused.out, "") << arguments;
    EXPECT_NE(refused.err, "") << arguments;
  }
}

TEST(Mpool, FailsWhenItsOutputCannotBeWritten) {
  // Long texts and short ones: the first fill the buffer.
  for (const char* arguments : {"help", "help --json", "doctor --json 1M", "doctor --fix=pam 1M"}) {
    const Outcome lost = RunMpool(std::string(arguments) + " >/dev/full");
    EXPECT_EQ(lost.exit_code, 1) << arguments;
    EXPECT_NE(lost.err.find("standard output"), std::string::npos) << lost.err;
  }
}

}  // namespace
