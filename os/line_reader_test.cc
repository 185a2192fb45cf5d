#include "os/line_reader.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

namespace os {
namespace {

std::vector<std::string> LinesOf(const std::string& text) {
  const std::string path = ::testing::TempDir() + "/line_reader_test.txt";
  std::ofstream(path) << text << std::flush;
  std::vector<std::string> lines;
  LineReader reader(path.c_str());
  EXPECT_TRUE(reader.ok());
  while (const auto line = reader.Next()) lines.emplace_back(*line);
  EXPECT_FALSE(reader.Next());
  return lines;
}

using Lines = std::vector<std::string>;

TEST(LineReader, GivesEachLineWithoutItsEnd) {
  EXPECT_EQ(LinesOf(""), Lines());
  EXPECT_EQ(LinesOf("\n"), Lines({""}));
  EXPECT_EQ(LinesOf("a"), Lines({"a"}));
  EXPECT_EQ(LinesOf("a\n\nbc\n"), Lines({"a", "", "bc"}));
  EXPECT_EQ(LinesOf("a\nb"), Lines({"a", "b"}));
}

TEST(LineReader, ReadsFilesThatAreLongerThanItsBuffer) {
  Lines expected;
  std::string text;
  for (int i = 0; i < 3000; ++i) {
    expected.push_back("line " + std::to_string(i * i));
    text += expected.back() + "\n";
  }
  EXPECT_EQ(LinesOf(text), expected);
}

TEST(LineReader, CutsALineThatIsLongerThanItsBuffer) {
  for (const size_t size : {2046u, 2047u, 2048u, 2049u, 4095u, 4096u, 4097u, 10000u}) {
    const std::string line(size, 'x');
    const Lines expected = {"before", line.substr(0, 2048), "after"};
    EXPECT_EQ(LinesOf("before\n" + line + "\nafter\n"), expected) << size;
    EXPECT_EQ(LinesOf(line), Lines({line.substr(0, 2048)})) << size;
  }
}

TEST(LineReader, AFileThatCannotBeReadHasNoLines) {
  for (const char* path : {"", "/does/not/exist", "/proc/self"}) {
    LineReader reader(path);
    EXPECT_FALSE(reader.Next()) << path;
  }
  EXPECT_FALSE(LineReader("/does/not/exist").ok());
}

// Which a process may have made in the place of a file, to hold up whoever looks at it.
TEST(LineReader, WaitsForNobodyAtAFifo) {
  const std::string path = ::testing::TempDir() + "/line_reader_test.fifo";
  (void)unlink(path.c_str());
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_FALSE(LineReader(path.c_str()).Next());
  // With a writer that writes nothing.
  LineReader reader(path.c_str());
  ASSERT_TRUE(reader.ok());
  std::ofstream writer(path);
  ASSERT_TRUE(writer.is_open());
  EXPECT_FALSE(reader.Next());
  writer << "a\n" << std::flush;
  EXPECT_EQ(reader.Next(), "a");
  EXPECT_FALSE(reader.Next());
  EXPECT_EQ(unlink(path.c_str()), 0);
}

TEST(ParseNumber, TakesANumberUpToABlank) {
  EXPECT_EQ(ParseNumber("0"), 0u);
  EXPECT_EQ(ParseNumber(" \t17 kB"), 17u);
  EXPECT_EQ(ParseNumber("17\n"), 17u);
  EXPECT_EQ(ParseNumber("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(ParseNumber("ff", 16), 255u);
  for (const char* text :
       {"", " ", "max", "-1", "+1", "1x", "18446744073709551616", "0x10", "1.5"}) {
    EXPECT_EQ(ParseNumber(text), std::nullopt) << text;
  }
}

TEST(ValueOf, TakesWhatFollowsTheKey) {
  EXPECT_EQ(ValueOf("VmLck:\t  8 kB", "VmLck"), "8 kB");
  EXPECT_EQ(ValueOf("cache 12", "cache"), "12");
  EXPECT_EQ(ValueOf("cache ", "cache"), "");
  EXPECT_EQ(ValueOf("cached 12", "cache"), std::nullopt);
  EXPECT_EQ(ValueOf("total_cache 12", "cache"), std::nullopt);
  EXPECT_EQ(ValueOf("cache", "cache"), std::nullopt);
}

}  // namespace
}  // namespace os
