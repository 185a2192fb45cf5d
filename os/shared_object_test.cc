// Names, bytes and mappings; for the locks see shared_object_lock_test.cc.

#include "os/shared_object.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/child.h"
#include "tests/support/forbid_syscalls.h"
#include "tests/support/small_disk.h"

namespace {
// How often fallocate(2) answers EINTR to a thread that does not block signals.
int interruptions = 0;
}  // namespace

// The C library's, or a kernel's before Linux 6.11 in a process that gets signals all the time.
extern "C" int fallocate(int file, int mode, off_t offset, off_t bytes) {
  sigset_t blocked;
  if (interruptions > 0 && pthread_sigmask(SIG_SETMASK, nullptr, &blocked) == 0 &&
      sigismember(&blocked, SIGALRM) == 0) {
    --interruptions;
    errno = EINTR;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fallocate, file, mode, offset, bytes));
}

namespace os {
namespace {

using test_support::DiskKind;
using test_support::OnSmallDisk;
using test_support::RunInChild;
using test_support::SmallDisk;

const auto kPage = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));

// A folder of its own for each test, with the name "object" for what it makes.
class SharedObjectTest : public testing::Test {
 protected:
  SharedObjectTest() : folder_(testing::TempDir() + "/shared_object_test.XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr) << Errno::Last().Name();
  }
  ~SharedObjectTest() override {
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
    EXPECT_FALSE(error) << error.message();
  }

  const std::string& folder() const { return folder_; }
  std::string PathOf(const std::string& name) const { return folder_ + "/" + name; }

  SharedObject Make(const std::string& name = "object") const {
    return *SharedObject::Create(folder_, name);
  }
  // The same object once more, with locks of its own.
  SharedObject Again(const std::string& name = "object") const {
    return *SharedObject::Open(folder_, name);
  }
  Errno OpenError(const std::string& name = "object") const {
    return SharedObject::Open(folder_, name).error();
  }
  std::vector<std::string> Names(const std::string& prefix) const {
    std::vector<std::string> names = *SharedObject::List(folder_, prefix);
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::string folder_;
};

Errno Write(const SharedObject& object, std::string_view text, uint64_t offset) {
  const ssize_t bytes =
      pwrite(object.descriptor(), text.data(), text.size(), static_cast<off_t>(offset));
  return bytes == static_cast<ssize_t>(text.size()) ? kSuccess : Errno::Last();
}

std::string Read(const SharedObject& object, uint64_t offset, size_t bytes) {
  std::string text(bytes, '?');
  const Result<size_t> length = object.Read(offset, text.data(), bytes);
  if (!length.ok()) return length.error().Name();
  text.resize(*length);
  return text;
}

// --- The name

using SharedObjectName = SharedObjectTest;

TEST_F(SharedObjectName, IsMadeOnce) {
  const Result<SharedObject> made = SharedObject::Create(folder(), "object");
  ASSERT_TRUE(made.ok()) << made.error().Name();
  EXPECT_EQ(made->name(), "object");
  EXPECT_EQ(*made->Size(), 0u);
  struct stat status;
  ASSERT_EQ(stat(PathOf("object").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode, mode_t{S_IFREG | 0600});
  EXPECT_EQ(status.st_uid, CurrentUser());
  EXPECT_EQ(SharedObject::Create(folder(), "object").error(), Errno(EEXIST));
}

TEST_F(SharedObjectName, LeadsToTheSameObject) {
  const SharedObject made = Make();
  const Result<SharedObject> opened = SharedObject::Open(folder(), "object");
  ASSERT_TRUE(opened.ok()) << opened.error().Name();
  EXPECT_EQ(opened->name(), "object");
  ASSERT_EQ(Write(made, "text", 0), kSuccess);
  EXPECT_EQ(Read(*opened, 0, 4), "text");
  EXPECT_TRUE(made.IsLinked());
  EXPECT_TRUE(opened->IsLinked());
}

TEST_F(SharedObjectName, ThatIsNotThereIsENOENT) {
  EXPECT_EQ(OpenError(), Errno(ENOENT));
  EXPECT_EQ(SharedObject::Open(PathOf("none"), "object").error(), Errno(ENOENT));
  EXPECT_EQ(SharedObject::Create(PathOf("none"), "object").error(), Errno(ENOENT));
}

TEST_F(SharedObjectName, IsOneOfAList) {
  for (const char* name : {"pool.1", "pool.2", "poodle", "another"}) (void)Make(name);
  EXPECT_EQ(Names("pool."), (std::vector<std::string>{"pool.1", "pool.2"}));
  EXPECT_EQ(Names("pool.2"), (std::vector<std::string>{"pool.2"}));
  EXPECT_EQ(Names("nobody"), std::vector<std::string>());
}

TEST_F(SharedObjectName, IsNotListedWhereTheFolderCannotBeRead) {
  (void)Make();
  EXPECT_EQ(SharedObject::List(PathOf("none"), "").error(), Errno(ENOENT));
  EXPECT_EQ(SharedObject::List(PathOf("object"), "").error(), Errno(ENOTDIR));
}

TEST_F(SharedObjectName, IsNotListedInPart) {
  (void)Make();
  RunInChild([&] {
    const long reading[] = {SYS_getdents64};
    test_support::ForbidSyscalls(reading, EIO);
    if (IsSkipped()) return;
    EXPECT_EQ(SharedObject::List(folder(), "o").error(), Errno(EIO));
  });
}

TEST_F(SharedObjectName, IsTakenAwayAndTheObjectStays) {
  const SharedObject object = Make();
  ASSERT_EQ(Write(object, "text", 0), kSuccess);
  EXPECT_EQ(object.Unlink(), kSuccess);
  EXPECT_FALSE(object.IsLinked());
  EXPECT_EQ(OpenError(), Errno(ENOENT));
  EXPECT_EQ(Names("object"), std::vector<std::string>());
  EXPECT_EQ(Read(object, 0, 4), "text");
  EXPECT_EQ(object.Unlink(), Errno(ENOENT));
}

TEST_F(SharedObjectName, ThatLeadsToAnotherFileByNowIsLeftAlone) {
  const SharedObject object = Make();
  ASSERT_EQ(unlink(PathOf("object").c_str()), 0);
  const SharedObject other = Make();
  EXPECT_FALSE(object.IsLinked());
  EXPECT_EQ(object.Unlink(), Errno(ENOENT));
  EXPECT_TRUE(other.IsLinked());
}

TEST_F(SharedObjectName, ThatIsALinkToTheObjectDoesNotLeadThere) {
  const SharedObject object = Make();
  ASSERT_EQ(rename(PathOf("object").c_str(), PathOf("moved").c_str()), 0);
  EXPECT_FALSE(object.IsLinked());
  ASSERT_EQ(symlink("moved", PathOf("object").c_str()), 0);
  EXPECT_FALSE(object.IsLinked());
  EXPECT_EQ(object.Unlink(), Errno(ENOENT));
}

TEST_F(SharedObjectName, IsNotHandedToAnotherProgram) {
  const SharedObject made = Make(), opened = Again();
  EXPECT_EQ(fcntl(made.descriptor(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  EXPECT_EQ(fcntl(opened.descriptor(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

// All of it, where it is meant to be used.
TEST(SharedObjectInMemory, IsMadeFoundListedAndTakenAway) {
  const std::string name = "shared_object_test." + std::to_string(getpid());
  const Result<SharedObject> made = SharedObject::Create("/dev/shm", name);
  if (!made.ok()) GTEST_SKIP() << "nothing can be made in /dev/shm: " << made.error().Name();
  EXPECT_EQ(SharedObject::Create("/dev/shm", name).error(), Errno(EEXIST));
  EXPECT_TRUE(SharedObject::Open("/dev/shm", name).ok());
  EXPECT_EQ(*SharedObject::List("/dev/shm", name), (std::vector<std::string>{name}));
  EXPECT_EQ(made->Resize(16 * kPage), kSuccess);
  EXPECT_EQ(made->Blocks(), 0u);
  EXPECT_EQ(made->Allocate(kPage, 2 * kPage), kSuccess);
  EXPECT_EQ(made->Blocks() * 512, 2 * kPage);
  EXPECT_EQ(made->TryLockByte(0), kSuccess);
  EXPECT_TRUE(SharedObject::Open("/dev/shm", name)->IsLockedElsewhere(0, 1));
  EXPECT_EQ(made->Unlink(), kSuccess);
  EXPECT_EQ(SharedObject::Open("/dev/shm", name).error(), Errno(ENOENT));
}

// --- What is not this user's alone is EACCES.

using SharedObjectRefusal = SharedObjectTest;

TEST_F(SharedObjectRefusal, OfASymbolicLink) {
  (void)Make("target");
  ASSERT_EQ(symlink("target", PathOf("object").c_str()), 0);
  EXPECT_EQ(OpenError(), Errno(EACCES));
  ASSERT_EQ(symlink("nothing", PathOf("dangling").c_str()), 0);
  EXPECT_EQ(OpenError("dangling"), Errno(EACCES));
  EXPECT_EQ(SharedObject::Create(folder(), "dangling").error(), Errno(EEXIST));
}

TEST_F(SharedObjectRefusal, OfAFifo) {
  ASSERT_EQ(mkfifo(PathOf("object").c_str(), 0600), 0) << Errno::Last().Name();
  EXPECT_EQ(OpenError(), Errno(EACCES));
}

TEST_F(SharedObjectRefusal, OfADirectory) {
  ASSERT_EQ(mkdir(PathOf("object").c_str(), 0700), 0);
  EXPECT_EQ(OpenError(), Errno(EACCES));
}

TEST_F(SharedObjectRefusal, OfASocket) {
  const OwnedDescriptor socket_file(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const OwnedDescriptor directory(open(folder().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // Short, wherever the folder is.
  const std::string path = "/proc/self/fd/" + std::to_string(directory.get()) + "/object";
  ASSERT_LT(path.size(), sizeof(address.sun_path));
  std::copy(path.begin(), path.end(), address.sun_path);
  ASSERT_EQ(bind(socket_file.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
            0)
      << Errno::Last().Name();
  EXPECT_EQ(OpenError(), Errno(EACCES));
}

TEST_F(SharedObjectRefusal, OfAFileThatOthersMayOpen) {
  const SharedObject object = Make();
  for (const mode_t mode : {0644u, 0660u, 0640u, 0604u, 0606u, 0610u, 0601u}) {
    ASSERT_EQ(fchmod(object.descriptor(), mode), 0);
    EXPECT_EQ(OpenError(), Errno(EACCES)) << std::oct << mode;
  }
  ASSERT_EQ(fchmod(object.descriptor(), 0600), 0);
  EXPECT_EQ(OpenError(), kSuccess);
}

TEST_F(SharedObjectRefusal, OfAFileOfTwoNames) {
  const SharedObject object = Make();
  ASSERT_EQ(link(PathOf("object").c_str(), PathOf("other").c_str()), 0) << Errno::Last().Name();
  EXPECT_EQ(OpenError("object"), Errno(EACCES));
  EXPECT_EQ(OpenError("other"), Errno(EACCES));
  ASSERT_EQ(unlink(PathOf("other").c_str()), 0);
  EXPECT_EQ(OpenError("object"), kSuccess);
}

// Who may open every file is not asked whose it is by the kernel.
TEST_F(SharedObjectRefusal, OfAnotherUsersFile) {
  const SharedObject object = Make();
  if (fchown(object.descriptor(), CurrentUser() + 1, static_cast<gid_t>(-1)) != 0) {
    GTEST_SKIP() << "only a privileged user can give files away: " << Errno::Last().Name();
  }
  EXPECT_EQ(OpenError(), Errno(EACCES));
  ASSERT_EQ(fchown(object.descriptor(), CurrentUser(), static_cast<gid_t>(-1)), 0);
  EXPECT_EQ(OpenError(), kSuccess);
}

TEST_F(SharedObjectRefusal, WhereThereIsNoDescriptorIsOfThat) {
  (void)Make();
  const std::string where = folder();
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none{0, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  // Nothing else meanwhile: a sanitizer's look at an object may take descriptors.
  const Errno error = SharedObject::Open(where, "object").error();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(error, Errno(EMFILE));
}

// --- Its bytes

using SharedObjectBytes = SharedObjectTest;

TEST_F(SharedObjectBytes, AreZerosWithoutMemoryAtFirst) {
  const SharedObject object = Make();
  EXPECT_EQ(object.Resize(64 * kPage), kSuccess);
  EXPECT_EQ(*object.Size(), 64 * kPage);
  EXPECT_EQ(object.Blocks(), 0u);
  EXPECT_EQ(Read(object, 63 * kPage, 3), std::string(3, '\0'));
}

TEST_F(SharedObjectBytes, AreReadAsFarAsTheyGo) {
  const SharedObject object = Make();
  ASSERT_EQ(Write(object, "0123456789", 0), kSuccess);
  EXPECT_EQ(Read(object, 2, 3), "234");
  EXPECT_EQ(Read(object, 8, 5), "89");
  EXPECT_EQ(Read(object, 10, 5), "");
  EXPECT_EQ(lseek(object.descriptor(), 0, SEEK_CUR), 0);
}

TEST_F(SharedObjectBytes, GetMemoryWhereItIsAskedFor) {
  const SharedObject object = Make();
  ASSERT_EQ(object.Resize(64 * kPage), kSuccess);
  EXPECT_EQ(object.Allocate(16 * kPage, 8 * kPage), kSuccess);
  EXPECT_EQ(*object.Size(), 64 * kPage);
  const uint64_t blocks = object.Blocks();
  EXPECT_GE(blocks * 512, 8 * kPage);
  EXPECT_LT(blocks * 512, 64 * kPage);
  EXPECT_EQ(object.Allocate(16 * kPage, 8 * kPage), kSuccess) << "they have it";
  EXPECT_EQ(object.Blocks(), blocks);
}

TEST_F(SharedObjectBytes, AreGoneOnceThereWereNone) {
  const SharedObject object = Make();
  ASSERT_EQ(object.Resize(8 * kPage), kSuccess);
  ASSERT_EQ(object.Allocate(0, 8 * kPage), kSuccess);
  ASSERT_EQ(Write(object, "text", kPage), kSuccess);
  EXPECT_EQ(object.Resize(0), kSuccess);
  EXPECT_EQ(*object.Size(), 0u);
  EXPECT_EQ(object.Blocks(), 0u);
  EXPECT_EQ(object.Resize(8 * kPage), kSuccess);
  EXPECT_EQ(Read(object, kPage, 4), std::string(4, '\0'));
}

TEST_F(SharedObjectBytes, KeepTheirContentsWhenThereAreMore) {
  const SharedObject object = Make();
  ASSERT_EQ(Write(object, "text", 0), kSuccess);
  EXPECT_EQ(object.Resize(8 * kPage), kSuccess);
  EXPECT_EQ(object.Allocate(0, 8 * kPage), kSuccess);
  EXPECT_EQ(Read(object, 0, 5), std::string("text\0", 5));
}

TEST_F(SharedObjectBytes, CannotBeAnyNumber) {
  const SharedObject object = Make();
  EXPECT_EQ(object.Resize(UINT64_MAX), Errno(EINVAL));
  EXPECT_EQ(object.Allocate(0, 0), Errno(EINVAL));
  EXPECT_EQ(object.Allocate(UINT64_MAX, 1), Errno(EINVAL));
  EXPECT_EQ(*object.Size(), 0u);
}

// A timer's signals may come faster than the memory.
TEST_F(SharedObjectBytes, GetMemoryInAProcessThatIsInterruptedAllTheTime) {
  const SharedObject object = Make();
  ASSERT_EQ(object.Resize(8 * kPage), kSuccess);
  interruptions = 1000;
  EXPECT_EQ(object.Allocate(0, 8 * kPage), kSuccess);
  EXPECT_EQ(interruptions, 999) << "it did not go on as before";
  interruptions = 0;
  EXPECT_GE(object.Blocks() * 512, 8 * kPage);
  sigset_t blocked;
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &blocked), 0);
  EXPECT_EQ(sigismember(&blocked, SIGALRM), 0) << "signals are as they were";
}

TEST(SharedObjectOnAFullDisk, GetsNoMemoryOrAll) {
  OnSmallDisk(DiskKind::kTmpfs, [](SmallDisk& disk) {
    const Result<SharedObject> object = SharedObject::Create(disk.directory(), "object");
    ASSERT_TRUE(object.ok()) << object.error().Name();
    ASSERT_EQ(object->Resize(64 * kPage), kSuccess);
    disk.LeaveBlocks(8);
    const uint64_t free = disk.free_blocks();
    EXPECT_EQ(object->Allocate(0, 64 * kPage), Errno(ENOSPC));
    EXPECT_EQ(object->Blocks(), 0u);
    EXPECT_EQ(disk.free_blocks(), free);
    EXPECT_EQ(object->Allocate(kPage, 4 * kPage), kSuccess);
    disk.LeaveBlocks(0);
    // No SIGBUS: they have it.
    const Result<void*> mapped = object->Map(64 * kPage, kPage);
    ASSERT_TRUE(mapped.ok());
    std::memset(static_cast<char*>(*mapped) + kPage, 'x', 4 * kPage);
    SharedObject::Unmap(*mapped, 64 * kPage);
    EXPECT_EQ(Read(*object, 5 * kPage - 1, 2), std::string("x\0", 2));
  });
}

// --- Mappings

using SharedObjectMapping = SharedObjectTest;

// Address space of this process, in bytes.
int64_t AddressSpace() {
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<int64_t>(kPage);
}

// How a child ends that runs this.
int StatusOfChild(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none{0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    for (const int fault : {SIGSEGV, SIGBUS}) (void)signal(fault, SIG_DFL);  // not a sanitizer's
    (void)alarm(60);
    body();
    for (;;) syscall(SYS_exit_group, 0);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

TEST_F(SharedObjectMapping, BeginsAtAMultipleOfTheAlignment) {
  const SharedObject object = Make();
  ASSERT_EQ(object.Resize(2 * kPage), kSuccess);
  for (const uint64_t alignment : {uint64_t{1}, kPage, 16 * kPage, uint64_t{1} << 21}) {
    for (int round = 0; round < 3; ++round) {
      const Result<void*> mapped = object.Map(2 * kPage, alignment);
      ASSERT_TRUE(mapped.ok()) << mapped.error().Name();
      EXPECT_EQ(reinterpret_cast<uintptr_t>(*mapped) % alignment, 0u) << alignment;
      std::memset(*mapped, 'a' + round, 2 * kPage);
      EXPECT_EQ(Read(object, 2 * kPage - 1, 2), std::string(1, static_cast<char>('a' + round)));
      SharedObject::Unmap(*mapped, 2 * kPage);
    }
  }
}

TEST_F(SharedObjectMapping, IsSharedWithOthers) {
  const SharedObject object = Make(), again = Again();
  ASSERT_EQ(object.Resize(kPage), kSuccess);
  const Result<void*> first = object.Map(kPage, kPage), second = again.Map(kPage, kPage);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_NE(*first, *second);
  std::strcpy(static_cast<char*>(*first), "text");
  EXPECT_STREQ(static_cast<const char*>(*second), "text");
  RunInChild([&] {
    const Result<void*> third = Again().Map(kPage, kPage);
    ASSERT_TRUE(third.ok());
    EXPECT_STREQ(static_cast<const char*>(*third), "text");
    std::strcpy(static_cast<char*>(*third), "answer");
  });
  EXPECT_STREQ(static_cast<const char*>(*first), "answer");
  SharedObject::Unmap(*first, kPage);
  SharedObject::Unmap(*second, kPage);
}

TEST_F(SharedObjectMapping, OutlivesItsObject) {
  std::optional<SharedObject> object = Make();
  ASSERT_EQ(object->Resize(kPage), kSuccess);
  const Result<void*> mapped = object->Map(kPage, kPage);
  ASSERT_TRUE(mapped.ok());
  object.reset();
  std::strcpy(static_cast<char*>(*mapped), "text");
  EXPECT_EQ(Read(Again(), 0, 4), "text");
  SharedObject::Unmap(*mapped, kPage);
}

TEST_F(SharedObjectMapping, IsNotInheritedByAForkedChild) {
  const SharedObject object = Make();
  ASSERT_EQ(object.Resize(kPage), kSuccess);
  const Result<void*> mapped = object.Map(kPage, kPage);
  ASSERT_TRUE(mapped.ok());
  auto* const byte = static_cast<volatile char*>(*mapped);
  *byte = 'x';
  const int status = StatusOfChild([byte] { *byte = 'y'; });
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) << status;
  EXPECT_EQ(*byte, 'x');
  SharedObject::Unmap(*mapped, kPage);
}

TEST_F(SharedObjectMapping, IsGoneOnceUnmapped) {
  const SharedObject object = Make();
  ASSERT_EQ(object.Resize(2 * kPage), kSuccess);
  const Result<void*> mapped = object.Map(2 * kPage, kPage);
  ASSERT_TRUE(mapped.ok());
  SharedObject::Unmap(*mapped, 2 * kPage);
  EXPECT_EQ(msync(*mapped, kPage, MS_ASYNC), -1);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_EQ(msync(static_cast<char*>(*mapped) + kPage, kPage, MS_ASYNC), -1);
  EXPECT_EQ(errno, ENOMEM);
}

// To be aligned it takes more than it needs, and must give that back: here 4 GiB, were it kept.
TEST_F(SharedObjectMapping, TakesNoMoreAddressSpaceThanItNeeds) {
  constexpr uint64_t kAlignment = uint64_t{64} << 20;
  const SharedObject object = Make();
  ASSERT_EQ(object.Resize(2 * kPage), kSuccess);
  for (const uint64_t bytes : {2 * kPage, kPage + 1, uint64_t{0}}) {
    const int64_t before = AddressSpace();
    for (int round = 0; round < 64; ++round) {
      const Result<void*> mapped = object.Map(bytes, kAlignment);
      EXPECT_EQ(mapped.error(), bytes == 0 ? Errno(EINVAL) : kSuccess);
      if (mapped.ok()) SharedObject::Unmap(*mapped, bytes);
    }
    EXPECT_LT(AddressSpace() - before, int64_t{1} << 30) << bytes;
  }
}

TEST_F(SharedObjectMapping, NeedsAddressSpace) {
  const SharedObject object = Make();
  EXPECT_EQ(object.Map(uint64_t{1} << 60, kPage).error(), Errno(ENOMEM));
  EXPECT_EQ(object.Map(UINT64_MAX - kPage, 2 * kPage).error(), Errno(ENOMEM));
}

}  // namespace
}  // namespace os
