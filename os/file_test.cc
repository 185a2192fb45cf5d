// What only descriptors do: their kinds, their errors, their lives.

#include "os/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <set>
#include <string>

#include "tests/support/child.h"

namespace os {
namespace {

// A directory of its own for a test, empty at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    const char* parent = std::getenv("TEST_TMPDIR");
    path_ = std::string(parent != nullptr ? parent : "/tmp") + "/file_test.XXXXXX";
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    for (const std::string& name : Names()) (void)unlink((path_ + "/" + name).c_str());
    EXPECT_EQ(rmdir(path_.c_str()), 0);
  }

  const std::string& path() const { return path_; }
  OwnedDescriptor Open(const std::string& name, int flags) const {
    const int descriptor = open((path_ + "/" + name).c_str(), flags | O_CLOEXEC, 0600);
    EXPECT_GE(descriptor, 0) << Errno::Last().Name();
    return OwnedDescriptor(descriptor);
  }
  std::set<std::string> Names() const {
    std::set<std::string> names;
    DIR* directory = opendir(path_.c_str());
    if (directory == nullptr) return names;
    while (const dirent* entry = readdir(directory)) names.insert(entry->d_name);
    (void)closedir(directory);
    names.erase(".");
    names.erase("..");
    return names;
  }

 private:
  std::string path_;
};

Errno Write(File& file, const std::string& text, uint64_t offset) {
  const std::array buffers = {std::as_bytes(std::span(text))};
  return file.WriteAt(buffers, offset);
}

Errno Read(File& file) {
  std::array<std::byte, 4> buffer;
  const Result<size_t> bytes = file.ReadAt(buffer, 0);
  return bytes.error();
}

bool IsOpen(int descriptor) { return fcntl(descriptor, F_GETFD) >= 0; }

TEST(DescriptorFile, DoesNotMoveTheFilePosition) {
  const TemporaryDirectory directory;
  const OwnedDescriptor descriptor = directory.Open("f", O_RDWR | O_CREAT);
  const auto file = BorrowFile(descriptor.get());
  ASSERT_EQ(Write(*file, "0123456789", 0), kSuccess);
  EXPECT_EQ(Read(*file), kSuccess);
  EXPECT_EQ(lseek(descriptor.get(), 0, SEEK_CUR), 0);
}

TEST(DescriptorFile, OnlyBorrowsItsDescriptor) {
  const TemporaryDirectory directory;
  const OwnedDescriptor descriptor = directory.Open("f", O_RDWR | O_CREAT);
  BorrowFile(descriptor.get()).reset();
  EXPECT_TRUE(IsOpen(descriptor.get()));
}

TEST(DescriptorFile, OfAPipeCannotBePositioned) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const OwnedDescriptor reading(ends[0]), writing(ends[1]);
  EXPECT_EQ(Read(*BorrowFile(reading.get())), Errno(ESPIPE));
  EXPECT_EQ(Write(*BorrowFile(writing.get()), "x", 0), Errno(ESPIPE));
  EXPECT_EQ(BorrowFile(writing.get())->Sync(), Errno(EINVAL));
}

TEST(DescriptorFile, OfADirectoryCannotBeRead) {
  const TemporaryDirectory directory;
  const Result<OwnedDescriptor> descriptor = OpenForReading(directory.path());
  ASSERT_TRUE(descriptor.ok());
  EXPECT_EQ(Read(*BorrowFile(descriptor->get())), Errno(EISDIR));
  EXPECT_EQ(Write(*BorrowFile(descriptor->get()), "x", 0), Errno(EBADF));
}

TEST(DescriptorFile, RefusesTheOtherDirection) {
  const TemporaryDirectory directory;
  const OwnedDescriptor writing = directory.Open("f", O_WRONLY | O_CREAT);
  EXPECT_EQ(Read(*BorrowFile(writing.get())), Errno(EBADF));
  const OwnedDescriptor reading = directory.Open("f", O_RDONLY);
  EXPECT_EQ(Write(*BorrowFile(reading.get()), "x", 0), Errno(EBADF));
}

TEST(DescriptorFile, OfNoDescriptorFails) {
  const auto file = BorrowFile(-1);
  EXPECT_EQ(file->Size().error(), Errno(EBADF));
  EXPECT_EQ(Read(*file), Errno(EBADF));
  EXPECT_EQ(Write(*file, "x", 0), Errno(EBADF));
  EXPECT_EQ(file->Sync(), Errno(EBADF));
}

TEST(DescriptorFile, ReportsAFullDevice) {
  const OwnedDescriptor full(open("/dev/full", O_RDWR | O_CLOEXEC));
  if (full.get() < 0) GTEST_SKIP() << "no /dev/full: " << Errno::Last().Name();
  EXPECT_EQ(Write(*BorrowFile(full.get()), "x", 0), Errno(ENOSPC));
}

// A limit on the size of files makes the kernel write a part, and refuse the rest.
TEST(DescriptorFile, APartMayBeWrittenBeforeAnError) {
  const TemporaryDirectory directory;
  const OwnedDescriptor descriptor = directory.Open("f", O_RDWR | O_CREAT);
  const auto file = BorrowFile(descriptor.get());
  test_support::RunInChild([&] {
    const rlimit limit{10, 10};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0) << Errno::Last().Name();
    (void)std::signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(Write(*file, "0123456789abc", 0), Errno(EFBIG));
  });
  EXPECT_EQ(*file->Size(), 10u);
}

TEST(TraitsOf, TellsTheAccess) {
  const TemporaryDirectory directory;
  for (const auto& [flags, readable, writable] :
       {std::tuple(O_RDONLY, true, false), std::tuple(O_WRONLY, false, true),
        std::tuple(O_RDWR, true, true)}) {
    const Result<DescriptorTraits> traits = TraitsOf(directory.Open("f", flags | O_CREAT).get());
    ASSERT_TRUE(traits.ok());
    EXPECT_TRUE(traits->regular_file);
    EXPECT_EQ(traits->readable, readable);
    EXPECT_EQ(traits->writable, writable);
    EXPECT_FALSE(traits->append_only);
  }
  const Result<DescriptorTraits> path = TraitsOf(directory.Open("f", O_PATH).get());
  ASSERT_TRUE(path.ok());
  EXPECT_FALSE(path->readable || path->writable);
}

TEST(TraitsOf, TellsAppendOnly) {
  const TemporaryDirectory directory;
  const OwnedDescriptor descriptor = directory.Open("f", O_RDWR | O_CREAT | O_APPEND);
  EXPECT_TRUE(TraitsOf(descriptor.get())->append_only);
  // Why it matters: the offset is not obeyed.
  const auto file = BorrowFile(descriptor.get());
  ASSERT_EQ(Write(*file, "0123", 0), kSuccess);
  ASSERT_EQ(Write(*file, "45", 0), kSuccess);
  EXPECT_EQ(*file->Size(), 6u);
}

TEST(TraitsOf, TellsWhatIsNotAFile) {
  const TemporaryDirectory directory;
  const Result<OwnedDescriptor> opened = OpenForReading(directory.path());
  EXPECT_FALSE(TraitsOf(opened->get())->regular_file);
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const OwnedDescriptor reading(ends[0]), writing(ends[1]);
  EXPECT_FALSE(TraitsOf(reading.get())->regular_file);
  EXPECT_TRUE(TraitsOf(reading.get())->readable);
  EXPECT_FALSE(TraitsOf(reading.get())->writable);
}

TEST(TraitsOf, NeedsAnOpenDescriptor) {
  EXPECT_EQ(TraitsOf(-1).error(), Errno(EBADF));
  int closed = -1;
  {
    const TemporaryDirectory directory;
    const OwnedDescriptor descriptor = directory.Open("f", O_RDWR | O_CREAT);
    closed = descriptor.get();
  }
  EXPECT_EQ(TraitsOf(closed).error(), Errno(EBADF));
}

TEST(OwnedDescriptor, IsClosedOnce) {
  const TemporaryDirectory directory;
  OwnedDescriptor first = directory.Open("f", O_RDWR | O_CREAT);
  const int descriptor = first.get();
  {
    OwnedDescriptor second = std::move(first);
    EXPECT_EQ(second.get(), descriptor);
    OwnedDescriptor third;
    EXPECT_EQ(third.get(), -1);
    third = std::move(second);
    EXPECT_EQ(third.get(), descriptor);
    EXPECT_TRUE(IsOpen(descriptor));
  }
  EXPECT_FALSE(IsOpen(descriptor));
}

TEST(OpenForReading, SaysWhyNot) {
  const TemporaryDirectory directory;
  EXPECT_EQ(OpenForReading(directory.path() + "/none").error(), Errno(ENOENT));
  (void)directory.Open("f", O_RDWR | O_CREAT);
  const Result<OwnedDescriptor> opened = OpenForReading(directory.path() + "/f");
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(fcntl(opened->get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(CreateUnnamedFile, LeavesNoName) {
  const TemporaryDirectory directory;
  const Result<OwnedDescriptor> created = CreateUnnamedFile(directory.path());
  ASSERT_TRUE(created.ok()) << created.error().Name();
  EXPECT_EQ(directory.Names(), std::set<std::string>());
  struct stat status;
  ASSERT_EQ(fstat(created->get(), &status), 0);
  EXPECT_EQ(status.st_nlink, 0u);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  const Result<DescriptorTraits> traits = TraitsOf(created->get());
  EXPECT_TRUE(traits->regular_file && traits->readable && traits->writable);
  EXPECT_EQ(fcntl(created->get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(CreateUnnamedFile, NeedsADirectory) {
  const TemporaryDirectory directory;
  EXPECT_EQ(CreateUnnamedFile(directory.path() + "/none").error(), Errno(ENOENT));
  (void)directory.Open("f", O_RDWR | O_CREAT);
  EXPECT_EQ(CreateUnnamedFile(directory.path() + "/f").error(), Errno(ENOTDIR));
}

TEST(IsInMemory, KnowsItsFileSystems) {
  const OwnedDescriptor memory(memfd_create("file_test", MFD_CLOEXEC));
  EXPECT_TRUE(IsInMemory(memory.get()));
  const Result<OwnedDescriptor> proc = OpenForReading("/proc/self/status");
  EXPECT_FALSE(IsInMemory(proc->get()));
  EXPECT_FALSE(IsInMemory(-1));
}

TEST(MapFile, ShowsTheFile) {
  const TemporaryDirectory directory;
  const OwnedDescriptor descriptor = directory.Open("f", O_RDWR | O_CREAT);
  const auto file = BorrowFile(descriptor.get());
  ASSERT_EQ(Write(*file, "0123456789", 0), kSuccess);
  const Result<std::span<const std::byte>> view = MapFile(descriptor.get(), 10);
  ASSERT_TRUE(view.ok());
  ASSERT_EQ(view->size(), 10u);
  EXPECT_EQ((*view)[9], std::byte{'9'});
  ASSERT_EQ(Write(*file, "x", 9), kSuccess);
  EXPECT_EQ((*view)[9], std::byte{'x'});
  EXPECT_EQ(munmap(const_cast<std::byte*>(view->data()), view->size()), 0);
}

TEST(MapFile, SaysWhyNot) {
  const TemporaryDirectory directory;
  const OwnedDescriptor writing = directory.Open("f", O_WRONLY | O_CREAT);
  EXPECT_EQ(MapFile(writing.get(), 1).error(), Errno(EACCES));
  EXPECT_EQ(MapFile(directory.Open("f", O_RDONLY).get(), 0).error(), Errno(EINVAL));
  EXPECT_EQ(MapFile(-1, 1).error(), Errno(EBADF));
}

}  // namespace
}  // namespace os
