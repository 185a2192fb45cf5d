// Files under mappings, as Memory::FileBytes and Memory::ReserveBlocks find them, on file systems
// that are full. A page without a block kills who writes to it: SIGBUS, which fails the test.

#include "os/mapped_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "os/file.h"
#include "tests/support/child.h"
#include "tests/support/small_disk.h"

namespace os {
namespace {

using test_support::DiskKind;
using test_support::OnSmallDisk;
using test_support::SmallDisk;

const size_t kPage = RealMemory().page_size();

// A sparse file of 8 pages, and a mapping of it.
class SparseFile {
 public:
  static constexpr uint64_t kPages = 8;

  explicit SparseFile(const SmallDisk& disk, size_t bytes = kPages * kPage,
                      int protection = PROT_READ | PROT_WRITE, int flags = MAP_SHARED)
      : path_(disk.directory() + "/sparse"),
        descriptor_(open(path_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)) {
    EXPECT_EQ(ftruncate(descriptor_, static_cast<off_t>(bytes)), 0) << Errno::Last().Name();
    void* address = mmap(nullptr, kPages * kPage, protection, flags, descriptor_, 0);
    EXPECT_NE(address, MAP_FAILED) << Errno::Last().Name();
    pages_ = PageRange(PageNumber(reinterpret_cast<uintptr_t>(address) / kPage), PageCount(kPages));
  }
  SparseFile(const SparseFile&) = delete;
  SparseFile& operator=(const SparseFile&) = delete;
  ~SparseFile() {
    EXPECT_EQ(RealMemory().Unmap(pages_), kSuccess);
    Close();
    (void)unlink(path_.c_str());
  }

  int descriptor() const { return descriptor_; }
  const std::string& path() const { return path_; }
  PageRange pages() const { return pages_; }
  char* page(uint64_t index) const {
    return static_cast<char*>(pages_.address(kPage)) + index * kPage;
  }
  Mapping mapping() const { return **RealMemory().MappingAt(pages_.begin()); }

  void Close() {
    if (descriptor_ >= 0) (void)close(descriptor_);
    descriptor_ = -1;
  }
  void Unlink() { ASSERT_EQ(unlink(path_.c_str()), 0); }
  void WriteAt(uint64_t page, const std::string& text) {
    ASSERT_EQ(pwrite(descriptor_, text.data(), text.size(), static_cast<off_t>(page * kPage)),
              static_cast<ssize_t>(text.size()));
  }
  // Bytes of disk that it takes.
  uint64_t allocated() const {
    struct stat status;
    EXPECT_EQ(fstat(descriptor_, &status), 0);
    return static_cast<uint64_t>(status.st_blocks) * 512;
  }
  Errno Reserve() { return RealMemory().ReserveBlocks(pages_); }
  uint64_t Present() { return RealMemory().CountPresent(pages_)->value(); }
  // Writes to each page and to the disk.
  void Use() {
    for (uint64_t index = 0; index < kPages; ++index) *page(index) = 'x';
    EXPECT_EQ(msync(page(0), kPages * kPage, MS_SYNC), 0) << Errno::Last().Name();
  }

 private:
  const std::string path_;
  int descriptor_;
  PageRange pages_;
};

class MappedFileOn : public ::testing::TestWithParam<DiskKind> {
 protected:
  // Runs the body on a disk where `free` blocks are left.
  static void With(uint64_t free, void (*body)(SmallDisk& disk)) {
    OnSmallDisk(GetParam(), [&](SmallDisk& disk) {
      disk.LeaveBlocks(free);
      if (!::testing::Test::HasFatalFailure()) body(disk);
    });
  }
};

INSTANTIATE_TEST_SUITE_P(Disk, MappedFileOn, ::testing::Values(DiskKind::kTmpfs, DiskKind::kExt4),
                         [](const auto& kind) {
                           return kind.param == DiskKind::kTmpfs ? "Tmpfs" : "Ext4";
                         });

TEST_P(MappedFileOn, HolesWithoutABlockAreENOSPCAndNoPageIsTouched) {
  With(4, [](SmallDisk& disk) {
    SparseFile file(disk);
    const uint64_t free = disk.free_blocks();
    EXPECT_EQ(file.Reserve(), Errno(ENOSPC));
    EXPECT_EQ(file.Present(), 0u);
    if (GetParam() == DiskKind::kTmpfs) {
      EXPECT_EQ(disk.free_blocks(), free) << "all is given back";
    }
    EXPECT_EQ(file.Reserve(), Errno(ENOSPC)) << "again";
  });
}

TEST_P(MappedFileOn, ReservedPagesCanBeWrittenOnceTheDiskIsFull) {
  With(32, [](SmallDisk& disk) {
    SparseFile file(disk);
    EXPECT_EQ(file.Reserve(), kSuccess);
    EXPECT_EQ(file.Present(), 0u);
    EXPECT_GE(file.allocated(), SparseFile::kPages * kPage);
    disk.LeaveBlocks(0);
    EXPECT_EQ(file.Reserve(), kSuccess) << "it has its blocks";
    file.Use();
  });
}

TEST_P(MappedFileOn, ReservingChangesNeitherContentsNorLength) {
  With(32, [](SmallDisk& disk) {
    SparseFile file(disk, 5 * kPage + 100);
    file.WriteAt(2, "data");
    EXPECT_EQ(file.Reserve(), kSuccess);
    struct stat status;
    ASSERT_EQ(fstat(file.descriptor(), &status), 0);
    EXPECT_EQ(status.st_size, static_cast<off_t>(5 * kPage + 100));
    EXPECT_EQ(std::string(file.page(2)), "data");
    EXPECT_EQ(*file.page(1), '\0');
    EXPECT_GE(file.allocated(), 6 * kPage);
    EXPECT_LT(file.allocated(), 8 * kPage) << "pages past its end";
    disk.LeaveBlocks(0);
    for (const uint64_t page : {0u, 1u, 3u, 4u, 5u}) *file.page(page) = 'x';
    EXPECT_EQ(msync(file.page(0), 6 * kPage, MS_SYNC), 0) << Errno::Last().Name();
  });
}

TEST_P(MappedFileOn, ARangePastTheEndOfItsFileNeedsNothing) {
  With(0, [](SmallDisk& disk) {
    SparseFile file(disk, 0);
    EXPECT_EQ(file.Reserve(), kSuccess);
    EXPECT_EQ(file.allocated(), 0u);
  });
}

TEST_P(MappedFileOn, HolesBetweenDataAreTakenBackTogether) {
  With(4, [](SmallDisk& disk) {
    SparseFile file(disk);
    file.WriteAt(3, "data");
    ASSERT_EQ(fsync(file.descriptor()), 0);
    const uint64_t free = disk.free_blocks();
    EXPECT_EQ(file.Reserve(), Errno(ENOSPC));
    EXPECT_EQ(std::string(file.page(3)), "data");
    if (GetParam() == DiskKind::kTmpfs) {
      EXPECT_EQ(disk.free_blocks(), free);
    }
  });
}

TEST_P(MappedFileOn, APartOfTheRangeNeedsBlocksForThatPartAlone) {
  With(4, [](SmallDisk& disk) {
    SparseFile file(disk);
    const PageRange part(file.pages().begin() + PageCount(5), PageCount(2));
    EXPECT_EQ(RealMemory().ReserveBlocks(part), kSuccess);
    disk.LeaveBlocks(0);
    *file.page(5) = 'x';
    *file.page(6) = 'x';
    EXPECT_EQ(msync(file.page(5), 2 * kPage, MS_SYNC), 0) << Errno::Last().Name();
    const PageRange more(part.begin(), PageCount(3));
    EXPECT_EQ(RealMemory().ReserveBlocks(more), Errno(ENOSPC));
  });
}

TEST_P(MappedFileOn, PrivateAndReadOnlyMappingsNeedNoBlocks) {
  With(0, [](SmallDisk& disk) {
    const SparseFile* kinds[] = {
        new SparseFile(disk, 8 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE),
        new SparseFile(disk, 8 * kPage, PROT_READ, MAP_SHARED)};
    for (const SparseFile* file : kinds) {
      EXPECT_EQ(RealMemory().ReserveBlocks(file->pages()), kSuccess);
      EXPECT_EQ(file->allocated(), 0u);
      delete file;
    }
  });
}

// --- How the file is found

TEST_P(MappedFileOn, AFileIsFoundByItsPathOnceItsDescriptorIsClosed) {
  With(4, [](SmallDisk& disk) {
    SparseFile file(disk);
    file.Close();
    EXPECT_EQ(RealMemory().FileBytes(file.mapping()), 8 * kPage);
    EXPECT_EQ(file.Reserve(), Errno(ENOSPC));
    EXPECT_EQ(file.Present(), 0u);
  });
}

TEST_P(MappedFileOn, AFileWithoutANameIsFoundByItsDescriptor) {
  With(4, [](SmallDisk& disk) {
    SparseFile file(disk);
    file.Unlink();
    EXPECT_EQ(RealMemory().FileBytes(file.mapping()), 8 * kPage);
    EXPECT_EQ(file.Reserve(), Errno(ENOSPC));
    EXPECT_EQ(file.Present(), 0u);
    disk.LeaveBlocks(32);
    EXPECT_EQ(file.Reserve(), kSuccess);
    disk.LeaveBlocks(0);
    file.Use();
  });
}

TEST_P(MappedFileOn, ADescriptorForReadingIsEnoughWhereTheFileMayBeWritten) {
  With(4, [](SmallDisk& disk) {
    SparseFile file(disk);
    const OwnedDescriptor reading(open(file.path().c_str(), O_RDONLY | O_CLOEXEC));
    file.Unlink();
    file.Close();
    EXPECT_EQ(RealMemory().FileBytes(file.mapping()), 8 * kPage);
    EXPECT_EQ(file.Reserve(), Errno(ENOSPC));
    EXPECT_EQ(file.Present(), 0u);
  });
}

TEST_P(MappedFileOn, AnotherFileOfTheSameNameIsNotTakenForIt) {
  With(32, [](SmallDisk& disk) {
    SparseFile file(disk);
    file.Unlink();
    // What the list of mappings calls it now: the old name and " (deleted)".
    const std::string moved = file.mapping().file_path;
    const OwnedDescriptor other(open(moved.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    ASSERT_EQ(ftruncate(other.get(), static_cast<off_t>(8 * kPage)), 0);
    EXPECT_EQ(file.Reserve(), kSuccess);
    struct stat status;
    ASSERT_EQ(fstat(other.get(), &status), 0);
    EXPECT_EQ(status.st_blocks, 0);
    EXPECT_GE(file.allocated(), 8 * kPage);
    file.Close();
    EXPECT_EQ(RealMemory().FileBytes(file.mapping()), std::nullopt);
  });
}

// --- A file that cannot be found or written is reached by way of the mapping.

TEST_P(MappedFileOn, AFileThatCannotBeFoundIsPopulated) {
  With(4, [](SmallDisk& disk) {
    SparseFile file(disk);
    file.Unlink();
    file.Close();
    EXPECT_EQ(RealMemory().FileBytes(file.mapping()), std::nullopt);
    EXPECT_EQ(file.Reserve(), Errno(EFAULT));
    disk.LeaveBlocks(32);
    EXPECT_EQ(file.Reserve(), kSuccess);
    EXPECT_EQ(file.Present(), 8u);
    disk.LeaveBlocks(0);
    file.Use();
  });
}

TEST_P(MappedFileOn, AFileWithoutWritePermissionIsPopulated) {
  With(32, [](SmallDisk& disk) {
    SparseFile file(disk);
    ASSERT_EQ(fchmod(file.descriptor(), 0400), 0);
    test_support::RunInChild({.drop_privilege = true}, [&] {
      ASSERT_LT(open(file.path().c_str(), O_WRONLY | O_CLOEXEC), 0);
      EXPECT_EQ(file.Reserve(), kSuccess);
      EXPECT_EQ(file.Present(), 8u);
    });
    disk.LeaveBlocks(0);
    file.Use();
  });
}

// --- What must not happen on the way

// Whether another process is kept out by a record lock.
bool IsRecordLocked(const std::string& path) {
  const pid_t child = fork();
  if (child == 0) {
    const int file = open(path.c_str(), O_RDWR);
    struct flock wanted {};
    wanted.l_type = F_WRLCK;
    _exit(fcntl(file, F_SETLK, &wanted) != 0 ? 1 : 0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

TEST_P(MappedFileOn, RecordLocksOfTheProgramAreKept) {
  With(32, [](SmallDisk& disk) {
    SparseFile file(disk);
    struct flock record {};
    record.l_type = F_WRLCK;
    ASSERT_EQ(fcntl(file.descriptor(), F_SETLK, &record), 0);
    ASSERT_TRUE(IsRecordLocked(file.path()));
    EXPECT_EQ(file.Reserve(), kSuccess);
    EXPECT_EQ(RealMemory().FileBytes(file.mapping()), 8 * kPage);
    EXPECT_TRUE(IsRecordLocked(file.path()));
    EXPECT_GE(file.allocated(), 8 * kPage);
  });
}

TEST_P(MappedFileOn, NoDescriptorIsLeftOpen) {
  With(32, [](SmallDisk& disk) {
    SparseFile file(disk);
    const int before = dup(0);
    ASSERT_GE(before, 0);
    (void)close(before);
    EXPECT_EQ(file.Reserve(), kSuccess);
    (void)RealMemory().FileBytes(file.mapping());
    const int after = dup(0);
    EXPECT_EQ(after, before);
    (void)close(after);
  });
}

}  // namespace
}  // namespace os
