// SmallDisk: a file system of a few megabytes that a test may fill.
//
// Mounted where only a child of the test sees it, and gone with that child.

#ifndef TESTS_SUPPORT_SMALL_DISK_H_
#define TESTS_SUPPORT_SMALL_DISK_H_

#include <cstdint>
#include <functional>
#include <string>

namespace test_support {

enum class DiskKind {
  kTmpfs,  // needs a user namespace, or privilege
  kExt4,   // in an image file: needs privilege, a loop device and mkfs.ext4
};

// As the body sees it. Blocks are of 4 KiB. Not thread-safe.
class SmallDisk {
 public:
  explicit SmallDisk(std::string directory) : directory_(std::move(directory)) {}

  // Its root.
  const std::string& directory() const { return directory_; }
  // Fills it by a file of its own, so that `free` blocks are left; fewer or more than before.
  // The body's test fails where that cannot be done.
  void LeaveBlocks(uint64_t free);
  // Blocks that are left, as statfs(2) counts them.
  uint64_t free_blocks() const;

 private:
  std::string directory_;
};

// Runs the body in a child, in a mount namespace with such a file system; skips the test where it
// cannot be made. As of RunInChild.
void OnSmallDisk(DiskKind kind, const std::function<void(SmallDisk& disk)>& body);

}  // namespace test_support

#endif  // TESTS_SUPPORT_SMALL_DISK_H_
