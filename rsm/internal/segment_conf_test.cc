#include "rsm/internal/segment_conf.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "rsm/internal/error.h"

namespace rsm::internal {
namespace {

// Finds "app" in the text.
int Find(const std::string& text, SegmentRange& range) {
  return FindSegmentRange(text, "the file", "app", range);
}

void ExpectRange(const std::string& text, rsm_memseg_id_t base, uint32_t length) {
  SegmentRange range;
  EXPECT_EQ(Find(text, range), RSM_SUCCESS) << text << ": " << ErrorText();
  EXPECT_EQ(range.base, base) << text;
  EXPECT_EQ(range.length, length) << text;
}

// Expects that the text is refused, for a reason that has `words`.
void ExpectBad(const std::string& text, const std::string& words) {
  SegmentRange range = {.base = 7, .length = 8};
  EXPECT_EQ(Find(text, range), RSMERR_BAD_CONF) << text;
  EXPECT_NE(std::string(ErrorText()).find(words), std::string::npos) << ErrorText();
  EXPECT_EQ(range.base, 7u) << "it is not written to";
  EXPECT_EQ(range.length, 8u);
}

TEST(FindSegmentRangeTest, ReadsTheColumns) {
  ExpectRange("reserved app 0x600000 1000\n", 0x600000, 1000);
  ExpectRange("reserve app 0x600000 1000", 0x600000, 1000);
  ExpectRange("reserved app 600000 1000\n", 0x600000, 1000);
  ExpectRange("reserved\tapp\t0X6abcDEF\t1\n", 0x6ABCDEF, 1);
  ExpectRange("  reserved   app \t 400000   7  \r\n", 0x400000, 7);
}

TEST(FindSegmentRangeTest, PassesByOtherApplicationsCommentsAndEmptyLines) {
  ExpectRange(
      "#keyword appid base length\n\n  \t\nreserved other 500000 5\nreserved app 600000 6\n"
      "reserved last 700000 7\n",
      0x600000, 6);
}

TEST(FindSegmentRangeTest, TakesTheFirstOfSeveralRanges) {
  ExpectRange("reserved app 600000 6\nreserved app 700000 7\n", 0x600000, 6);
}

TEST(FindSegmentRangeTest, TakesARangeUpToTheLastNumber) {
  ExpectRange("reserved app ffffffff 1\n", 0xFFFFFFFF, 1);
  ExpectRange("reserved app 1 4294967295\n", 1, 0xFFFFFFFF);
  ExpectRange("reserved app 0 4294967295\n", 0, 0xFFFFFFFF);
}

TEST(FindSegmentRangeTest, FailsWithBadAppidWhereItIsNotThere) {
  SegmentRange range = {.base = 7, .length = 8};
  for (const std::string text : {"", "\n", "# reserved app 1 1\n", "reserved apple 600000 6\n",
                                 "reserved APP 600000 6\n", "reserved ap 600000 6"}) {
    EXPECT_EQ(Find(text, range), RSMERR_BAD_APPID) << text;
    EXPECT_STREQ(ErrorText(), "the file has no range for \"app\"");
  }
  EXPECT_EQ(range.base, 7u);
}

TEST(FindSegmentRangeTest, FailsWithBadConfForALineOfAnotherForm) {
  ExpectBad("reserved app 600000\n", "the file:1: four columns");
  ExpectBad("reserved app 600000 6 7\n", "the file:1: four columns");
  ExpectBad("\n# a comment\nallow app 600000 6\n", "the file:3: the keyword");
  ExpectBad("Reserved app 600000 6\n", "the keyword");
  ExpectBad("reserved app 60000g 6\n", "the base");
  ExpectBad("reserved app -1 6\n", "the base");
  ExpectBad("reserved app 100000000 6\n", "the base");
  ExpectBad("reserved app 600000 0\n", "the length");
  ExpectBad("reserved app 600000 -6\n", "the length");
  ExpectBad("reserved app 600000 0x6\n", "the length");
  ExpectBad("reserved app 600000 4294967296\n", "the length");
}

TEST(FindSegmentRangeTest, FailsWithBadConfForARangeBeyond32Bits) {
  ExpectBad("reserved app ffffffff 2\n", "beyond 32 bits");
  ExpectBad("reserved app 2 4294967295\n", "beyond 32 bits");
}

TEST(FindSegmentRangeTest, FailsWithBadConfForALineOfAnotherApplicationBeforeIt) {
  ExpectBad("reserved other 600000\nreserved app 600000 6\n", "the file:1: four columns");
  ExpectRange("reserved app 600000 6\nreserved other 600000\n", 0x600000, 6);
}

class ReadSegmentRangeTest : public testing::Test {
 protected:
  ReadSegmentRangeTest() { SetPath(path_); }
  ~ReadSegmentRangeTest() override {
    (void)unsetenv("RSM_SEGMENTID_FILE");
    (void)unlink(path_.c_str());
  }
  static void SetPath(const std::string& path) {
    EXPECT_EQ(setenv("RSM_SEGMENTID_FILE", path.c_str(), 1), 0);
  }
  void Write(const std::string& text) const { std::ofstream(path_) << text; }

  const std::string path_ = testing::TempDir() + "/rsm.segmentid." + std::to_string(getpid());
  SegmentRange range_;
};

TEST_F(ReadSegmentRangeTest, ReadsTheFileOfTheVariable) {
  Write("reserved app 600000 6\n");
  EXPECT_EQ(ReadSegmentRange("app", range_), RSM_SUCCESS) << ErrorText();
  EXPECT_EQ(range_.base, 0x600000u);
  EXPECT_EQ(ReadSegmentRange("other", range_), RSMERR_BAD_APPID);
  EXPECT_NE(std::string(ErrorText()).find(path_), std::string::npos) << ErrorText();
}

TEST_F(ReadSegmentRangeTest, ReadsALongFile) {
  std::string text;
  for (int i = 0; i < 2'000; ++i) text += "reserved other" + std::to_string(i) + " 600000 6\n";
  Write(text + "reserved app 700000 7");
  EXPECT_EQ(ReadSegmentRange("app", range_), RSM_SUCCESS) << ErrorText();
  EXPECT_EQ(range_.base, 0x700000u);
  EXPECT_EQ(range_.length, 7u);
}

TEST_F(ReadSegmentRangeTest, FailsWithBadConfWhereThereIsNoFile) {
  EXPECT_EQ(ReadSegmentRange("app", range_), RSMERR_BAD_CONF);
  EXPECT_EQ(std::string(ErrorText()), "cannot read " + path_ + ": No such file or directory");
}

TEST_F(ReadSegmentRangeTest, FailsWithBadConfWhereItIsAFolder) {
  SetPath(testing::TempDir());
  EXPECT_EQ(ReadSegmentRange("app", range_), RSMERR_BAD_CONF);
  EXPECT_NE(std::string(ErrorText()).find("Is a directory"), std::string::npos) << ErrorText();
}

TEST_F(ReadSegmentRangeTest, FailsWithBadConfWhereItMayNotBeRead) {
  Write("reserved app 600000 6\n");
  ASSERT_EQ(chmod(path_.c_str(), 0), 0);
  if (std::ifstream(path_).is_open()) GTEST_SKIP() << "this user may read every file";
  EXPECT_EQ(ReadSegmentRange("app", range_), RSMERR_BAD_CONF);
  EXPECT_NE(std::string(ErrorText()).find("Permission denied"), std::string::npos) << ErrorText();
}

}  // namespace
}  // namespace rsm::internal
