// mpin(3), sentence by sentence: mappings of files, on file systems that are full or nearly so.
//
// Who writes to a shared mapping of a hole, on a file system without a block left, dies by SIGBUS.
// mpin reserves the blocks first. Each test runs in a child, which a SIGBUS would kill.
//
// What a call that fails with ENOSPC leaves: tmpfs takes back what it has allocated for it, so that
// as many blocks are free as before. ext4 keeps in the file what it could allocate.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "gtest/gtest.h"
#include "os/errno.h"
#include "os/file.h"
#include "pinlock/mpin.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/small_disk.h"
#include "tests/support/test_mapping.h"

namespace {

using test_support::DiskKind;
using test_support::KernelEvidence;
using test_support::OnSmallDisk;
using test_support::PageSize;
using test_support::SmallDisk;
using test_support::TestMapping;

constexpr size_t kPages = 16;

std::string PathOn(const SmallDisk& disk) { return disk.directory() + "/file"; }

// One hole of kPages pages.
os::OwnedDescriptor SparseFile(const SmallDisk& disk) {
  os::OwnedDescriptor file(open(PathOn(disk).c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  EXPECT_EQ(ftruncate(file.get(), static_cast<off_t>(kPages * PageSize())), 0)
      << os::Errno::Last().Name();
  return file;
}

// A mapping of the file, in the place of an anonymous one.
void MapInstead(const TestMapping& mapping, const os::OwnedDescriptor& file, int protection,
                int flags) {
  ASSERT_EQ(
      mmap(mapping.page(0), kPages * PageSize(), protection, flags | MAP_FIXED, file.get(), 0),
      mapping.page(0));
}

uint64_t BlocksOf(const os::OwnedDescriptor& file) {
  struct stat status {};
  EXPECT_EQ(fstat(file.get(), &status), 0);
  return static_cast<uint64_t>(status.st_blocks) * 512 / 4096;
}

int Pin(const TestMapping& mapping, size_t pages) {
  return mpin(mapping.page(0), pages * PageSize());
}

// Expects this for all pages of the mapping, and nothing counted or locked besides.
void ExpectRefused(const TestMapping& mapping, int error, const std::string& words) {
  const KernelEvidence before = KernelEvidence::Of(mapping.all());
  mpin_stat stat_before{}, stat{};
  ASSERT_EQ(mpin_get_stat(&stat_before, sizeof(stat_before)), 0);
  errno = 0;
  EXPECT_EQ(Pin(mapping, kPages), -1);
  EXPECT_EQ(os::Errno::Last(), os::Errno(error)) << os::Errno::Last().Name();
  EXPECT_NE(std::string(mpin_error()).find(words), std::string::npos) << mpin_error();
  EXPECT_EQ(KernelEvidence::Of(mapping.all()), before);
  ASSERT_EQ(mpin_get_stat(&stat, sizeof(stat)), 0);
  EXPECT_EQ(stat.pages_locked, stat_before.pages_locked);
  EXPECT_EQ(stat.pages_residual, 0u);
}

void ExpectNoSpace(const TestMapping& mapping) {
  ExpectRefused(mapping, ENOSPC, "no space left on the file system");
}

// A page without a block ends the child here.
void WriteEachPage(const TestMapping& mapping, size_t pages) {
  for (size_t page = 0; page < pages; ++page)
    *mapping.page(page) = static_cast<std::byte>(page + 1);
}

void ExpectWritten(const os::OwnedDescriptor& file, size_t pages) {
  EXPECT_EQ(fsync(file.get()), 0) << os::Errno::Last().Name();
  for (size_t page = 0; page < pages; ++page) {
    unsigned char byte = 0;
    ASSERT_EQ(pread(file.get(), &byte, 1, static_cast<off_t>(page * PageSize())), 1);
    EXPECT_EQ(byte, page + 1);
  }
}

class MpinOfFiles : public testing::TestWithParam<DiskKind> {
 protected:
  static bool IsTmpfs() { return GetParam() == DiskKind::kTmpfs; }
};

INSTANTIATE_TEST_SUITE_P(, MpinOfFiles, testing::Values(DiskKind::kTmpfs, DiskKind::kExt4),
                         [](const testing::TestParamInfo<DiskKind>& disk) {
                           return disk.param == DiskKind::kTmpfs ? "Tmpfs" : "Ext4";
                         });

TEST_P(MpinOfFiles, FailsWithEnospcWhereAHoleGetsNoBlockAndLocksNothing) {
  OnSmallDisk(GetParam(), [](SmallDisk& disk) {
    const os::OwnedDescriptor file = SparseFile(disk);
    const TestMapping mapping(kPages, file.get());
    disk.LeaveBlocks(0);
    ASSERT_LT(disk.free_blocks(), kPages);
    ExpectNoSpace(mapping);
  });
}

TEST_P(MpinOfFiles, FailsWithoutTakingBlocksWhereTheFileSystemTakesThemBack) {
  OnSmallDisk(GetParam(), [](SmallDisk& disk) {
    const os::OwnedDescriptor file = SparseFile(disk);
    const TestMapping mapping(kPages, file.get());
    disk.LeaveBlocks(4);
    const uint64_t free_before = disk.free_blocks();
    ASSERT_LT(free_before, kPages);
    ExpectNoSpace(mapping);
    if (IsTmpfs()) {
      EXPECT_EQ(disk.free_blocks(), free_before);
      EXPECT_EQ(BlocksOf(file), 0u);
    } else {
      EXPECT_EQ(disk.free_blocks() + BlocksOf(file), free_before) << "what is gone is in the file";
    }
    // Either way they are there for fewer pages.
    EXPECT_EQ(Pin(mapping, 4), 0) << mpin_error();
    WriteEachPage(mapping, 4);
    ExpectWritten(file, 4);
  });
}

TEST_P(MpinOfFiles, PagesPinnedBeforeCanBeWrittenAfterACallThatFailed) {
  OnSmallDisk(GetParam(), [](SmallDisk& disk) {
    const os::OwnedDescriptor file = SparseFile(disk);
    const TestMapping mapping(kPages, file.get());
    ASSERT_EQ(Pin(mapping, 4), 0) << mpin_error();
    disk.LeaveBlocks(0);
    ExpectNoSpace(mapping);
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.range(0, 4)));
    WriteEachPage(mapping, 4);
    ExpectWritten(file, 4);
  });
}

TEST_P(MpinOfFiles, SucceedsForAsManyPagesAsThereAreBlocksAndNobodyTakesThemLater) {
  OnSmallDisk(GetParam(), [](SmallDisk& disk) {
    constexpr size_t kFree = 6;
    const os::OwnedDescriptor file = SparseFile(disk);
    const TestMapping mapping(kPages, file.get());
    disk.LeaveBlocks(kFree);
    ASSERT_LT(disk.free_blocks(), kPages);
    ASSERT_EQ(Pin(mapping, kFree), 0) << mpin_error();
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.range(0, kFree)));
    disk.LeaveBlocks(0);
    WriteEachPage(mapping, kFree);
    ExpectWritten(file, kFree);
  });
}

TEST_P(MpinOfFiles, MunpinLeavesTheBlocksInTheFile) {
  OnSmallDisk(GetParam(), [](SmallDisk& disk) {
    const os::OwnedDescriptor file = SparseFile(disk);
    const TestMapping mapping(kPages, file.get());
    ASSERT_EQ(Pin(mapping, kPages), 0) << mpin_error();
    ASSERT_EQ(BlocksOf(file), kPages);
    ASSERT_EQ(munpin(mapping.page(0), kPages * PageSize()), 0) << mpin_error();
    EXPECT_EQ(BlocksOf(file), kPages);
    disk.LeaveBlocks(0);
    WriteEachPage(mapping, kPages);
    ExpectWritten(file, kPages);
  });
}

// tmpfs keeps no hole that is read by way of a mapping: there the file has pages already.
TEST_P(MpinOfFiles, APrivateMappingNeedsNoBlocks) {
  OnSmallDisk(GetParam(), [](SmallDisk& disk) {
    const os::OwnedDescriptor file = SparseFile(disk);
    if (IsTmpfs()) {
      ASSERT_EQ(posix_fallocate(file.get(), 0, static_cast<off_t>(kPages * PageSize())), 0);
    }
    const TestMapping mapping(kPages);
    MapInstead(mapping, file, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    disk.LeaveBlocks(0);
    const uint64_t free_before = disk.free_blocks();
    const uint64_t blocks_before = BlocksOf(file);
    ASSERT_EQ(Pin(mapping, kPages), 0) << mpin_error();
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.all()));
    WriteEachPage(mapping, kPages);
    EXPECT_EQ(disk.free_blocks(), free_before);
    EXPECT_EQ(BlocksOf(file), blocks_before);
  });
}

// On tmpfs each hole that is read by way of a mapping becomes a page of the file, whatever the
// mapping; ext4 shows zeros.
TEST_P(MpinOfFiles, AMappingThatIsOnlyReadNeedsABlockForAHoleOnTmpfsAlone) {
  for (const int flags : {MAP_PRIVATE, MAP_SHARED}) {
    OnSmallDisk(GetParam(), [flags](SmallDisk& disk) {
      const os::OwnedDescriptor file = SparseFile(disk);
      const TestMapping mapping(kPages);
      MapInstead(mapping, file, PROT_READ, flags);
      disk.LeaveBlocks(0);
      if (IsTmpfs()) {
        ExpectNoSpace(mapping);
      } else {
        ASSERT_EQ(Pin(mapping, kPages), 0) << mpin_error();
        EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.all()));
        EXPECT_EQ(BlocksOf(file), 0u);
      }
    });
    if (testing::Test::IsSkipped()) return;
  }
}

// A file that nobody can open any more: pages are made dirty by way of the mapping, which reserves
// their blocks. What a failed call has got so far stays, on tmpfs too. There a page without a block
// is not to be told from one past the end of a file whose size nobody can ask for.
TEST_P(MpinOfFiles, AnUnlinkedFileWithoutADescriptorHasItsBlocksReservedToo) {
  OnSmallDisk(GetParam(), [](SmallDisk& disk) {
    constexpr size_t kFree = 6;
    os::OwnedDescriptor file = SparseFile(disk);
    const TestMapping mapping(kPages, file.get());
    ASSERT_EQ(unlink(PathOn(disk).c_str()), 0);
    file = os::OwnedDescriptor();
    disk.LeaveBlocks(kFree);
    ASSERT_LT(disk.free_blocks(), kPages);
    ASSERT_EQ(Pin(mapping, kFree), 0) << mpin_error();
    disk.LeaveBlocks(0);
    ExpectNoSpace(mapping);
    EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks(mapping.range(0, kFree)));
    WriteEachPage(mapping, kFree);
    EXPECT_EQ(msync(mapping.page(0), kFree * PageSize(), MS_SYNC), 0) << os::Errno::Last().Name();
    for (size_t page = 0; page < kFree; ++page) {
      EXPECT_EQ(*mapping.page(page), static_cast<std::byte>(page + 1));
    }
  });
}

}  // namespace
