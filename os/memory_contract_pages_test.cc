// The contract of Memory: reading pages in, advice about them, and what can be asked about them.

#include "os/memory_contract.h"

namespace os {
namespace {

TEST_P(MemoryContract, PopulateReadsInWithoutLocking) {
  const PageRange pages = Map(4);
  EXPECT_EQ(memory().Populate(pages), kSuccess);
  EXPECT_EQ(Present(pages), 4u);
  EXPECT_FALSE(AreLocked(pages));
  EXPECT_EQ(memory().Unmap(Part(pages, 2, 1)), kSuccess);
  EXPECT_EQ(memory().Populate(pages), Errno(ENOMEM));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, PopulatePastTheEndOfAFileIsABadAddress) {
  const PageRange pages = subject_->MapFile(PageCount(4), PageCount(2));
  EXPECT_EQ(memory().Populate(pages), Errno(EFAULT));
  EXPECT_EQ(Present(Part(pages, 0, 2)), 2u);
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, PopulateForWritingReadsInWithoutLocking) {
  const PageRange pages = Map(4);
  EXPECT_EQ(memory().PopulateForWriting(Part(pages, 1, 3)), kSuccess);
  EXPECT_EQ(Present(pages), 3u);
  EXPECT_EQ(Present(Part(pages, 1, 3)), 3u);
  EXPECT_FALSE(AreLocked(pages));
  EXPECT_EQ(memory().PopulateForWriting(pages), kSuccess);  // once more
  EXPECT_EQ(Present(pages), 4u);
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, PopulateForWritingFailsAsPopulateDoes) {
  const PageRange hole = Map(4);
  ASSERT_EQ(memory().Unmap(Part(hole, 2, 1)), kSuccess);
  EXPECT_EQ(memory().PopulateForWriting(hole), Errno(ENOMEM));
  EXPECT_EQ(memory().PopulateForWriting(Map(2, Access::kNone)), Errno(EINVAL));
  const PageRange file = subject_->MapFile(PageCount(4), PageCount(2));
  EXPECT_EQ(memory().PopulateForWriting(file), Errno(EFAULT));
  EXPECT_EQ(Present(Part(file, 0, 2)), 2u);
  EXPECT_EQ(Present(Part(file, 2, 2)), 0u);
}

TEST_P(MemoryContract, ReserveBlocksTouchesAndLocksNothing) {
  const PageRange kinds[] = {Map(3), Map(3, Access::kNone),
                             subject_->MapFile(PageCount(3), PageCount(2)),
                             subject_->MapSparseFile(PageCount(3), PageCount(3))};
  for (const PageRange pages : kinds) {
    EXPECT_EQ(memory().ReserveBlocks(pages), kSuccess);
    EXPECT_EQ(memory().ReserveBlocks(pages), kSuccess);  // they are there
    EXPECT_EQ(Present(pages), 0u);
    EXPECT_FALSE(*memory().AllLocked(pages));
    EXPECT_EQ(memory().Unmap(pages), kSuccess);
  }
}

TEST_P(MemoryContract, ReserveBlocksLeavesTheLengthOfTheFile) {
  const PageRange pages = subject_->MapSparseFile(PageCount(4), PageCount(2));
  EXPECT_EQ(memory().ReserveBlocks(pages), kSuccess);  // over its end
  EXPECT_EQ(memory().ReserveBlocks(Part(pages, 2, 2)), kSuccess);
  EXPECT_EQ(memory().FileBytes(MappingAt(pages.begin())), 2 * memory().page_size());
  EXPECT_EQ(memory().Populate(Part(pages, 2, 1)), Errno(EFAULT));
}

TEST_P(MemoryContract, ReserveBlocksFindsAHoleInTheAddressSpace) {
  const PageRange pages = Map(4);
  ASSERT_EQ(memory().Unmap(Part(pages, 2, 1)), kSuccess);
  EXPECT_EQ(memory().ReserveBlocks(pages), Errno(ENOMEM));
  EXPECT_EQ(memory().ReserveBlocks(Part(pages, 2, 1)), Errno(ENOMEM));
  EXPECT_EQ(memory().ReserveBlocks(Part(pages, 0, 2)), kSuccess);
}

TEST_P(MemoryContract, AllLockedSeesEachPage) {
  const PageRange pages = Map(8);
  EXPECT_FALSE(*memory().AllLocked(pages));
  ASSERT_EQ(memory().Lock(pages), kSuccess);
  EXPECT_TRUE(*memory().AllLocked(pages));
  for (const uint64_t page : {0u, 3u, 7u}) {
    ASSERT_EQ(memory().Unlock(Part(pages, page, 1)), kSuccess);
    EXPECT_FALSE(*memory().AllLocked(pages)) << page;
    EXPECT_FALSE(*memory().AllLocked(Part(pages, page, 1))) << page;
    EXPECT_TRUE(*memory().AllLocked(Part(pages, 1, 2)));
    EXPECT_TRUE(*memory().AllLocked(Part(pages, 4, 3)));
    ASSERT_EQ(memory().Lock(Part(pages, page, 1)), kSuccess);
    EXPECT_TRUE(*memory().AllLocked(pages)) << page;
  }
  ASSERT_EQ(memory().Unmap(Part(pages, 5, 1)), kSuccess);
  EXPECT_FALSE(*memory().AllLocked(pages));
  EXPECT_FALSE(*memory().AllLocked(Part(pages, 5, 1)));
  EXPECT_TRUE(*memory().AllLocked(Part(pages, 0, 5)));
}

TEST_P(MemoryContract, AllLockedCountsHalfDoneLocks) {
  const PageRange none = Map(3, Access::kNone);
  EXPECT_NE(memory().Lock(none), kSuccess);
  EXPECT_TRUE(*memory().AllLocked(none));
  const PageRange file = subject_->MapFile(PageCount(3), PageCount(1));
  EXPECT_FALSE(*memory().AllLocked(file));
  EXPECT_NE(memory().Lock(file), kSuccess);
  EXPECT_TRUE(*memory().AllLocked(file));
  EXPECT_EQ(Present(Part(file, 1, 2)), 0u);
  EXPECT_EQ(memory().Unmap(none), kSuccess);
  EXPECT_EQ(memory().Unmap(file), kSuccess);
}

TEST_P(MemoryContract, OmittingKeepsPagesAndLocks) {
  const PageRange pages = Map(6);
  ASSERT_EQ(memory().Lock(Part(pages, 2, 2)), kSuccess);
  EXPECT_EQ(memory().OmitFromDumps(Part(pages, 1, 4)), kSuccess);
  EXPECT_EQ(memory().OmitFromFork(Part(pages, 1, 4)), kSuccess);
  EXPECT_EQ(memory().CheckMapped(pages), kSuccess);
  EXPECT_EQ(Present(pages), 2u);
  EXPECT_TRUE(*memory().AllLocked(Part(pages, 2, 2)));
  EXPECT_FALSE(AreLocked(Part(pages, 0, 2)));
  EXPECT_FALSE(AreLocked(Part(pages, 4, 2)));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, OmittingFromForkSplitsTheMapping) {
  const PageRange pages = Map(6);
  ASSERT_EQ(memory().OmitFromFork(Part(pages, 2, 2)), kSuccess);
  EXPECT_EQ(MappingAt(Part(pages, 3, 1).begin()).pages, Part(pages, 2, 2));
  // What lies beside the range may be of one mapping with it.
  EXPECT_EQ(MappingAt(pages.begin()).pages.end(), Part(pages, 2, 2).begin());
  EXPECT_EQ(MappingAt(Part(pages, 5, 1).begin()).pages.begin(), Part(pages, 2, 2).end());
}

TEST_P(MemoryContract, OmittingFindsAHole) {
  const PageRange pages = Map(4);
  ASSERT_EQ(memory().Unmap(Part(pages, 2, 1)), kSuccess);
  EXPECT_EQ(memory().OmitFromDumps(pages), Errno(ENOMEM));
  EXPECT_EQ(memory().OmitFromFork(pages), Errno(ENOMEM));
  EXPECT_EQ(memory().OmitFromDumps(Part(pages, 2, 1)), Errno(ENOMEM));
  EXPECT_EQ(memory().OmitFromFork(Part(pages, 2, 1)), Errno(ENOMEM));
}

TEST_P(MemoryContract, FileBytesIsTheLengthOfTheFileNotOfTheMapping) {
  const size_t page = memory().page_size();
  for (const uint64_t in_file : {1u, 3u, 9u}) {
    const PageRange pages = subject_->MapSparseFile(PageCount(4), PageCount(in_file));
    EXPECT_EQ(memory().FileBytes(MappingAt(pages.begin())), in_file * page);
    // Of what is left of the mapping as well.
    ASSERT_EQ(memory().Unmap(Part(pages, 0, 1)), kSuccess);
    EXPECT_EQ(memory().FileBytes(MappingAt(pages.begin())), in_file * page);
    EXPECT_EQ(memory().Unmap(pages), kSuccess);
  }
  EXPECT_EQ(memory().FileBytes(MappingAt(Map(1).begin())), std::nullopt);
}

TEST_P(MemoryContract, PageOutRefusesALockedPage) {
  const PageRange pages = Map(4);
  ASSERT_EQ(memory().Lock(Part(pages, 2, 1)), kSuccess);
  EXPECT_EQ(memory().PageOut(pages), Errno(EINVAL));
  EXPECT_EQ(Present(Part(pages, 2, 1)), 1u);
  EXPECT_EQ(memory().PageOut(Part(pages, 0, 2)), kSuccess);
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, UnmapOfAHoleSucceeds) {
  const PageRange pages = Map(4);
  EXPECT_EQ(memory().Unmap(Part(pages, 1, 2)), kSuccess);
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
  EXPECT_EQ(Present(pages), 0u);
}

TEST_P(MemoryContract, MappingAtGivesTheMappingOrTheNext) {
  const PageRange pages = Map(7, Access::kNone);
  ASSERT_EQ(memory().Commit(Part(pages, 1, 5)), kSuccess);
  ASSERT_EQ(memory().Unmap(Part(pages, 2, 1)), kSuccess);
  EXPECT_EQ(MappingAt(Part(pages, 1, 1).begin()).pages, Part(pages, 1, 1));
  EXPECT_EQ(MappingAt(Part(pages, 2, 1).begin()).pages, Part(pages, 3, 3));  // a hole
  EXPECT_EQ(MappingAt(Part(pages, 5, 1).begin()).pages, Part(pages, 3, 3));
  ASSERT_EQ(memory().Lock(Part(pages, 4, 1)), kSuccess);  // splits it
  EXPECT_EQ(MappingAt(Part(pages, 4, 1).begin()).pages, Part(pages, 4, 1));
  EXPECT_EQ(MappingAt(Part(pages, 3, 1).begin()).pages, Part(pages, 3, 1));
  ASSERT_EQ(memory().Unlock(Part(pages, 4, 1)), kSuccess);  // and merges it again
  EXPECT_EQ(MappingAt(Part(pages, 4, 1).begin()).pages, Part(pages, 3, 3));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
  const Result<std::optional<Mapping>> beyond =
      memory().MappingAt(PageNumber(SIZE_MAX / memory().page_size()));
  ASSERT_TRUE(beyond.ok());
  EXPECT_FALSE(beyond->has_value());
}

TEST_P(MemoryContract, MappingAtOfAFileNamesIt) {
  const PageRange pages = subject_->MapFile(PageCount(4), PageCount(2));
  const Mapping whole = MappingAt(pages.begin());
  EXPECT_EQ(whole.pages, pages);
  EXPECT_TRUE(whole.shared && whole.file_backed && whole.readable && whole.writable);
  EXPECT_EQ(whole.file_offset, 0u);
  EXPECT_FALSE(whole.file_path.empty());
  ASSERT_EQ(memory().Unmap(Part(pages, 0, 1)), kSuccess);
  EXPECT_EQ(MappingAt(pages.begin()).file_offset, memory().page_size());
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

}  // namespace
}  // namespace os
