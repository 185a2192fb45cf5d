#include "cli/page_scan.h"

#include <vector>

#include "gtest/gtest.h"
#include "os/fake_file.h"

namespace cli {
namespace {

using os::testing::FakeFile;

std::string BadOf(FakeFile& file, uint32_t page_size, uint64_t pages) {
  uint64_t last = 0;
  const auto bad = ScanPages(file, page_size, pages, [&last](uint64_t done) {
    EXPECT_GT(done, last);
    last = done;
  });
  EXPECT_EQ(last, pages);
  return BadPagesText(bad, 10);
}

TEST(ScanPages, FindsNothingInAFileThatCanBeRead) {
  FakeFile file(std::vector<std::byte>(3 << 20));
  EXPECT_EQ(BadOf(file, 4096, 768), "");
  EXPECT_EQ(BadOf(file, 1, 10), "");
  EXPECT_EQ(BadOf(file, 3 << 20, 1), "");
  EXPECT_EQ(BadOf(file, 4096, 0), "");
}

TEST(ScanPages, FindsThePagesThatCannotBeRead) {
  FakeFile file(std::vector<std::byte>(3 << 20));
  file.AddBadRange(17 * 4096 + 100, 1);
  file.AddBadRange(255 * 4096, 2 * 4096);  // the last of one step and the first of the next
  EXPECT_EQ(BadOf(file, 4096, 768), "17, 255 to 256 (EIO)");
  EXPECT_EQ(BadOf(file, 1000, 3145), "69, 1044 to 1052 (EIO)");
  EXPECT_EQ(BadOf(file, 2 << 20, 1), "0 (EIO)") << "a page that takes two reads";
}

TEST(ScanPages, FindsThePagesThatAreGone) {
  FakeFile file(std::vector<std::byte>(10 * 4096 + 5));
  file.AddBadRange(8 * 4096, 1);
  EXPECT_EQ(BadOf(file, 4096, 12), "8 (EIO); 10 to 11 (EINVAL)");
}

TEST(BadPagesText, IsCutShort) {
  const std::vector<BadPages> bad = {
      {1, 1, os::Errno(EIO)}, {3, 2, os::Errno(EIO)}, {9, 1, os::Errno(EIO)}};
  EXPECT_EQ(BadPagesText(bad, 2), "1, 3 to 4 (EIO) and 1 more places");
  EXPECT_EQ(CountOf(bad), 4u);
}

}  // namespace
}  // namespace cli
