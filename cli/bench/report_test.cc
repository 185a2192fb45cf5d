// The three reports of a run, of invented results.

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "cli/bench/invented_result.h"
#include "cli/bench/report_html.h"
#include "cli/bench/report_json.h"
#include "cli/bench/report_text.h"
#include "cli/json_schema.h"
#include "cli/run_mpool.h"
#include "gtest/gtest.h"

namespace cli::bench {
namespace {

// A run of which everything is the least or the greatest that there can be.
BenchResult EmptyResult() {
  BenchResult result;
  result.command = "mpool bench";
  result.environment.version = "0";
  result.environment.date = "2026-11-27T18:00:00Z";
  for (const Mode mode : kModes) result.modes.emplace_back().mode = mode;
  return result;
}

BenchResult HugeResult() {
  BenchResult result = testing::InventedResult();
  result.file = "a file \xff\xfe <with> \"signs\" & \x1b[31m";
  result.duration_ns = 3'600'000'000'000;
  for (ModeResult& mode : result.modes) {
    mode.latency.Add(4'000'000'000'000);
    mode.faults = {.minor = 123'456'789'012, .major = 98'765'432'109};
    mode.slices.push_back({.at_ns = result.duration_ns, .max_ns = 4'000'000'000'000, .faults = {}});
  }
  result.modes.back().mode = Mode::kPool;
  return result;
}

void ExpectGoodPage(const BenchResult& result) {
  const std::string page = Temporary("page.html");
  const std::string json = Temporary("page.json");
  std::ofstream(page) << ReportHtml(result);
  std::ofstream(json) << JsonText(ReportJson(result));
  const std::string command = "/usr/bin/python3 cli/bench/check_page.py '" + page + "' '" + json +
                              "' >'" + Temporary("problems") + "' 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0) << Contents(Temporary("problems"));
}

TEST(ReportHtml, IsAPageOfItsOwnWithEveryNumber) { ExpectGoodPage(testing::InventedResult()); }
TEST(ReportHtml, OfARunThatMeasuredNothing) { ExpectGoodPage(EmptyResult()); }
TEST(ReportHtml, OfGreatNumbersAndAStrangeFile) { ExpectGoodPage(HugeResult()); }

TEST(ReportHtml, OfOneModeAlone) {
  BenchResult result = testing::InventedResult();
  result.modes.erase(result.modes.begin(), result.modes.end() - 1);
  ExpectGoodPage(result);
}

TEST(ReportHtml, EscapesWhatItIsGiven) {
  const std::string page = ReportHtml(testing::InventedResult());
  EXPECT_NE(page.find("A note with &lt;markup&gt; &amp; more."), std::string::npos);
  EXPECT_NE(page.find("A &lt;fast&gt; &amp; quiet CPU"), std::string::npos);
}

TEST(ReportJson, IsWhatTheSchemaPromises) {
  for (const BenchResult& result : {testing::InventedResult(), EmptyResult(), HugeResult()}) {
    const auto json = ExpectValidJson(JsonText(ReportJson(result)), "mpool.bench/1");
    EXPECT_EQ(json["modes"].size(), 4u);
  }
  const Json json = ReportJson(testing::InventedResult());
  EXPECT_EQ(json["modes"][0]["major_faults"], 5'678);
  EXPECT_EQ(json["modes"][0]["outliers"]["causes"]["run_queue"], 100);
  EXPECT_EQ(json["modes"][0]["outliers"]["causes"]["major_fault"], 200);
  EXPECT_EQ(json["modes"][3]["pool_misses"], 0);
  EXPECT_EQ(json["modes"][0]["pool_misses"], nullptr);
  EXPECT_EQ(json["file"], nullptr);
}

TEST(ReportText, FitsATerminal) {
  const std::string text = ReportText(testing::InventedResult(), {.details = true});
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 80u) << line;
    EXPECT_TRUE(line.empty() || line.back() != ' ') << "[" << line << "]";
  }
  EXPECT_NE(text.find("MODE    MAJOR  MINOR    P50    P90"), std::string::npos) << text;
  EXPECT_NE(text.find("malloc  5,678  4,321"), std::string::npos) << text;
  EXPECT_NE(text.find("\nWORST "), std::string::npos) << text;
}

TEST(ReportText, BrieflyIsTheVerdict) {
  const BenchResult result = testing::InventedResult();
  std::string text = ReportText(result, {.brief = true});
  for (char& byte : text) byte = byte == '\n' ? ' ' : byte;
  EXPECT_EQ(text, Verdict(result) + " ");
}

TEST(ReportText, DrivesNoTerminalByTheNameOfAFile) {
  const std::string text = ReportText(HugeResult(), {});
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_NE(text.find("\\xff"), std::string::npos);
}

}  // namespace
}  // namespace cli::bench
