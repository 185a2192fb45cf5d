// Names, and whose objects are used; for bytes and mappings see shared_object_memory_test.cc, for the
// locks shared_object_lock_test.cc.

#include "os/shared_object.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "os/shared_object_fixture.h"
#include "tests/support/child.h"
#include "tests/support/forbid_syscalls.h"

namespace os {
namespace {

using test_support::RunInChild;

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

}  // namespace
}  // namespace os
