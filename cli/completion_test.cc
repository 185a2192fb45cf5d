// The completion of the program's command line, as bash calls it.

#include <sys/stat.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "cli/run_mpool.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mpool/mpool.h"
#include "tests/support/test_file.h"
#include "tests/support/test_pool.h"

namespace cli {
namespace {

using test_support::Pool;
using test_support::TestFile;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;
using testing::StartsWith;

// The answers for the last of the words of a command line, which are written as for a shell.
std::vector<std::string> Complete(const std::string& words, const std::string& program) {
  const std::string out = Temporary("answers");
  const std::string script = Temporary("complete.bash");
  std::ofstream(script) << "set -u; source cli/completion/mpool || exit\n"
                        << "COMP_WORDS=(mpool " << words
                        << "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
                        << "_mpool " << program << " \"${COMP_WORDS[COMP_CWORD]}\" \"\" || exit\n"
                        << "((${#COMPREPLY[@]} == 0)) || printf '%s\\n' \"${COMPREPLY[@]}\"\n";
  const std::string command = "bash --norc " + script + " >" + out + " 2>&1 </dev/null";
  EXPECT_EQ(std::system(command.c_str()), 0) << Contents(out);
  std::istringstream lines(Contents(out));
  std::vector<std::string> answers;
  for (std::string line; std::getline(lines, line);) answers.push_back(line);
  return answers;
}

std::vector<std::string> Complete(const std::string& words) {
  return Complete(words, MPOOL_PROGRAM);
}

// A program whose help has what mpool's may come to have.
std::string OtherProgram() {
  const std::string path = Temporary("other");
  std::ofstream(path) << R"(#!/bin/sh
if [ "$1" = ls ]; then
  echo '{"pools": [{"key": "a:b", "name": "mpool.1"}, {"key": "two words", "name": "mpool.2"},'
  echo '{"key":null,"name":"mpool.3"},{"key":"a\u0001","name":"mpool.4"}]}'
  exit
fi
cat <<'END'
Options:
  -h,--help                   Print this help and exit
  -o,--columns COLUMNS        Which columns
  --format TEXT:{json,text} [text]
                              How it is printed
  --output FILE               Where to

Positionals:
  POOL TEXT REQUIRED          Its key
  PATH TEXT ...               Files
END
[ "$1" = watch ] || printf '\nSubcommands:\n  watch                       Watch it\n'
)";
  EXPECT_EQ(chmod(path.c_str(), 0700), 0);
  return path;
}

Pool SharedPoolOf(const TestFile& file, std::string key) {
  DBT name = {key.data(), key.size()};
  Pool pool(mpool_open(&name, file.fd(), 4096, 4));
  EXPECT_NE(pool, nullptr) << std::strerror(errno) << ": " << mpool_error();
  return pool;
}

TEST(Completion, OffersTheCommands) {
  EXPECT_THAT(Complete("''"), IsSupersetOf({"demo", "help", "ls", "rm"}));
  EXPECT_THAT(Complete("dem"), ElementsAre("demo"));
  EXPECT_THAT(Complete("help dem"), ElementsAre("demo"));
}

TEST(Completion, OffersEveryCommandThatHelpLists) {
  for (const std::string& command : Complete("''")) {
    EXPECT_EQ(RunMpool("help " + command).exit_code, 0) << command;
  }
}

TEST(Completion, OffersTheCommandsOfACommand) {
  EXPECT_THAT(Complete("rsm ''"), ElementsAre("ls"));
  EXPECT_THAT(Complete("rsm -"), ElementsAre("-h", "--help"));
  EXPECT_THAT(Complete("rsm ls --no"), ElementsAre("--no-headings"));
  EXPECT_THAT(Complete("rsm nonsense ''"), IsEmpty());
  EXPECT_THAT(Complete("help rsm ''"), ElementsAre("ls"));
  EXPECT_THAT(Complete("help demo ''"), IsEmpty());
}

TEST(Completion, OffersTheOptionsOfTheCommand) {
  EXPECT_THAT(Complete("-"), IsSupersetOf({"--help", "--version", "-V"}));
  EXPECT_THAT(Complete("ls --js"), ElementsAre("--json"));
  EXPECT_THAT(Complete("rm --"), Contains("--force"));
  EXPECT_THAT(Complete("rm --"), Not(Contains("--bytes")));
}

TEST(Completion, OffersTheKeysOfPools) {
  const std::string number = std::to_string(std::random_device()());
  const std::string key = "completion of " + number;
  const TestFile file(4, 4096);
  const Pool plain = SharedPoolOf(file, key + " $x");
  const Pool control = SharedPoolOf(file, key + "\n");
  const std::string quoted = "completion\\ of\\ " + number;
  EXPECT_THAT(Complete("rm " + quoted), ElementsAre(quoted + "\\ \\$x"));
  EXPECT_THAT(Complete("rm --force comple"), Contains(quoted + "\\ \\$x"));
  EXPECT_THAT(Complete("rm one ''"), IsEmpty()) << "rm takes one";
  EXPECT_THAT(Complete("rm mpool."), Contains(StartsWith("mpool."))) << "of the key with a newline";
}

TEST(Completion, OffersFiles) {
  const std::string path = Temporary("a file of its own");
  std::ofstream(path) << "x";
  EXPECT_THAT(Complete("demo '" + Temporary("a file of") + "'"), ElementsAre(path));
  EXPECT_THAT(Complete("demo '" + Temporary("a\\ file\\ of") + "'"), ElementsAre(path));
}

TEST(Completion, KnowsTheArgumentsOfAnyProgramByItsHelp) {
  const std::string other = OtherProgram();
  EXPECT_THAT(Complete("''", other), ElementsAre("watch"));
  EXPECT_THAT(Complete("watch --format ''", other), ElementsAre("json", "text"));
  EXPECT_THAT(Complete("watch --format js", other), ElementsAre("json"));
  EXPECT_THAT(Complete("watch -o ''", other), IsEmpty()) << "nobody knows columns";
  EXPECT_THAT(Complete("watch --output '" + other + "'", other), ElementsAre(other));
  EXPECT_THAT(Complete("watch --format json key '" + other + "'", other), ElementsAre(other));
  EXPECT_THAT(Complete("watch key first '" + other + "'", other), ElementsAre(other));
  EXPECT_THAT(Complete("watch --co", other), ElementsAre("--columns"));
}

TEST(Completion, WritesKeysAsTheShellReadsThem) {
  const std::string other = OtherProgram();
  EXPECT_THAT(Complete("watch ''", other), ElementsAre("a:b", "two\\ words", "mpool.3", "mpool.4"));
  EXPECT_THAT(Complete("watch 'two\\ w'", other), ElementsAre("two\\ words"));
  EXPECT_THAT(Complete("watch \"'two w\"", other), ElementsAre("two words")) << "quoted already";
  EXPECT_THAT(Complete("watch a : ''", other), ElementsAre("b")) << "bash has split it";
  EXPECT_THAT(Complete("watch a :", other), ElementsAre("b"));
}

TEST(Completion, OffersNothingWhereTheProgramCannotRun) {
  EXPECT_THAT(Complete("''", "/nonexistent/mpool"), IsEmpty());
  EXPECT_THAT(Complete("nonsense ''"), IsEmpty());
  EXPECT_THAT(Complete("ls ''"), IsEmpty());
}

}  // namespace
}  // namespace cli
