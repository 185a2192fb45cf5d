// FileLayout: how a file lies on its file system, for those who want to know before they use it.
//
// Read-only questions to the kernel (stat(2), statx(2), statvfs(3), lseek(2)); nothing here changes
// the file. NextHole moves the descriptor's file position. Thread-safe otherwise.

#ifndef OS_FILE_LAYOUT_H_
#define OS_FILE_LAYOUT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "os/descriptor.h"
#include "os/errno.h"
#include "os/result.h"

namespace os {

// What O_DIRECT asks of addresses, and of sizes and offsets. Multiples of these are right.
struct DirectIo {
  uint64_t memory_alignment = 0;  // bytes; 0, both: the file cannot be opened with O_DIRECT
  uint64_t offset_alignment = 0;
};

struct FileLayout {
  uint64_t device = 0;  // with the inode: which file it is
  uint64_t inode = 0;
  uint64_t bytes = 0;
  uint64_t block_bytes = 0;  // what the file system reads and writes best at once
  uint64_t free_bytes = 0;   // of the file system, for users without privilege
  // nullopt: the kernel (before 6.1) or the file system does not tell.
  std::optional<DirectIo> direct_io = {};
};
Result<FileLayout> LayoutOf(int descriptor);

// Part of a file that has no block: it reads as zeros, and a write has to find room.
struct Hole {
  uint64_t offset = 0;  // bytes
  uint64_t bytes = 0;   // up to the end of the file at most
};
// The first hole that ends after `offset`, from there on. nullopt: there is none before the file's
// end. Where the file system keeps no account of holes, there are none.
Result<std::optional<Hole>> NextHole(int descriptor, uint64_t offset);

// open(2) for reading, close-on-exec; of a pipe or a device it waits for nobody.
Result<OwnedDescriptor> OpenForLooking(const std::string& path);
// Whether this process may open the file for writing (faccessat(2)): EACCES, EROFS. Does not open
// it, for whoever has a program open for writing keeps others from running it.
Errno CheckWritable(const std::string& path);

}  // namespace os

#endif  // OS_FILE_LAYOUT_H_
