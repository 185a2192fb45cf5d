#include "os/folder.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "tests/support/child.h"

namespace os {
namespace {

std::string Fresh(const std::string& name) {
  const std::string path = testing::TempDir() + "/folder_test." + std::to_string(getpid()) + name;
  (void)rmdir(path.c_str());
  return path;
}

TEST(Folder, OfOneUserIsMadeAndOpenedAgain) {
  const std::string path = Fresh("private");
  for (int i = 0; i < 2; ++i) {
    const Result<Folder> folder = Folder::OpenPrivate(path);
    ASSERT_TRUE(folder.ok()) << folder.error().Name();
    EXPECT_EQ(folder->mode(), 0700u);
    EXPECT_EQ(folder->owner(), geteuid());
  }
  ASSERT_EQ(chmod(path.c_str(), 0750), 0);
  EXPECT_EQ(Folder::OpenPrivate(path).error(), Errno(EACCES)) << "others may enter";
  EXPECT_TRUE(Folder::Open(path).ok());
  ASSERT_EQ(rmdir(path.c_str()), 0);
}

TEST(Folder, IsNeverReachedThroughALink) {
  const std::string path = Fresh("target"), link = Fresh("link");
  ASSERT_TRUE(Folder::OpenPrivate(path).ok());
  ASSERT_EQ(symlink(path.c_str(), link.c_str()), 0);
  EXPECT_EQ(Folder::Open(link).error(), Errno(ENOTDIR));
  EXPECT_EQ(Folder::OpenPrivate(link).error(), Errno(ENOTDIR));
  ASSERT_EQ(unlink(link.c_str()), 0);
  ASSERT_EQ(rmdir(path.c_str()), 0);
  EXPECT_EQ(Folder::Open(path).error(), Errno(ENOENT));
}

TEST(Folder, ListsNamesAndTakesThemAway) {
  const std::string path = Fresh("names");
  const Result<Folder> folder = Folder::OpenPrivate(path);
  ASSERT_TRUE(folder.ok());
  std::ofstream(folder->PathOf("one")) << "x";
  std::ofstream(folder->PathOf("two")) << "x";
  Result<std::vector<std::string>> names = folder->List();
  ASSERT_TRUE(names.ok());
  std::ranges::sort(*names);
  EXPECT_EQ(*names, std::vector<std::string>({"one", "two"}));
  EXPECT_EQ(*folder->OwnerOf("two"), geteuid());
  EXPECT_EQ(folder->Unlink("one"), kSuccess);
  EXPECT_EQ(folder->Unlink("one"), Errno(ENOENT));
  EXPECT_EQ(folder->List()->size(), 1u);
  EXPECT_EQ(folder->OwnerOf("one").error(), Errno(ENOENT));
  EXPECT_EQ(folder->Unlink("two"), kSuccess);
  ASSERT_EQ(rmdir(path.c_str()), 0);
}

using Lock = std::function<Result<FolderLock>(const Folder&)>;

class FolderLockTest : public testing::TestWithParam<Lock> {};

TEST_P(FolderLockTest, KeepsOthersWaitingUntilItIsGone) {
  const std::string path = Fresh("lock");
  const Result<Folder> folder = Folder::OpenPrivate(path);
  ASSERT_TRUE(folder.ok());
  std::atomic<bool> unlocked = false;
  std::thread other;
  {
    const Result<FolderLock> lock = GetParam()(*folder);
    ASSERT_TRUE(lock.ok()) << lock.error().Name();
    other = std::thread([&] {
      const Result<FolderLock> second = GetParam()(*folder);
      EXPECT_TRUE(second.ok());
      EXPECT_TRUE(unlocked) << "it did not wait";
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    unlocked = true;
  }
  other.join();
  (void)folder->Unlink("lock");
  ASSERT_EQ(rmdir(path.c_str()), 0);
}

TEST_P(FolderLockTest, EndsAlthoughAForkedChildStays) {
  const std::string path = Fresh("forked");
  const Result<Folder> folder = Folder::OpenPrivate(path);
  ASSERT_TRUE(folder.ok());
  pid_t child = -1;
  {
    const Result<FolderLock> lock = GetParam()(*folder);
    ASSERT_TRUE(lock.ok()) << lock.error().Name();
    child = fork();
    if (child == 0) {
      for (;;) pause();
    }
  }
  EXPECT_TRUE(GetParam()(*folder).ok()) << "or it waits for the child, and the test for ever";
  ASSERT_EQ(kill(child, SIGKILL), 0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  (void)folder->Unlink("lock");
  ASSERT_EQ(rmdir(path.c_str()), 0);
}

INSTANTIATE_TEST_SUITE_P(, FolderLockTest,
                         testing::Values([](const Folder& folder) { return folder.Lock(); },
                                         [](const Folder& folder) {
                                           return folder.LockFile("lock");
                                         }));

TEST(Folder, LocksNoFileThroughALink) {
  const std::string path = Fresh("locklink");
  const Result<Folder> folder = Folder::OpenPrivate(path);
  ASSERT_TRUE(folder.ok());
  ASSERT_EQ(symlink("/etc/passwd", folder->PathOf("link").c_str()), 0);
  EXPECT_EQ(folder->LockFile("link").error(), Errno(EACCES));
  EXPECT_EQ(folder->Unlink("link"), kSuccess);
  ASSERT_EQ(rmdir(path.c_str()), 0);
}

TEST(FileCreationMask, IsThatOfTheProcess) {
  test_support::RunInChild([] {
    (void)umask(0137);
    EXPECT_EQ(FileCreationMask(), 0137u);
    (void)umask(0);
    EXPECT_EQ(FileCreationMask(), 0u);
  });
}

TEST(EnvironmentOf, IsEmptyWhereThereIsNone) {
  ASSERT_EQ(setenv("MPOOL_FOLDER_TEST", "value", 1), 0);
  EXPECT_EQ(EnvironmentOf("MPOOL_FOLDER_TEST"), "value");
  EXPECT_EQ(EnvironmentOf("MPOOL_FOLDER_TEST_2"), "");
}

}  // namespace
}  // namespace os
