#include "tests/support/small_disk.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/child.h"

namespace test_support {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kDiskBytes = uint64_t{4} << 20;

// Binds the image to a free loop device, which is free again once it is not mounted any more.
// Empty: that is not possible here.
std::string BindToLoopDevice(const std::string& image) {
  const int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) return "";
  std::string bound;
  // Somebody else may take the free one first.
  for (int round = 0; round < 10 && bound.empty(); ++round) {
    const int number = ioctl(control, LOOP_CTL_GET_FREE);
    const std::string path = "/dev/loop" + std::to_string(number);
    const int device = number < 0 ? -1 : open(path.c_str(), O_RDWR | O_CLOEXEC);
    const int file = open(image.c_str(), O_RDWR | O_CLOEXEC);
    loop_config config{};
    config.fd = static_cast<__u32>(file);
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    // The device stays open until the child ends: without a user it would be cleared at once.
    if (device >= 0 && ioctl(device, LOOP_CONFIGURE, &config) == 0) {
      bound = path;
    } else if (device >= 0) {
      close(device);
    }
    close(file);
  }
  close(control);
  return bound;
}

// Empty: it is mounted. Otherwise why not.
std::string Mount(DiskKind kind, const std::string& directory, const std::string& image) {
  // What is mounted here stays here.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return std::strerror(errno);
  if (kind == DiskKind::kTmpfs) {
    const std::string size = "size=" + std::to_string(kDiskBytes);
    const bool done = mount("disk", directory.c_str(), "tmpfs", 0, size.c_str()) == 0;
    return done ? "" : std::strerror(errno);
  }
  const std::string device = BindToLoopDevice(image);
  if (device.empty()) return "no loop device";
  const bool done = mount(device.c_str(), directory.c_str(), "ext4", 0, nullptr) == 0;
  return done ? "" : std::strerror(errno);
}

// An image without blocks that only root may use.
bool MakeImage(const std::string& image) {
  const int file = open(image.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, kDiskBytes) != 0) return false;
  close(file);
  const std::string command =
      "PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q -F -m 0 -b 4096 "
      "-O ^has_journal '" +
      image + "' >/dev/null 2>&1";
  return std::system(command.c_str()) == 0;
}

}  // namespace

void SmallDisk::LeaveBlocks(uint64_t free) {
  const std::string path = directory_ + "/filler";
  const int file = open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  ASSERT_GE(file, 0) << std::strerror(errno);
  struct stat status;
  ASSERT_EQ(fstat(file, &status), 0);
  auto end = status.st_size;
  for (off_t step = off_t{1} << 20; step >= static_cast<off_t>(kBlock); step /= 2) {
    while (fallocate(file, 0, end, step) == 0) end += step;
    ASSERT_TRUE(errno == ENOSPC) << std::strerror(errno);
    ASSERT_EQ(ftruncate(file, end), 0);  // what a failed call may have left
  }
  ASSERT_EQ(ftruncate(file, end - static_cast<off_t>(free * kBlock)), 0) << std::strerror(errno);
  ASSERT_EQ(fsync(file), 0);
  close(file);
  ASSERT_GE(free_blocks(), free);
}

uint64_t SmallDisk::free_blocks() const {
  struct statfs status;
  if (statfs(directory_.c_str(), &status) != 0) std::abort();
  return static_cast<uint64_t>(status.f_bavail);
}

void OnSmallDisk(DiskKind kind, const std::function<void(SmallDisk& disk)>& body) {
  std::string directory = testing::TempDir() + "/small_disk.XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr) << std::strerror(errno);
  const std::string image = directory + ".image";
  const bool made = kind == DiskKind::kTmpfs || MakeImage(image);
  if (made) {
    ChildOptions options;
    options.namespaces = CLONE_NEWNS | (kind == DiskKind::kTmpfs ? CLONE_NEWUSER : 0);
    RunInChild(options, [&] {
      const std::string problem = Mount(kind, directory, image);
      if (!problem.empty()) GTEST_SKIP() << "it cannot be mounted here: " << problem;
      SmallDisk disk(directory);
      body(disk);
    });
  }
  (void)unlink(image.c_str());
  EXPECT_EQ(rmdir(directory.c_str()), 0) << std::strerror(errno);
  if (!made) GTEST_SKIP() << "mkfs.ext4 makes no file system here";
}

}  // namespace test_support
