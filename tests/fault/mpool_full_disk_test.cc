// A pool on a file system that is full: one that it makes itself.

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "mpool/mpool.h"
#include "tests/support/child.h"
#include "tests/support/test_file.h"
#include "tests/support/test_pool.h"

namespace {

using test_support::ChangePage;
using test_support::ChildOptions;
using test_support::FailsWith;
using test_support::Filled;
using test_support::PageIn;
using test_support::Pool;
using test_support::StatOf;

constexpr pgno_t kPageSize = 4096;

// A new tmpfs of `pages` pages, as a descriptor of its root: mounted nowhere, so nobody else sees
// it and it is gone with its last descriptor. -1 with errno: it may not be made here.
int MakeDisk(pgno_t pages) {
  const int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
  if (context < 0) return -1;
  const std::string size = std::to_string(pages * kPageSize);
  int disk = -1;
  if (fsconfig(context, FSCONFIG_SET_STRING, "size", size.c_str(), 0) == 0 &&
      fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0) {
    disk = fsmount(context, FSMOUNT_CLOEXEC, 0);
  }
  close(context);
  return disk;
}

int OpenOn(int disk, const char* name) {
  return openat(disk, name, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
}

// Runs the body with a file system of `pages` pages and a file on it for the pool. Who has not the
// privilege to make one has it in namespaces of their own, where these are allowed.
void OnSmallDisk(pgno_t pages, void (*body)(int disk, int fd)) {
  const auto run = [&](int disk) {
    ASSERT_GE(disk, 0) << std::strerror(errno);
    const int fd = OpenOn(disk, "pool");
    ASSERT_GE(fd, 0) << std::strerror(errno);
    body(disk, fd);
    close(fd);
    close(disk);
  };
  if (const int disk = MakeDisk(pages); disk >= 0) {
    run(disk);
    return;
  }
  ChildOptions options;
  options.namespaces = CLONE_NEWUSER | CLONE_NEWNS;
  test_support::RunInChild(options, [&] { run(MakeDisk(pages)); });
}

TEST(MpoolFullDisk, SyncIsENOSPCAndWhatDoesNotFitStaysDirtyUntilThereIsRoom) {
  OnSmallDisk(16, [](int disk, int fd) {
    const int filler = OpenOn(disk, "filler");
    ASSERT_EQ(ftruncate(filler, 0), 0);
    const std::string block(8 * kPageSize, 'f');
    ASSERT_EQ(write(filler, block.data(), block.size()), static_cast<ssize_t>(block.size()));
    const Pool pool(mpool_open(nullptr, fd, kPageSize, 32));
    ASSERT_NE(pool, nullptr) << mpool_error();
    ASSERT_EQ(mpool_set_eof(pool.get(), MPOOL_EOF_ZERO), 0);
    for (pgno_t page = 0; page < 12; ++page) ChangePage(pool, page, std::to_string(page) + "/");
    EXPECT_TRUE(FailsWith(ENOSPC, mpool_sync(pool.get())));
    EXPECT_EQ(StatOf(pool).dirty, 4u);
    for (pgno_t page = 0; page < 12; ++page) {
      EXPECT_EQ(PageIn(pool, page), Filled(std::to_string(page) + "/", kPageSize));
    }
    ASSERT_EQ(ftruncate(filler, 0), 0);
    EXPECT_EQ(mpool_sync(pool.get()), 0) << mpool_error();
    EXPECT_EQ(StatOf(pool).dirty, 0u);
    close(filler);
  });
}

TEST(MpoolFullDisk, APageThatMustGoAndDoesNotFitIsENOSPCAndNothingIsLost) {
  OnSmallDisk(4, [](int, int fd) {
    const Pool pool(mpool_open(nullptr, fd, kPageSize, 2));
    ASSERT_NE(pool, nullptr) << mpool_error();
    ASSERT_EQ(mpool_set_eof(pool.get(), MPOOL_EOF_ZERO), 0);
    for (pgno_t page = 0; page < 6; ++page) ChangePage(pool, page, std::to_string(page) + "/");
    EXPECT_TRUE(FailsWith(ENOSPC, mpool_get(pool.get(), 6, 0)));
    for (pgno_t page = 4; page < 6; ++page) {
      EXPECT_EQ(PageIn(pool, page), Filled(std::to_string(page) + "/", kPageSize));
    }
    EXPECT_EQ(StatOf(pool).dirty, 2u);
    EXPECT_EQ(StatOf(pool).pins, 0u);
  });
}

}  // namespace
