// A pool on a file system that is full: one of its own, in namespaces where it may be mounted.

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

// Runs the body in a child whose /tmp is a file system of `pages` pages, seen by nobody else.
void OnSmallDisk(pgno_t pages, void (*body)(int fd)) {
  ChildOptions options;
  options.namespaces = CLONE_NEWUSER | CLONE_NEWNS;
  test_support::RunInChild(options, [&] {
    ASSERT_EQ(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0) << std::strerror(errno);
    const std::string size = "size=" + std::to_string(pages * kPageSize);
    ASSERT_EQ(mount("small", "/tmp", "tmpfs", 0, size.c_str()), 0) << std::strerror(errno);
    const int fd = open("/tmp/pool", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    ASSERT_GE(fd, 0) << std::strerror(errno);
    body(fd);
    close(fd);
  });
}

TEST(MpoolFullDisk, SyncIsENOSPCAndWhatDoesNotFitStaysDirtyUntilThereIsRoom) {
  OnSmallDisk(16, [](int fd) {
    const int filler = open("/tmp/filler", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
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
  OnSmallDisk(4, [](int fd) {
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
