#include "os/mappings.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/utsname.h>

#include <cstdint>
#include <cstdio>
#include <string_view>

namespace os {
namespace {

constexpr size_t kPage = 4096;

TEST(ParseMapsLine, OfAFile) {
  const auto mapping = ParseMapsLine(
      "55e0c4a00000-55e0c4a02000 r-xp 00003000 fe:01 42                     /no/such file", kPage);
  ASSERT_TRUE(mapping.has_value());
  EXPECT_EQ(mapping->pages, PageRange(PageNumber(0x55e0c4a00), PageNumber(0x55e0c4a02)));
  EXPECT_TRUE(mapping->readable && mapping->executable && mapping->file_backed);
  EXPECT_FALSE(mapping->writable || mapping->shared);
  EXPECT_EQ(mapping->file_offset, 0x3000u);
  EXPECT_EQ(mapping->file_path, "/no/such file");
  EXPECT_EQ(mapping->file.device_major, 0xfeu);
  EXPECT_EQ(mapping->file.device_minor, 1u);
  EXPECT_EQ(mapping->file.inode, 42u);
  EXPECT_FALSE(mapping->needs_blocks());
}

TEST(ParseMapsLine, OfMemoryWithoutAFile) {
  for (const std::string_view line :
       {"7f0000000000-7f0000001000 rw-s 00000000 00:00 0",
        "7f0000000000-7f0000001000 rw-s 00000000 00:00 0 ",
        "7f0000000000-7f0000001000 rw-s 00000000 00:00 0                          [heap]"}) {
    const auto mapping = ParseMapsLine(line, kPage);
    ASSERT_TRUE(mapping.has_value()) << line;
    EXPECT_TRUE(mapping->readable && mapping->writable && mapping->shared);
    EXPECT_FALSE(mapping->executable || mapping->file_backed);
    EXPECT_EQ(mapping->file_path, "");
    EXPECT_EQ(mapping->pages.count(), PageCount(1));
  }
}

TEST(ParseMapsLine, OfTheSegmentOfShmgetThatHasNumber0) {
  const auto mapping =
      ParseMapsLine("1000-2000 rw-s 00000000 00:01 0          /SYSV00000000 (deleted)", kPage);
  ASSERT_TRUE(mapping.has_value());
  EXPECT_TRUE(mapping->file_backed);
  EXPECT_EQ(mapping->file_path, "/SYSV00000000 (deleted)");
  EXPECT_EQ(mapping->file.device_minor, 1u);
  EXPECT_EQ(mapping->file.inode, 0u);
  EXPECT_FALSE(mapping->needs_blocks());
}

TEST(ParseMapsLine, OnlyAWritableSharedFileNeedsBlocks) {
  const struct {
    const char* line;
    bool needs_blocks;
  } cases[] = {
      {"1000-2000 rw-s 00000000 fe:01 42 /srv/file", true},
      {"1000-2000 rw-s 00000000 00:1a 42 /dev/shm/file (deleted)", true},
      {"1000-2000 rw-p 00000000 fe:01 42 /srv/file", false},
      {"1000-2000 r--s 00000000 fe:01 42 /srv/file", false},
      {"1000-2000 rw-s 00000000 00:01 42 /memfd:pool (deleted)", false},
      {"1000-2000 rw-s 00000000 00:01 42 /dev/zero (deleted)", false},
      {"1000-2000 rw-s 00000000 00:01 42 /SYSV00000000 (deleted)", false},
      {"1000-2000 rw-s 00000000 00:00 0", false},
  };
  for (const auto& [line, needs_blocks] : cases) {
    const auto mapping = ParseMapsLine(line, kPage);
    ASSERT_TRUE(mapping.has_value()) << line;
    EXPECT_EQ(mapping->needs_blocks(), needs_blocks) << line;
  }
}

TEST(ParseMapsLine, CountsInPagesOfTheGivenSize) {
  const auto mapping = ParseMapsLine("10000-40000 ---p 00000000 00:00 0", 65536);
  ASSERT_TRUE(mapping.has_value());
  EXPECT_EQ(mapping->pages, PageRange(PageNumber(1), PageNumber(4)));
  EXPECT_FALSE(mapping->accessible());
}

// No beginning of a line is taken for the whole.
TEST(ParseMapsLine, RefusesWhatIsNotALine) {
  const std::string_view line = "1000-2000 rw-p 00000000 00:00 7 /f";
  const size_t shortest = line.find(" /f");
  for (size_t length = 0; length < shortest; ++length) {
    EXPECT_FALSE(ParseMapsLine(line.substr(0, length), kPage).has_value()) << length;
  }
  EXPECT_TRUE(ParseMapsLine(line.substr(0, shortest), kPage).has_value());
  for (const std::string_view wrong :
       {"x000-2000 rw-p 00000000 00:00 7", "1000 2000 rw-p 00000000 00:00 7",
        "1000-2000 rw-p00000000 00:00 7", "1000-2000 rw-p 00000000 0000 7", "VmFlags: rd wr lo"}) {
    EXPECT_FALSE(ParseMapsLine(wrong, kPage).has_value()) << wrong;
  }
}

// What the ioctl says and what the text says, of five pages: two usable, a hole, two reserved.
TEST(FindMapping, AgreesWithTheText) {
  Memory& memory = RealMemory();
  const size_t page_size = memory.page_size();
  const Result<PageRange> pages =
      memory.Map(PageCount(7), Memory::Access::kNone, Memory::Fork::kOmit);
  ASSERT_TRUE(pages.ok());
  const PageNumber first = pages->begin();
  ASSERT_EQ(memory.Commit(PageRange(first + PageCount(1), PageCount(2))), kSuccess);
  ASSERT_EQ(memory.Unmap(PageRange(first + PageCount(3), PageCount(1))), kSuccess);
  const PageNumber code(reinterpret_cast<uintptr_t>(&ParseMapsLine) / page_size);
  for (const PageNumber page :
       {first + PageCount(1), first + PageCount(2), first + PageCount(3), first + PageCount(4),
        first + PageCount(5), code, PageNumber(SIZE_MAX / page_size)}) {
    const Result<std::optional<Mapping>> asked = FindMapping(page, page_size);
    const Result<std::optional<Mapping>> read = FindMappingInText(page, page_size);
    ASSERT_TRUE(asked.ok() && read.ok());
    ASSERT_EQ(asked->has_value(), read->has_value());
    if (!asked->has_value()) continue;
    const Mapping &a = **asked, &b = **read;
    EXPECT_EQ(a.pages, b.pages);
    EXPECT_TRUE(a.readable == b.readable && a.writable == b.writable &&
                a.executable == b.executable && a.shared == b.shared);
    EXPECT_EQ(a.file_backed, b.file_backed);
    EXPECT_EQ(a.file_offset, b.file_offset);
    EXPECT_EQ(a.file_path, b.file_path);
    EXPECT_EQ(a.file.inode, b.file.inode);
  }
  EXPECT_EQ(memory.Unmap(*pages), kSuccess);
}

TEST(FindMapping, FindsThisCode) {
  const size_t page_size = RealMemory().page_size();
  const PageNumber code(reinterpret_cast<uintptr_t>(&ParseMapsLine) / page_size);
  const Result<std::optional<Mapping>> mapping = FindMapping(code, page_size);
  ASSERT_TRUE(mapping.ok() && mapping->has_value());
  EXPECT_TRUE((*mapping)->pages.contains(code));
  EXPECT_TRUE((*mapping)->executable && (*mapping)->file_backed);
  EXPECT_FALSE((*mapping)->writable);
}

// Comparing answers cannot show a query that is never used: FindMapping falls back in silence.
TEST(FindMappingByQuery, AnswersWhereTheKernelKnowsTheQuestion) {
  utsname name;
  ASSERT_EQ(uname(&name), 0);
  int major = 0, minor = 0;
  ASSERT_EQ(std::sscanf(name.release, "%d.%d", &major, &minor), 2);
  if (major < 6 || (major == 6 && minor < 11)) GTEST_SKIP() << "Linux " << name.release;
  const PageNumber page(reinterpret_cast<uintptr_t>(&name) / kPage);
  const auto found = FindMappingByQuery(page, kPage);
  ASSERT_TRUE(found.ok()) << found.error().Name();
  ASSERT_TRUE(found->has_value());
  EXPECT_TRUE((*found)->pages.contains(page));
}

}  // namespace
}  // namespace os
