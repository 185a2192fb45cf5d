#include "os/memory_object.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "os/memory.h"
#include "os/shared_mapping.h"
#include "tests/support/child.h"

namespace os {
namespace {

const auto kPage = static_cast<size_t>(sysconf(_SC_PAGESIZE));

MemoryObject Make(size_t pages = 4) {
  Result<MemoryObject> object = MemoryObject::Create("test", pages * kPage);
  EXPECT_TRUE(object.ok()) << object.error().Name();
  return *std::move(object);
}

char* Mapped(int descriptor, size_t pages = 1, View view = View::kReadWrite) {
  const Result<void*> mapped = MapShared(descriptor, 0, pages * kPage, view);
  EXPECT_TRUE(mapped.ok()) << mapped.error().Name();
  return mapped.ok() ? static_cast<char*>(*mapped) : nullptr;
}

Errno MapError(int descriptor, View view) {
  const Result<void*> mapped = MapShared(descriptor, 0, kPage, view);
  if (mapped.ok()) (void)UnmapShared(*mapped, kPage);
  return mapped.error();
}

Errno WriteError(int descriptor) {
  return pwrite(descriptor, "x", 1, 0) == 1 ? kSuccess : Errno::Last();
}

Errno TruncateError(int descriptor, size_t bytes) {
  return ftruncate(descriptor, static_cast<off_t>(bytes)) == 0 ? kSuccess : Errno::Last();
}

OwnedDescriptor OpenAnew(int descriptor, int flags) {
  const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  return OwnedDescriptor(open(path.c_str(), flags | O_CLOEXEC));
}

bool IsClosedOnExec(int descriptor) { return (fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0; }

// What a call returns where there can be no more descriptors.
Errno WithoutDescriptors(const std::function<Errno()>& call) {
  rlimit before{};
  EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const Errno error = call();
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  return error;
}

// --- What it is

TEST(MemoryObject, IsZerosThatNeedMemoryOnceTheyAreTouched) {
  const MemoryObject object = Make(64);
  EXPECT_EQ(object.bytes(), 64 * kPage);
  struct stat status;
  ASSERT_EQ(fstat(object.descriptor(), &status), 0);
  EXPECT_EQ(status.st_size, static_cast<off_t>(64 * kPage));
  EXPECT_EQ(status.st_blocks, 0);
  std::string bytes(3, 'x');
  ASSERT_EQ(pread(object.descriptor(), bytes.data(), 3, static_cast<off_t>(63 * kPage)), 3);
  EXPECT_EQ(bytes, std::string(3, '\0'));
  ASSERT_EQ(WriteError(object.descriptor()), kSuccess);
  ASSERT_EQ(fstat(object.descriptor(), &status), 0);
  EXPECT_GT(status.st_blocks, 0);
}

TEST(MemoryObject, MayBeOpenedForWritingByItsOwnerAlone) {
  const MemoryObject object = Make();
  struct stat status;
  ASSERT_EQ(fstat(object.descriptor(), &status), 0);
  EXPECT_EQ(status.st_mode, static_cast<mode_t>(S_IFREG | 0644));
  EXPECT_EQ(status.st_uid, geteuid());
  EXPECT_TRUE(IsClosedOnExec(object.descriptor()));
}

TEST(MemoryObject, HasItsNameInTheListOfMappings) {
  const MemoryObject object = *MemoryObject::Create("a name", kPage);
  char* const mapped = Mapped(object.descriptor());
  std::ifstream maps("/proc/self/maps");
  bool found = false;
  for (std::string line; std::getline(maps, line);) {
    found = found || line.find("memfd:a name") != std::string::npos;
  }
  EXPECT_TRUE(found);
  EXPECT_EQ(UnmapShared(mapped, kPage), kSuccess);
}

TEST(MemoryObject, NeitherShrinksNorGrows) {
  const MemoryObject object = Make();
  EXPECT_EQ(TruncateError(object.descriptor(), kPage), Errno(EPERM));
  EXPECT_EQ(TruncateError(object.descriptor(), 5 * kPage), Errno(EPERM));
  EXPECT_EQ(TruncateError(object.descriptor(), 4 * kPage), kSuccess) << "it is no change";
  EXPECT_LT(pwrite(object.descriptor(), "x", 1, static_cast<off_t>(4 * kPage)), 0);
}

TEST(MemoryObject, TakesBytesWithoutAMapping) {
  const MemoryObject object = Make();
  const std::string bytes(kPage + 2, 'x');
  ASSERT_EQ(object.Write(kPage - 1, bytes.data(), bytes.size()), kSuccess);
  std::string whole(4 * kPage, '?');
  ASSERT_EQ(pread(object.descriptor(), whole.data(), whole.size(), 0),
            static_cast<ssize_t>(whole.size()));
  EXPECT_EQ(whole, std::string(kPage - 1, '\0') + bytes + std::string(2 * kPage - 1, '\0'));
  EXPECT_EQ(object.Write(4 * kPage, bytes.data(), 0), kSuccess);
}

TEST(MemoryObject, TakesNothingBeyondItsEnd) {
  const MemoryObject object = Make();
  const std::string bytes(2 * kPage, 'x');
  EXPECT_EQ(object.Write(3 * kPage, bytes.data(), kPage + 1), Errno(EINVAL));
  EXPECT_EQ(object.Write(UINT64_MAX, bytes.data(), kPage), Errno(EINVAL));
  EXPECT_EQ(object.Write(4 * kPage + 1, bytes.data(), 0), Errno(EINVAL));
  struct stat status;
  ASSERT_EQ(fstat(object.descriptor(), &status), 0);
  EXPECT_EQ(status.st_blocks, 0) << "a part was written";
}

TEST(MemoryObject, TakesNothingThatCannotBeRead) {
  const MemoryObject object = Make();
  const Result<void*> hole = MapPrivate(kPage);
  ASSERT_TRUE(hole.ok());
  ASSERT_EQ(mprotect(*hole, kPage, PROT_NONE), 0);
  EXPECT_EQ(object.Write(0, *hole, kPage), Errno(EFAULT));
  EXPECT_EQ(UnmapShared(*hole, kPage), kSuccess);
}

TEST(MemoryObject, OutlivesItsDescriptorInAMapping) {
  char* mapped = nullptr;
  {
    const MemoryObject object = Make();
    mapped = Mapped(object.descriptor(), 4);
  }
  std::memset(mapped, 'x', 4 * kPage);
  EXPECT_EQ(mapped[4 * kPage - 1], 'x');
  EXPECT_EQ(UnmapShared(mapped, 4 * kPage), kSuccess);
}

TEST(MemoryObject, CannotBeOfAnyLength) {
  constexpr uint64_t kMost = static_cast<uint64_t>(std::numeric_limits<off_t>::max());
  EXPECT_EQ(MemoryObject::Create("test", kMost + 1).error(), Errno(EFBIG));
  EXPECT_EQ(MemoryObject::Create("test", UINT64_MAX).error(), Errno(EFBIG));
  EXPECT_EQ(MemoryObject::Create("test", uint64_t{1} << 50).error(), kSuccess);
  EXPECT_EQ(MemoryObject::Create("test", 0).error(), kSuccess);
  EXPECT_EQ(MemoryObject::Create(std::string(249, 'n').c_str(), kPage).error(), kSuccess);
  EXPECT_EQ(MemoryObject::Create(std::string(250, 'n').c_str(), kPage).error(), Errno(EINVAL));
}

// The kernel would end the process.
TEST(MemoryObject, StaysBelowTheLimitOnFiles) {
  test_support::RunInChild([] {
    const rlimit limit{4 * kPage, 4 * kPage};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    EXPECT_EQ(MemoryObject::Create("test", 4 * kPage).error(), kSuccess);
    EXPECT_EQ(MemoryObject::Create("test", 5 * kPage).error(), Errno(EFBIG));
  });
  test_support::RunInChild([] {
    const MemoryObject object = Make();
    const rlimit limit{kPage, kPage};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    EXPECT_EQ(object.Write(kPage - 1, "x", 1), kSuccess);
    EXPECT_EQ(object.Write(kPage - 1, "xx", 2), Errno(EFBIG));
  });
}

TEST(MemoryObject, NeedsADescriptor) {
  EXPECT_EQ(WithoutDescriptors([] { return MemoryObject::Create("test", kPage).error(); }),
            Errno(EMFILE));
}

// --- Who may write

TEST(RefuseNewWriters, LeavesMappingsAndTheirCopiesWritable) {
  const MemoryObject object = Make();
  char* const before = Mapped(object.descriptor());
  ASSERT_EQ(object.RefuseNewWriters(), kSuccess);
  *before = 'x';
  const Result<void*> copy = Duplicate(before, kPage);
  ASSERT_TRUE(copy.ok()) << copy.error().Name();
  EXPECT_EQ(*static_cast<char*>(*copy), 'x');
  *static_cast<char*>(*copy) = 'y';
  EXPECT_EQ(*before, 'y');
  test_support::RunInChild([&] { *before = 'z'; });
  EXPECT_EQ(*static_cast<char*>(*copy), 'z') << "nor is a forked child's";
  EXPECT_EQ(UnmapShared(before, kPage), kSuccess);
  EXPECT_EQ(UnmapShared(*copy, kPage), kSuccess);
}

TEST(RefuseNewWriters, RefusesWritableMappingsAndWrites) {
  const MemoryObject object = Make();
  ASSERT_EQ(MapError(object.descriptor(), View::kReadWrite), kSuccess);
  ASSERT_EQ(WriteError(object.descriptor()), kSuccess);
  ASSERT_EQ(object.RefuseNewWriters(), kSuccess);
  EXPECT_EQ(MapError(object.descriptor(), View::kReadWrite), Errno(EPERM));
  EXPECT_EQ(WriteError(object.descriptor()), Errno(EPERM));
  EXPECT_EQ(object.Write(0, "x", 1), Errno(EPERM));
  char* const view = Mapped(object.descriptor(), 1, View::kReadOnly);
  EXPECT_EQ(*view, 'x');
  EXPECT_NE(mprotect(view, kPage, PROT_READ | PROT_WRITE), 0) << "it can be made writable";
  EXPECT_EQ(UnmapShared(view, kPage), kSuccess);
}

// Its owner may open it for writing, by the mode: that does not help him.
TEST(RefuseNewWriters, RefusesWhoOpensItAnew) {
  const MemoryObject object = Make();
  const OwnedDescriptor early = OpenAnew(object.descriptor(), O_RDWR);
  ASSERT_EQ(WriteError(early.get()), kSuccess);
  ASSERT_EQ(object.RefuseNewWriters(), kSuccess);
  const OwnedDescriptor late = OpenAnew(object.descriptor(), O_RDWR);
  for (const int descriptor : {early.get(), late.get()}) {
    EXPECT_EQ(WriteError(descriptor), Errno(EPERM));
    EXPECT_EQ(MapError(descriptor, View::kReadWrite), Errno(EPERM));
    EXPECT_EQ(MapError(descriptor, View::kReadOnly), kSuccess);
  }
}

TEST(Seal, LetsNothingBeRefusedAnyMore) {
  const MemoryObject object = Make();
  ASSERT_EQ(object.Seal(), kSuccess);
  EXPECT_EQ(object.RefuseNewWriters(), Errno(EPERM));
  EXPECT_EQ(fcntl(object.descriptor(), F_ADD_SEALS, F_SEAL_WRITE), -1);
  EXPECT_EQ(object.Seal(), Errno(EPERM));
  EXPECT_EQ(MapError(object.descriptor(), View::kReadWrite), kSuccess);
  EXPECT_EQ(WriteError(object.descriptor()), kSuccess);
}

TEST(Seal, KeepsWhatWasRefused) {
  const MemoryObject object = Make();
  ASSERT_EQ(object.RefuseNewWriters(), kSuccess);
  ASSERT_EQ(object.Seal(), kSuccess);
  EXPECT_EQ(MapError(object.descriptor(), View::kReadWrite), Errno(EPERM));
}

// --- For reading

TEST(ReopenForReading, GivesTheSameFile) {
  const MemoryObject object = Make();
  ASSERT_EQ(WriteError(object.descriptor()), kSuccess);
  const Result<OwnedDescriptor> reader = ReopenForReading(object.descriptor());
  ASSERT_TRUE(reader.ok()) << reader.error().Name();
  EXPECT_EQ(*FileNumberOf(reader->get()), *FileNumberOf(object.descriptor()));
  EXPECT_TRUE(IsClosedOnExec(reader->get()));
  char* const view = Mapped(reader->get(), 1, View::kReadOnly);
  EXPECT_EQ(*view, 'x');
  EXPECT_EQ(UnmapShared(view, kPage), kSuccess);
}

TEST(ReopenForReading, AllowsNoWriting) {
  const MemoryObject object = Make();
  const Result<OwnedDescriptor> reader = ReopenForReading(object.descriptor());
  ASSERT_TRUE(reader.ok()) << reader.error().Name();
  EXPECT_EQ(MapError(reader->get(), View::kReadWrite), Errno(EACCES));
  EXPECT_EQ(WriteError(reader->get()), Errno(EBADF));
  EXPECT_EQ(fcntl(reader->get(), F_ADD_SEALS, F_SEAL_SEAL), -1);
  char* const view = Mapped(reader->get(), 1, View::kReadOnly);
  EXPECT_EQ(mprotect(view, kPage, PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(errno, EACCES);
  const Result<void*> copy = Duplicate(view, kPage);
  ASSERT_TRUE(copy.ok()) << copy.error().Name();
  EXPECT_EQ(mprotect(*copy, kPage, PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(UnmapShared(*copy, kPage), kSuccess);
  EXPECT_EQ(UnmapShared(view, kPage), kSuccess);
}

TEST(ReopenForReading, NeedsAnOpenDescriptor) {
  const int closed = OwnedDescriptor(memfd_create("closed", MFD_CLOEXEC)).get();
  EXPECT_EQ(ReopenForReading(closed).error(), Errno(EBADF));
  EXPECT_EQ(ReopenForReading(-1).error(), Errno(EBADF));
}

TEST(ReopenForReading, IsForWhomTheModeAllowsIt) {
  const MemoryObject object = Make();
  ASSERT_EQ(fchmod(object.descriptor(), 0), 0);
  test_support::RunInChild({.drop_privilege = true}, [&] {
    EXPECT_EQ(ReopenForReading(object.descriptor()).error(), Errno(EACCES));
  });
}

// Its state is the letter behind the program's name, of proc(5).
bool MainThreadHasEnded() {
  std::ifstream file("/proc/self/stat");
  const std::string text(std::istreambuf_iterator<char>(file), {});
  return text.substr(text.rfind(')') + 2, 1) == "Z";
}

// /proc/self would be empty then.
TEST(ReopenForReading, DoesNotNeedTheMainThread) {
  const pid_t child = fork();
  if (child == 0) {
    (void)alarm(60);
    std::thread([] {
      while (!MainThreadHasEnded()) std::this_thread::yield();
      const MemoryObject object = Make();
      const bool done = ReopenForReading(object.descriptor()).ok() &&
                        FindOpenDescriptor(*FileNumberOf(object.descriptor())).ok();
      syscall(SYS_exit_group, done ? 0 : 1);
    }).detach();
    syscall(SYS_exit, 0);  // of this thread alone, as pthread_exit(3), which would unwind the test
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// --- The file of a descriptor

TEST(FileNumberOf, TellsFilesApart) {
  const MemoryObject first = Make(), second = Make();
  const FileNumber number = *FileNumberOf(first.descriptor());
  EXPECT_EQ(number, *FileNumberOf(first.descriptor()));
  EXPECT_NE(number, *FileNumberOf(second.descriptor()));
  EXPECT_EQ(FileNumberOf(-1).error(), Errno(EBADF));
  struct stat status;
  ASSERT_EQ(fstat(first.descriptor(), &status), 0);
  EXPECT_EQ(number, (FileNumber{.device = status.st_dev, .inode = status.st_ino}));
}

TEST(FileNumberOf, WhatIsMappedIsThatOfItsFile) {
  const MemoryObject object = Make();
  char* const mapped = Mapped(object.descriptor());
  const auto page = PageNumber(reinterpret_cast<uintptr_t>(mapped) / kPage);
  const Result<std::optional<Mapping>> mapping = RealMemory().MappingAt(page);
  ASSERT_TRUE(mapping.ok() && mapping->has_value());
  EXPECT_EQ(FileNumberOf((*mapping)->file), *FileNumberOf(object.descriptor()));
  EXPECT_EQ(UnmapShared(mapped, kPage), kSuccess);
}

TEST(IsFixedObject, IsOfAnObjectWithThatManyBytesThatCannotShrink) {
  const MemoryObject object = Make(2);
  EXPECT_TRUE(IsFixedObject(object.descriptor(), 2 * kPage));
  EXPECT_FALSE(IsFixedObject(object.descriptor(), 2 * kPage + 1));
  const OwnedDescriptor unsealed(memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(unsealed.get(), static_cast<off_t>(2 * kPage)), 0);
  EXPECT_FALSE(IsFixedObject(unsealed.get(), kPage));
  const Result<OwnedDescriptor> file = OpenForReading("/proc/self/exe");
  EXPECT_FALSE(IsFixedObject(file->get(), 0));
  EXPECT_FALSE(IsFixedObject(-1, 0));
}

TEST(FindOpenDescriptor, GivesANewOne) {
  const MemoryObject object = Make();
  const Result<OwnedDescriptor> found = FindOpenDescriptor(*FileNumberOf(object.descriptor()));
  ASSERT_TRUE(found.ok()) << found.error().Name();
  EXPECT_NE(found->get(), object.descriptor());
  EXPECT_EQ(*FileNumberOf(found->get()), *FileNumberOf(object.descriptor()));
  EXPECT_TRUE(IsClosedOnExec(found->get()));
  EXPECT_EQ(MapError(found->get(), View::kReadWrite), kSuccess);
}

TEST(FindOpenDescriptor, PrefersOneThatIsWritable) {
  // The descriptors for reading have lower numbers and higher ones.
  const OwnedDescriptor low(memfd_create("low", MFD_CLOEXEC));
  const MemoryObject object = Make();
  const Result<OwnedDescriptor> high = ReopenForReading(object.descriptor());
  ASSERT_TRUE(high.ok());
  ASSERT_EQ(dup3(high->get(), low.get(), O_CLOEXEC), low.get());
  const FileNumber file = *FileNumberOf(object.descriptor());
  const Result<OwnedDescriptor> found = FindOpenDescriptor(file);
  ASSERT_TRUE(found.ok()) << found.error().Name();
  EXPECT_EQ(MapError(found->get(), View::kReadWrite), kSuccess);
}

TEST(FindOpenDescriptor, TakesOneForReadingWhereThereIsNoOther) {
  OwnedDescriptor reader;
  FileNumber file;
  {
    const MemoryObject object = Make();
    file = *FileNumberOf(object.descriptor());
    reader = *ReopenForReading(object.descriptor());
  }
  // Nor can it be read by these.
  const OwnedDescriptor writer = OpenAnew(reader.get(), O_WRONLY);
  const OwnedDescriptor path = OpenAnew(reader.get(), O_PATH);
  const Result<OwnedDescriptor> found = FindOpenDescriptor(file);
  ASSERT_TRUE(found.ok()) << found.error().Name();
  EXPECT_EQ(MapError(found->get(), View::kReadOnly), kSuccess);
  EXPECT_EQ(MapError(found->get(), View::kReadWrite), Errno(EACCES));
}

TEST(FindOpenDescriptor, OfAFileThatNobodyHasOpenIsENOENT) {
  FileNumber file;
  char* mapped = nullptr;
  OwnedDescriptor path;
  {
    const MemoryObject object = Make();
    file = *FileNumberOf(object.descriptor());
    mapped = Mapped(object.descriptor());
    path = OpenAnew(object.descriptor(), O_PATH);
  }
  EXPECT_EQ(FindOpenDescriptor(file).error(), Errno(ENOENT)) << "mapped is not open, nor is a path";
  EXPECT_EQ(UnmapShared(mapped, kPage), kSuccess);
  const MemoryObject other = Make();
  FileNumber elsewhere = *FileNumberOf(other.descriptor());
  ++elsewhere.device;  // the same number on another file system
  EXPECT_EQ(FindOpenDescriptor(elsewhere).error(), Errno(ENOENT));
}

TEST(FindOpenDescriptor, NeedsADescriptor) {
  const MemoryObject object = Make();
  const FileNumber file = *FileNumberOf(object.descriptor());
  EXPECT_EQ(WithoutDescriptors([&] { return FindOpenDescriptor(file).error(); }), Errno(EMFILE));
}

}  // namespace
}  // namespace os
