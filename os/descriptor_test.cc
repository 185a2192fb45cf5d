// A file that is opened anew; for the rest of descriptor.h see file_test.cc.

#include "os/descriptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include "tests/support/child.h"
#include "tests/support/small_disk.h"

namespace os {
namespace {

// In a folder of its own, "file" has the text "text".
class OriginTest : public testing::Test {
 protected:
  OriginTest() : folder_(testing::TempDir() + "/descriptor_test.XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr) << Errno::Last().Name();
    folder_ = std::filesystem::canonical(folder_);
    Make("file");
  }
  ~OriginTest() override {
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
    EXPECT_FALSE(error) << error.message();
  }

  std::string PathOf(const std::string& name) const { return folder_ + "/" + name; }
  void Make(const std::string& name) { std::ofstream(PathOf(name)) << "text"; }
  OwnedDescriptor Open(int flags, const std::string& name = "file") const {
    return OwnedDescriptor(open(PathOf(name).c_str(), flags | O_CLOEXEC));
  }

 private:
  std::string folder_;
};

// Those that open(2) has set, and O_APPEND and O_NONBLOCK.
int FlagsOf(int descriptor) {
  return fcntl(descriptor, F_GETFL) &
         (O_ACCMODE | O_DIRECT | O_SYNC | O_DSYNC | O_APPEND | O_NONBLOCK);
}

bool IsClosedOnExec(int descriptor) { return (fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0; }

std::string TextOf(int descriptor) {
  char text[8];
  const ssize_t length = pread(descriptor, text, sizeof(text), 0);
  return length < 0 ? Errno::Last().Name() : std::string(text, static_cast<size_t>(length));
}

// A number that is no descriptor any more.
int ClosedDescriptor() { return OwnedDescriptor(memfd_create("closed", MFD_CLOEXEC)).get(); }

// --- Where it is from

using OriginOfTest = OriginTest;

TEST_F(OriginOfTest, TellsTheFile) {
  const OwnedDescriptor descriptor = Open(O_RDWR);
  struct stat status;
  ASSERT_EQ(fstat(descriptor.get(), &status), 0);
  const Result<FileOrigin> origin = OriginOf(descriptor.get());
  ASSERT_TRUE(origin.ok()) << origin.error().Name();
  EXPECT_EQ(origin->device, status.st_dev);
  EXPECT_EQ(origin->inode, status.st_ino);
  EXPECT_EQ(origin->flags, O_RDWR);
  EXPECT_EQ(origin->path, PathOf("file"));
}

TEST_F(OriginOfTest, TellsTheFlagsThatMatterForATransfer) {
  for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_SYNC, O_RDWR | O_DSYNC}) {
    const OwnedDescriptor descriptor = Open(flags | O_APPEND | O_NONBLOCK | O_NOCTTY);
    EXPECT_EQ(OriginOf(descriptor.get())->flags, flags);
  }
}

TEST_F(OriginOfTest, KnowsWhereTheFileHasBeenMoved) {
  const OwnedDescriptor descriptor = Open(O_RDWR);
  ASSERT_EQ(rename(PathOf("file").c_str(), PathOf("moved").c_str()), 0);
  EXPECT_EQ(OriginOf(descriptor.get())->path, PathOf("moved"));
}

TEST_F(OriginOfTest, TellsNoNameThatLeadsToADeletedFile) {
  const OwnedDescriptor descriptor = Open(O_RDWR);
  ASSERT_EQ(unlink(PathOf("file").c_str()), 0);
  const Result<FileOrigin> origin = OriginOf(descriptor.get());
  ASSERT_TRUE(origin.ok());
  EXPECT_EQ(Reopen(*origin, origin->path).error(), Errno(ENOENT));
  Make(std::filesystem::path(origin->path).filename());  // "file (deleted)"
  EXPECT_EQ(Reopen(*origin, origin->path).error(), Errno(ESTALE));
}

TEST_F(OriginOfTest, NeedsAnOpenDescriptor) {
  EXPECT_EQ(OriginOf(-1).error(), Errno(EBADF));
  EXPECT_EQ(OriginOf(ClosedDescriptor()).error(), Errno(EBADF));
}

// --- Once more

using DuplicateTest = OriginTest;

TEST_F(DuplicateTest, IsTheSameOpenFileUnderAnotherNumber) {
  OwnedDescriptor descriptor = Open(O_RDWR | O_APPEND);
  Result<OwnedDescriptor> copy = Duplicate(descriptor.get());
  ASSERT_TRUE(copy.ok()) << copy.error().Name();
  EXPECT_NE(copy->get(), descriptor.get());
  EXPECT_TRUE(IsClosedOnExec(copy->get()));
  EXPECT_EQ(FlagsOf(copy->get()), O_RDWR | O_APPEND);
  ASSERT_EQ(lseek(descriptor.get(), 3, SEEK_SET), 3);
  EXPECT_EQ(lseek(copy->get(), 0, SEEK_CUR), 3) << "it shares the file position";
  { const OwnedDescriptor closed = std::move(descriptor); }
  EXPECT_EQ(TextOf(copy->get()), "text");
}

TEST_F(DuplicateTest, NeedsAnOpenDescriptor) {
  EXPECT_EQ(Duplicate(-1).error(), Errno(EBADF));
  EXPECT_EQ(Duplicate(ClosedDescriptor()).error(), Errno(EBADF));
}

// --- Anew

class ReopenTest : public OriginTest {
 protected:
  FileOrigin OriginFor(int flags) const { return *OriginOf(Open(flags).get()); }
};

TEST_F(ReopenTest, GivesAnOpenFileOfItsOwn) {
  const OwnedDescriptor first = Open(O_RDWR);
  ASSERT_EQ(lseek(first.get(), 3, SEEK_SET), 3);
  const Result<OwnedDescriptor> second = Reopen(*OriginOf(first.get()), PathOf("file"));
  ASSERT_TRUE(second.ok()) << second.error().Name();
  EXPECT_TRUE(IsClosedOnExec(second->get()));
  EXPECT_EQ(lseek(second->get(), 0, SEEK_CUR), 0);
  EXPECT_EQ(TextOf(second->get()), "text");
  ASSERT_EQ(pwrite(second->get(), "next", 4, 0), 4);
  EXPECT_EQ(TextOf(first.get()), "next");
}

// O_NONBLOCK above all: what cannot be had at once, a ring would refuse.
TEST_F(ReopenTest, HasTheFlagsOfTheOriginAndNoOther) {
  for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_SYNC, O_RDWR | O_DSYNC}) {
    const Result<OwnedDescriptor> opened = Reopen(OriginFor(flags | O_APPEND), PathOf("file"));
    ASSERT_TRUE(opened.ok()) << opened.error().Name();
    EXPECT_EQ(FlagsOf(opened->get()), flags);
  }
}

TEST_F(ReopenTest, KeepsDirectTransfers) {
  const OwnedDescriptor direct = Open(O_RDWR | O_DIRECT);
  if (direct.get() < 0) GTEST_SKIP() << "no direct transfers here: " << Errno::Last().Name();
  const Result<OwnedDescriptor> opened = Reopen(*OriginOf(direct.get()), PathOf("file"));
  ASSERT_TRUE(opened.ok()) << opened.error().Name();
  EXPECT_EQ(FlagsOf(opened->get()), O_RDWR | O_DIRECT);
}

// The origin may have been written down where others can spoil it.
TEST_F(ReopenTest, NeitherMakesAFileNorChangesOne) {
  FileOrigin origin = OriginFor(O_RDWR);
  origin.flags |= O_CREAT | O_TRUNC | O_APPEND;
  Make("other");
  EXPECT_EQ(Reopen(origin, PathOf("other")).error(), Errno(ESTALE));
  EXPECT_EQ(TextOf(Open(O_RDONLY, "other").get()), "text");
  EXPECT_EQ(Reopen(origin, PathOf("none")).error(), Errno(ENOENT));
  const Result<OwnedDescriptor> opened = Reopen(origin, PathOf("file"));
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(FlagsOf(opened->get()), O_RDWR);
  EXPECT_EQ(TextOf(opened->get()), "text");
}

TEST_F(ReopenTest, TakesEveryPathToTheFile) {
  const FileOrigin origin = OriginFor(O_RDWR);
  const OwnedDescriptor open_file = Open(O_RDWR);
  ASSERT_EQ(symlink("file", PathOf("link").c_str()), 0);
  EXPECT_EQ(Reopen(origin, PathOf("link")).error(), kSuccess);
  ASSERT_EQ(rename(PathOf("file").c_str(), PathOf("moved").c_str()), 0);
  EXPECT_EQ(Reopen(origin, PathOf("moved")).error(), kSuccess);
  ASSERT_EQ(unlink(PathOf("moved").c_str()), 0);
  const std::string of_process =
      "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(open_file.get());
  const Result<OwnedDescriptor> opened = Reopen(origin, of_process);
  ASSERT_TRUE(opened.ok()) << opened.error().Name();
  EXPECT_EQ(TextOf(opened->get()), "text");
}

TEST_F(ReopenTest, OfAnotherFileIsESTALE) {
  const OwnedDescriptor kept = Open(O_RDWR);
  const FileOrigin origin = *OriginOf(kept.get());
  ASSERT_EQ(unlink(PathOf("file").c_str()), 0);
  EXPECT_EQ(Reopen(origin, PathOf("file")).error(), Errno(ENOENT));
  Make("file");
  EXPECT_EQ(Reopen(origin, PathOf("file")).error(), Errno(ESTALE));
  FileOrigin elsewhere = *OriginOf(Open(O_RDWR).get());
  ++elsewhere.device;  // the same number on another file system
  EXPECT_EQ(Reopen(elsewhere, PathOf("file")).error(), Errno(ESTALE));
}

// Nobody opens the other end; were it waited for, the test would hang.
TEST_F(ReopenTest, DoesNotWaitForWhatIsThereNow) {
  const FileOrigin origin = OriginFor(O_RDONLY);
  ASSERT_EQ(mkfifo(PathOf("fifo").c_str(), 0600), 0);
  EXPECT_EQ(Reopen(origin, PathOf("fifo")).error(), Errno(ESTALE));
}

TEST_F(ReopenTest, IsForReadingWhereNoMoreIsAllowed) {
  const FileOrigin origin = OriginFor(O_RDWR | O_DSYNC);
  ASSERT_EQ(chmod(PathOf("file").c_str(), 0400), 0);
  test_support::RunInChild({.drop_privilege = true}, [&] {
    ASSERT_LT(Open(O_RDWR).get(), 0);
    const Result<OwnedDescriptor> opened = Reopen(origin, PathOf("file"));
    ASSERT_TRUE(opened.ok()) << opened.error().Name();
    EXPECT_EQ(FlagsOf(opened->get()), O_RDONLY | O_DSYNC);
    EXPECT_EQ(TextOf(opened->get()), "text");
  });
}

TEST(ReopenOnADiskForReading, IsForReading) {
  test_support::OnSmallDisk(
      test_support::DiskKind::kTmpfs, [](const test_support::SmallDisk& disk) {
        const std::string path = disk.directory() + "/file";
        std::ofstream(path) << "text";
        const FileOrigin origin =
            *OriginOf(OwnedDescriptor(open(path.c_str(), O_RDWR | O_CLOEXEC)).get());
        if (mount(nullptr, disk.directory().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) !=
            0) {
          GTEST_SKIP() << "it cannot be mounted for reading: " << Errno::Last().Name();
        }
        const Result<OwnedDescriptor> opened = Reopen(origin, path);
        ASSERT_TRUE(opened.ok()) << opened.error().Name();
        EXPECT_EQ(FlagsOf(opened->get()), O_RDONLY);
        EXPECT_EQ(TextOf(opened->get()), "text");
      });
}

TEST_F(ReopenTest, SaysWhyNothingIsAllowed) {
  const FileOrigin origin = OriginFor(O_RDWR);
  ASSERT_EQ(chmod(PathOf("file").c_str(), 0), 0);
  test_support::RunInChild({.drop_privilege = true}, [&] {
    EXPECT_EQ(Reopen(origin, PathOf("file")).error(), Errno(EACCES));
  });
}

}  // namespace
}  // namespace os
