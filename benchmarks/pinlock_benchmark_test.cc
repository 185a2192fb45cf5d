// The program as a user meets it: exit codes, and what it prints where.

#include <gtest/gtest.h>

#include <string>

#include "benchmarks/program_run.h"

namespace {

using benchmarks::Contains;
using benchmarks::Contents;
using benchmarks::Outcome;
using benchmarks::Temporary;

// One short round of one figure, but for what the arguments say. A shell reads `setup` first.
Outcome RunBenchmark(const std::string& arguments, const std::string& setup = "") {
  return benchmarks::RunProgram(std::string("$privilege ") + PINLOCK_BENCHMARK +
                                    " --rounds=1 --slice_ms=1 --benchmark_filter=^nested/1/ " +
                                    arguments,
                                setup);
}

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

TEST(PinlockBenchmark, PrintsTheMachineFirstAndTheTableLast) {
  const Outcome run = RunBenchmark("");
  EXPECT_EQ(run.exit_code, 0) << run.err;
  for (const char* part : {" CPUs, ", "Linux ", "transparent huge pages: ", "memory cgroup: "}) {
    EXPECT_TRUE(Contains(FirstLine(run.out), part)) << part << "\n" << run.out;
  }
  const size_t table = run.out.find("figure             | ours ");
  ASSERT_NE(table, std::string::npos) << run.out;
  EXPECT_TRUE(Contains(run.out.substr(table), "\nnested pin, 1 page | ")) << run.out;
}

TEST(PinlockBenchmark, PrintsNothingButMachineAndTableAsMarkdown) {
  const Outcome run = RunBenchmark("--table=markdown");
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const std::string machine = FirstLine(run.out);
  const std::string head =
      machine + "\n\n|figure|ours|bare|ratio|bound|met|\n|---|---|---|---|---|---|\n";
  EXPECT_TRUE(run.out.starts_with(head + "|nested pin, 1 page|")) << run.out;
  EXPECT_EQ(run.out.find('\n', head.size()), run.out.size() - 1) << "one line more: " << run.out;
}

TEST(PinlockBenchmark, WritesTheFiguresAsJson) {
  const std::string path = Temporary("figures.json");
  const Outcome run = RunBenchmark("--benchmark_out_format=json --benchmark_out=" + path);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const std::string json = Contents(path);
  for (const char* name :
       {"machine", "ours_ns", "bare_ns", "ratio", "bound", "bound_ratio", "met"}) {
    EXPECT_TRUE(Contains(json, "\"" + std::string(name) + "\": ")) << name << "\n" << json;
  }
}

TEST(PinlockBenchmark, LeavesStandardOutputToTheChosenFormat) {
  const Outcome run = RunBenchmark("--benchmark_format=json");
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(FirstLine(run.out), "{");
  EXPECT_TRUE(run.out.ends_with("}\n")) << run.out;
  EXPECT_TRUE(Contains(run.err, "nested pin, 1 page | ")) << run.err;
}

// Takes the right to exceed the lock limit away from root; others do not have it, nor need they.
constexpr char kWithoutPrivilege[] =
    "drop='setpriv --bounding-set=-ipc_lock'; if $drop true 2>/dev/null; then privilege=$drop; fi;";

TEST(PinlockBenchmark, SaysWhatItCannotLock) {
  const Outcome run = RunBenchmark("", std::string("ulimit -l 64;") + kWithoutPrivilege);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(Contains(run.out, "skipped: locks 4 MiB, RLIMIT_MEMLOCK is 64 KiB\n")) << run.out;
}

TEST(PinlockBenchmark, RefusesWhatItDoesNotKnow) {
  for (const char* flag : {"--rounds=0", "--rounds=x", "--slice_ms=", "--table=html", "--fast"}) {
    const Outcome run = RunBenchmark(flag);
    EXPECT_EQ(run.exit_code, 2) << flag;
    EXPECT_EQ(run.out, "") << flag;
    EXPECT_TRUE(Contains(run.err, "usage: ")) << run.err;
  }
}

}  // namespace
