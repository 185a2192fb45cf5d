// The contract of Memory, on the kernel and on the fake. A page is known to be locked by PageOut,
// which refuses it.

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "os/fake_memory.h"
#include "os/file.h"
#include "os/memory.h"
#include "tests/support/child.h"

namespace os {
namespace {

using Access = Memory::Access;
using Fork = Memory::Fork;

// A Memory, and what its interface cannot set up.
class Subject {
 public:
  virtual ~Subject() = default;
  virtual Memory& memory() = 0;
  // Makes the pages come one by one.
  virtual void ForbidHugePages(PageRange pages) = 0;
  // A shared mapping of a file of the first `in_file` pages.
  virtual PageRange MapFile(PageCount count, PageCount in_file) = 0;
  // The same of a file of a file system, without blocks yet, that stays open.
  virtual PageRange MapSparseFile(PageCount count, PageCount in_file) = 0;
  virtual void SetLockLimit(PageCount limit) = 0;
  // Runs `body` without privilege, with nothing locked yet. Its failures are those of the test.
  virtual void RunUnprivileged(const std::function<void()>& body) = 0;
};

class KernelSubject final : public Subject {
 public:
  Memory& memory() override { return RealMemory(); }

  void ForbidHugePages(PageRange pages) override {
    const size_t page = memory().page_size();
    // EINVAL: a kernel without huge pages.
    (void)madvise(pages.address(page), pages.bytes(page), MADV_NOHUGEPAGE);
  }

  PageRange MapFile(PageCount count, PageCount in_file) override {
    const OwnedDescriptor file(memfd_create("contract", MFD_CLOEXEC));
    return MapDescriptor(file.get(), count, in_file);
  }

  PageRange MapSparseFile(PageCount count, PageCount in_file) override {
    Result<OwnedDescriptor> file = CreateUnnamedFile(::testing::TempDir());
    EXPECT_TRUE(file.ok()) << file.error().Name();
    files_.push_back(std::move(*file));
    return MapDescriptor(files_.back().get(), count, in_file);
  }

  void SetLockLimit(PageCount limit) override {
    rlimit bytes{};
    ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &bytes), 0);
    bytes.rlim_cur = limit.bytes(memory().page_size());
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &bytes), 0) << Errno::Last().Name();
  }

  void RunUnprivileged(const std::function<void()>& body) override {
    test_support::RunInChild({.drop_privilege = true}, body);
  }

 private:
  PageRange MapDescriptor(int file, PageCount count, PageCount in_file) {
    const size_t page = memory().page_size();
    EXPECT_EQ(ftruncate(file, static_cast<off_t>(in_file.bytes(page))), 0);
    void* address = mmap(nullptr, count.bytes(page), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    EXPECT_NE(address, MAP_FAILED);
    return PageRange(PageNumber(reinterpret_cast<uintptr_t>(address) / page), count);
  }

  std::vector<OwnedDescriptor> files_;
};

class FakeSubject final : public Subject {
 public:
  Memory& memory() override { return fake_; }
  void ForbidHugePages(PageRange) override {}

  PageRange MapFile(PageCount count, PageCount in_file) override {
    const PageRange pages = *fake_.Map(count, Access::kReadWrite, Fork::kInherit);
    fake_.AddFileMapping(pages, in_file);
    return pages;
  }

  PageRange MapSparseFile(PageCount count, PageCount in_file) override {
    const PageRange pages = *fake_.Map(count, Access::kReadWrite, Fork::kInherit);
    fake_.AddFileMapping(pages, in_file, testing::FakeMemory::FileKind::kSparse);
    return pages;
  }

  void SetLockLimit(PageCount limit) override { fake_.set_lock_limit(limit); }
  void RunUnprivileged(const std::function<void()>& body) override { body(); }

 private:
  testing::FakeMemory fake_;
};

class MemoryContract : public ::testing::TestWithParam<std::string> {
 protected:
  MemoryContract() {
    if (GetParam() == "Kernel") {
      subject_ = std::make_unique<KernelSubject>();
    } else {
      subject_ = std::make_unique<FakeSubject>();
    }
  }

  Memory& memory() { return subject_->memory(); }

  PageRange Map(uint64_t count, Access access = Access::kReadWrite) {
    const Result<PageRange> pages = memory().Map(PageCount(count), access, Fork::kInherit);
    EXPECT_TRUE(pages.ok()) << pages.error().Name();
    subject_->ForbidHugePages(*pages);
    return *pages;
  }

  uint64_t Present(PageRange pages) {
    const Result<PageCount> present = memory().CountPresent(pages);
    EXPECT_TRUE(present.ok()) << present.error().Name();
    return present->value();
  }

  // True and false where all pages are locked or none is; a failure where they are mixed.
  bool AreLocked(PageRange pages) {
    const bool first = IsLocked(pages.begin());
    for (PageNumber page = pages.begin(); page < pages.end(); page = page + PageCount(1)) {
      EXPECT_EQ(IsLocked(page), first) << "page " << (page - pages.begin()).value();
    }
    return first;
  }

  bool IsLocked(PageNumber page) {
    const Errno error = memory().PageOut(PageRange(page, PageCount(1)));
    EXPECT_TRUE(error.ok() || error == Errno(EINVAL)) << error.Name();
    return !error.ok();
  }

  Mapping MappingAt(PageNumber page) {
    const Result<std::optional<Mapping>> mapping = memory().MappingAt(page);
    EXPECT_TRUE(mapping.ok() && mapping->has_value());
    return **mapping;
  }

  std::unique_ptr<Subject> subject_;
};

INSTANTIATE_TEST_SUITE_P(Of, MemoryContract, ::testing::Values("Kernel", "Fake"),
                         [](const auto& subject) { return subject.param; });

// Pages [begin, begin + count) of a range.
PageRange Part(PageRange pages, uint64_t begin, uint64_t count) {
  return PageRange(pages.begin() + PageCount(begin), PageCount(count));
}

TEST_P(MemoryContract, PageSizeIsAPowerOfTwo) {
  const size_t size = memory().page_size();
  EXPECT_GE(size, 4096u);
  EXPECT_EQ(size & (size - 1), 0u);
}

TEST_P(MemoryContract, EmptyRangesSucceedAndDoNothing) {
  const PageRange mapped = Map(1);
  for (const PageNumber at : {mapped.begin(), PageNumber(0), PageNumber(1)}) {
    const PageRange empty(at, at);
    EXPECT_EQ(memory().Lock(empty), kSuccess);
    EXPECT_EQ(memory().Unlock(empty), kSuccess);
    EXPECT_EQ(memory().Commit(empty), kSuccess);
    EXPECT_EQ(memory().Decommit(empty), kSuccess);
    EXPECT_EQ(memory().Populate(empty), kSuccess);
    EXPECT_EQ(memory().PopulateForWriting(empty), kSuccess);
    EXPECT_EQ(memory().ReserveBlocks(empty), kSuccess);
    EXPECT_EQ(memory().OmitFromDumps(empty), kSuccess);
    EXPECT_EQ(memory().OmitFromFork(empty), kSuccess);
    EXPECT_EQ(memory().AdviseHugePages(empty, Memory::HugePages::kMakeNow), kSuccess);
    EXPECT_TRUE(*memory().AllLocked(empty));
    EXPECT_EQ(memory().PageOut(empty), kSuccess);
    EXPECT_EQ(memory().Unmap(empty), kSuccess);
    EXPECT_EQ(Present(empty), 0u);
  }
  EXPECT_EQ(memory().CheckLockLimit(PageCount(0)), kSuccess);
  EXPECT_FALSE(AreLocked(mapped));
}

TEST_P(MemoryContract, MapGivesFreshAlignedPages) {
  for (const uint64_t alignment : {1u, 2u, 16u, 512u}) {
    for (const uint64_t count : {1u, 3u, 600u}) {
      const Result<PageRange> pages =
          memory().Map(PageCount(count), Access::kReadWrite, Fork::kInherit, PageCount(alignment));
      ASSERT_TRUE(pages.ok());
      EXPECT_EQ(pages->count(), PageCount(count));
      EXPECT_EQ(pages->begin().value() % alignment, 0u);
      EXPECT_EQ(Present(*pages), 0u);
      const Mapping mapping = MappingAt(pages->begin());
      EXPECT_TRUE(mapping.readable && mapping.writable);
      EXPECT_FALSE(mapping.shared || mapping.file_backed || mapping.executable);
      EXPECT_EQ(memory().Unmap(*pages), kSuccess);
    }
  }
}

TEST_P(MemoryContract, MapRefusesWhatCannotBe) {
  const uint64_t page = memory().page_size();
  for (const uint64_t alignment : {1u, 512u}) {
    const auto map = [&](uint64_t count) {
      return memory()
          .Map(PageCount(count), Access::kNone, Fork::kInherit, PageCount(alignment))
          .error();
    };
    EXPECT_EQ(map(0), Errno(EINVAL));
    EXPECT_EQ(map((uint64_t{1} << 60) / page), Errno(ENOMEM));
    EXPECT_EQ(map(SIZE_MAX / page), Errno(ENOMEM));
    EXPECT_EQ(map(SIZE_MAX / page + 1), Errno(ENOMEM));  // bytes would wrap to 0
    EXPECT_EQ(map(SIZE_MAX / page + 2), Errno(ENOMEM));
    EXPECT_EQ(map(UINT64_MAX), Errno(ENOMEM));
  }
}

TEST_P(MemoryContract, LockMakesEveryPageResident) {
  const PageRange pages = Map(16);
  ASSERT_EQ(Present(pages), 0u);
  EXPECT_EQ(memory().Lock(Part(pages, 4, 8)), kSuccess);
  EXPECT_EQ(Present(pages), 8u);
  EXPECT_EQ(Present(Part(pages, 4, 8)), 8u);
  EXPECT_TRUE(AreLocked(Part(pages, 4, 8)));
  EXPECT_FALSE(AreLocked(Part(pages, 0, 4)));
  EXPECT_FALSE(AreLocked(Part(pages, 12, 4)));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, LocksDoNotNest) {
  const PageRange pages = Map(4);
  EXPECT_EQ(memory().Lock(pages), kSuccess);
  EXPECT_EQ(memory().Lock(pages), kSuccess);
  EXPECT_EQ(memory().Lock(Part(pages, 1, 2)), kSuccess);
  EXPECT_EQ(memory().Unlock(pages), kSuccess);
  EXPECT_FALSE(AreLocked(pages));
  EXPECT_EQ(memory().Unlock(pages), kSuccess);  // of pages that are not locked
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, UnlockOfAPartLeavesTheRest) {
  const PageRange pages = Map(8);
  EXPECT_EQ(memory().Lock(pages), kSuccess);
  EXPECT_EQ(memory().Unlock(Part(pages, 2, 3)), kSuccess);
  EXPECT_TRUE(AreLocked(Part(pages, 0, 2)));
  EXPECT_FALSE(AreLocked(Part(pages, 2, 3)));
  EXPECT_TRUE(AreLocked(Part(pages, 5, 3)));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, LockOverAHoleLocksThePartBeforeItWithoutReadingItIn) {
  const PageRange pages = Map(6);
  ASSERT_EQ(memory().Unmap(Part(pages, 3, 1)), kSuccess);
  EXPECT_EQ(memory().Lock(pages), Errno(ENOMEM));
  EXPECT_TRUE(AreLocked(Part(pages, 0, 3)));
  EXPECT_EQ(Present(Part(pages, 0, 3)), 0u);
  EXPECT_FALSE(AreLocked(Part(pages, 4, 2)));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, LockOfAHoleLocksNothing) {
  const PageRange pages = Map(4);
  ASSERT_EQ(memory().Unmap(Part(pages, 0, 2)), kSuccess);
  EXPECT_EQ(memory().Lock(Part(pages, 0, 1)), Errno(ENOMEM));
  EXPECT_EQ(memory().Lock(pages), Errno(ENOMEM));
  EXPECT_FALSE(AreLocked(Part(pages, 2, 2)));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, LockWithAnInaccessiblePageLocksAllAndStopsReadingInThere) {
  const PageRange pages = Map(6, Access::kNone);
  ASSERT_EQ(memory().Commit(Part(pages, 0, 3)), kSuccess);
  ASSERT_EQ(memory().Commit(Part(pages, 4, 2)), kSuccess);
  EXPECT_EQ(memory().Lock(pages), Errno(ENOMEM));
  EXPECT_TRUE(AreLocked(pages));
  EXPECT_EQ(Present(Part(pages, 0, 3)), 3u);
  EXPECT_EQ(Present(Part(pages, 3, 3)), 0u);
  EXPECT_EQ(memory().Unlock(pages), kSuccess);
  EXPECT_FALSE(AreLocked(pages));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, LockPastTheEndOfAFileLocksAllAndReadsInTheFile) {
  const PageRange pages = subject_->MapFile(PageCount(5), PageCount(2));
  EXPECT_EQ(memory().Lock(pages), Errno(ENOMEM));
  EXPECT_TRUE(AreLocked(pages));
  EXPECT_EQ(Present(Part(pages, 0, 2)), 2u);
  EXPECT_EQ(Present(Part(pages, 2, 3)), 0u);
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, LockOfAFileWithinItsEndSucceeds) {
  const PageRange pages = subject_->MapFile(PageCount(5), PageCount(2));
  EXPECT_EQ(memory().Lock(Part(pages, 0, 2)), kSuccess);
  EXPECT_EQ(Present(Part(pages, 0, 2)), 2u);
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, UnlockOverAHoleUnlocksThePartBeforeIt) {
  const PageRange pages = Map(6);
  ASSERT_EQ(memory().Lock(pages), kSuccess);
  ASSERT_EQ(memory().Unmap(Part(pages, 3, 1)), kSuccess);
  EXPECT_EQ(memory().Unlock(pages), Errno(ENOMEM));
  EXPECT_FALSE(AreLocked(Part(pages, 0, 3)));
  EXPECT_TRUE(AreLocked(Part(pages, 4, 2)));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, ARangeThatWrapsIsInvalid) {
  const PageRange pages(PageNumber(SIZE_MAX / memory().page_size()), PageCount(2));
  EXPECT_EQ(memory().Lock(pages), Errno(EINVAL));
  EXPECT_EQ(memory().Unlock(pages), Errno(EINVAL));
  EXPECT_EQ(memory().Unmap(pages), Errno(EINVAL));
  EXPECT_EQ(memory().Populate(pages), Errno(EINVAL));
  EXPECT_EQ(memory().PopulateForWriting(pages), Errno(EINVAL));
  EXPECT_EQ(memory().ReserveBlocks(pages), Errno(ENOMEM));
  EXPECT_FALSE(*memory().AllLocked(pages));
  EXPECT_EQ(memory().CountPresent(pages).error(), Errno(EINVAL));
}

TEST_P(MemoryContract, PagesThatAreNotPresentNeedMemory) {
  const PageRange pages = Map(6);
  EXPECT_EQ(memory().CountNeedingMemory(pages).value(), PageCount(6));
  ASSERT_EQ(memory().Lock(Part(pages, 1, 2)), kSuccess);
  EXPECT_EQ(memory().CountNeedingMemory(pages).value(), PageCount(4));
  ASSERT_EQ(memory().Unmap(Part(pages, 4, 1)), kSuccess);
  EXPECT_EQ(memory().CountNeedingMemory(pages).error(), Errno(ENOMEM));
  EXPECT_EQ(memory().CountNeedingMemory(Part(pages, 0, 0)).value(), PageCount(0));
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
}

TEST_P(MemoryContract, CommitMakesReservedPagesUsable) {
  const PageRange pages = Map(4, Access::kNone);
  EXPECT_FALSE(MappingAt(pages.begin()).accessible());
  EXPECT_EQ(memory().Populate(pages), Errno(EINVAL));
  EXPECT_EQ(memory().Commit(Part(pages, 1, 2)), kSuccess);
  EXPECT_EQ(MappingAt(Part(pages, 1, 1).begin()).pages, Part(pages, 1, 2));
  EXPECT_TRUE(MappingAt(Part(pages, 1, 1).begin()).writable);
  EXPECT_EQ(memory().Lock(Part(pages, 1, 2)), kSuccess);
  EXPECT_EQ(Present(pages), 2u);
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
  EXPECT_EQ(memory().Commit(Part(pages, 0, 1)), Errno(ENOMEM));
}

TEST_P(MemoryContract, DecommitGivesMemoryAndLocksBack) {
  const PageRange pages = Map(4, Access::kNone);
  ASSERT_EQ(memory().Commit(pages), kSuccess);
  ASSERT_EQ(memory().Lock(Part(pages, 0, 2)), kSuccess);
  ASSERT_EQ(memory().Populate(Part(pages, 2, 2)), kSuccess);
  ASSERT_EQ(Present(pages), 4u);
  EXPECT_EQ(memory().Decommit(Part(pages, 1, 2)), kSuccess);
  EXPECT_TRUE(AreLocked(Part(pages, 0, 1)));
  EXPECT_FALSE(AreLocked(Part(pages, 1, 3)));
  EXPECT_EQ(Present(Part(pages, 1, 2)), 0u);
  EXPECT_FALSE(MappingAt(Part(pages, 1, 1).begin()).accessible());
  EXPECT_EQ(memory().Commit(Part(pages, 1, 2)), kSuccess);
  EXPECT_EQ(memory().Populate(Part(pages, 1, 2)), kSuccess);
  EXPECT_EQ(memory().Unmap(pages), kSuccess);
  EXPECT_EQ(memory().Decommit(pages), Errno(ENOMEM));
}

TEST_P(MemoryContract, CheckMappedFindsAHoleAndChangesNothing) {
  const PageRange pages = Map(5);
  EXPECT_EQ(memory().CheckMapped(pages), kSuccess);
  EXPECT_EQ(memory().Unmap(Part(pages, 2, 1)), kSuccess);
  EXPECT_EQ(memory().Lock(Part(pages, 3, 2)), kSuccess);
  EXPECT_EQ(memory().CheckMapped(pages), Errno(ENOMEM));
  EXPECT_EQ(memory().CheckMapped(Part(pages, 2, 1)), Errno(ENOMEM));
  EXPECT_EQ(memory().CheckMapped(Part(pages, 0, 2)), kSuccess);
  EXPECT_EQ(memory().CheckMapped(Part(pages, 3, 2)), kSuccess);
  EXPECT_FALSE(AreLocked(Part(pages, 0, 2)));
  EXPECT_TRUE(AreLocked(Part(pages, 3, 2)));
  EXPECT_EQ(Present(Part(pages, 0, 2)), 0u);
}

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

// ---- The lock limit. The body may run in a child.

TEST_P(MemoryContract, CheckLockLimitIsExact) {
  subject_->RunUnprivileged([this] {
    const PageRange pages = Map(8);
    subject_->SetLockLimit(PageCount(8));
    for (uint64_t held = 0; held <= 8; ++held) {
      ASSERT_EQ(memory().Lock(Part(pages, 0, held)), kSuccess);
      for (uint64_t more = 0; more <= 10; ++more) {
        EXPECT_EQ(memory().CheckLockLimit(PageCount(more)),
                  more <= 8 - held ? kSuccess : Errno(ENOMEM))
            << more << " on top of " << held;
      }
    }
    const uint64_t wraps = SIZE_MAX / memory().page_size() + 1;
    for (const uint64_t more : {wraps - 1, wraps, wraps + 1, UINT64_MAX}) {
      EXPECT_EQ(memory().CheckLockLimit(PageCount(more)), Errno(ENOMEM)) << more;
    }
    EXPECT_EQ(memory().Unlock(pages), kSuccess);
    EXPECT_EQ(memory().CheckLockLimit(PageCount(8)), kSuccess);
  });
}

TEST_P(MemoryContract, LockBeyondTheLimitTouchesNothing) {
  subject_->RunUnprivileged([this] {
    const PageRange pages = Map(9);
    subject_->SetLockLimit(PageCount(8));
    EXPECT_EQ(memory().Lock(pages), Errno(ENOMEM));
    EXPECT_FALSE(AreLocked(pages));
    EXPECT_EQ(Present(pages), 0u);
    EXPECT_EQ(memory().Lock(Part(pages, 0, 8)), kSuccess);
    EXPECT_EQ(memory().Lock(Part(pages, 2, 6)), kSuccess);  // not charged a second time
    EXPECT_EQ(memory().Lock(Part(pages, 8, 1)), Errno(ENOMEM));
    EXPECT_EQ(memory().Lock(pages), Errno(ENOMEM));
    EXPECT_FALSE(IsLocked(Part(pages, 8, 1).begin()));
  });
}

TEST_P(MemoryContract, HalfDoneLocksAreCharged) {
  subject_->RunUnprivileged([this] {
    const PageRange hole = Map(6);
    const PageRange none = Map(4, Access::kNone);
    const PageRange file = subject_->MapFile(PageCount(3), PageCount(1));
    ASSERT_EQ(memory().Unmap(Part(hole, 3, 1)), kSuccess);
    subject_->SetLockLimit(PageCount(16));
    const auto expect_left = [this](uint64_t pages) {
      EXPECT_EQ(memory().CheckLockLimit(PageCount(pages)), kSuccess) << pages;
      EXPECT_EQ(memory().CheckLockLimit(PageCount(pages + 1)), Errno(ENOMEM)) << pages;
    };
    expect_left(16);
    EXPECT_NE(memory().Lock(hole), kSuccess);
    expect_left(13);
    EXPECT_NE(memory().Lock(none), kSuccess);
    expect_left(9);
    EXPECT_NE(memory().Lock(file), kSuccess);
    expect_left(6);
    EXPECT_NE(memory().Unlock(hole), kSuccess);
    expect_left(9);
    EXPECT_EQ(memory().Unmap(file), kSuccess);
    expect_left(12);
    EXPECT_EQ(memory().Decommit(Part(none, 0, 1)), kSuccess);
    expect_left(13);
    EXPECT_EQ(memory().Unlock(none), kSuccess);
    expect_left(16);
  });
}

TEST_P(MemoryContract, WithoutALimitToSpeakOfLockIsForbidden) {
  subject_->RunUnprivileged([this] {
    const PageRange pages = Map(4);
    ASSERT_EQ(memory().Lock(Part(pages, 0, 2)), kSuccess);
    subject_->SetLockLimit(PageCount(0));
    EXPECT_EQ(memory().CheckLockLimit(PageCount(1)), Errno(EPERM));
    EXPECT_EQ(memory().Lock(Part(pages, 2, 1)), Errno(EPERM));
    EXPECT_EQ(memory().Lock(Part(pages, 0, 2)), Errno(EPERM));  // nested
    EXPECT_TRUE(AreLocked(Part(pages, 0, 2)));
    EXPECT_EQ(memory().Unlock(pages), kSuccess);
    EXPECT_FALSE(AreLocked(pages));
  });
}

}  // namespace
}  // namespace os
