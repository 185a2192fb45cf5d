#include "os/page_cache.h"

#include <sys/mman.h>

#include <span>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "os/file.h"

namespace os {
namespace {

TEST(DropPageCache, TakesAwayWhatWasWrittenAndReachedTheDisk) {
  constexpr size_t kBytes = 64 * 4096;
  const Result<OwnedDescriptor> file = CreateUnnamedFile(testing::TempDir());
  ASSERT_TRUE(file.ok());
  const std::vector<std::byte> bytes(kBytes, std::byte{1});
  const std::span<const std::byte> part(bytes);
  ASSERT_EQ(BorrowFile(file->get())->WriteAt({&part, 1}, 0), kSuccess);
  ASSERT_EQ(BorrowFile(file->get())->Sync(), kSuccess);
  const auto cached = [&] {
    void* mapping = mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, file->get(), 0);
    std::vector<unsigned char> pages(kBytes / 4096);
    EXPECT_EQ(mincore(mapping, kBytes, pages.data()), 0);
    EXPECT_EQ(munmap(mapping, kBytes), 0);
    int count = 0;
    for (const unsigned char page : pages) count += page & 1;
    return count;
  };
  ASSERT_EQ(cached(), 64);
  EXPECT_EQ(DropPageCache(file->get(), kBytes), kSuccess);
  if (IsInMemory(file->get())) GTEST_SKIP() << "the file lives in memory, and stays there";
  EXPECT_LT(cached(), 64);
}

TEST(DropPageCache, TellsABadDescriptor) { EXPECT_EQ(DropPageCache(-1, 4096), Errno(EBADF)); }

// To posix_fadvise(2) they would be the whole file.
TEST(DropPageCache, OfNoBytesIsNothing) { EXPECT_EQ(DropPageCache(-1, 0), kSuccess); }

}  // namespace
}  // namespace os
