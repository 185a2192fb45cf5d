#include "benchmarks/floor.h"

#include <vector>

#include "benchmarks/page_file.h"
#include "gtest/gtest.h"

namespace benchmarks {
namespace {

TEST(Floor, HoldsPagesOfTheFile) {
  const PageFile file(101, PageFile::Place::kMemory);
  const Floor floor(file, 100);
  for (uint32_t page = 0; page < 100; ++page) EXPECT_EQ(floor.Read(page), file.next(page)) << page;
  EXPECT_EQ(floor.Read(100), 0u);
}

TEST(PageFile, IsOneCycle) {
  const PageFile file(64, PageFile::Place::kDisk);
  std::vector<int> visits(64);
  uint32_t page = 0;
  for (int i = 0; i < 64; ++i) {
    ++visits[page];
    page = file.next(page);
  }
  EXPECT_EQ(page, 0u);
  EXPECT_EQ(visits, std::vector<int>(64, 1));
}

}  // namespace
}  // namespace benchmarks
