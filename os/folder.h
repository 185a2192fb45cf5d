// Folder: a directory in which processes find each other by names.
//
// Opened once, without following a link at its end; every name is looked up in the directory that was
// opened, whatever becomes of its path.
//
// Thread-safe. All calls enter the kernel.

#ifndef OS_FOLDER_H_
#define OS_FOLDER_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "os/descriptor.h"
#include "os/errno.h"
#include "os/result.h"

namespace os {

// Ends with it, although forked children have copies of the descriptor (flock(2)).
class FolderLock {
 public:
  FolderLock(FolderLock&&) = default;
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock();

 private:
  friend class Folder;
  explicit FolderLock(OwnedDescriptor locked) : descriptor_(std::move(locked)) {}
  OwnedDescriptor descriptor_;
};

class Folder {
 public:
  // ENOENT, ENOTDIR (a link too), EACCES.
  static Result<Folder> Open(const std::string& path);
  // Makes it first, for this user alone (mode 0700), if it does not exist. EACCES: it is another user's,
  // or open to others.
  static Result<Folder> OpenPrivate(const std::string& path);

  // Of the directory.
  uint32_t owner() const { return owner_; }
  uint32_t mode() const { return mode_; }  // permission bits
  // Names in it but "." and "..".
  Result<std::vector<std::string>> List() const;

  // A path by which system calls of this process reach the name, short enough for a socket.
  std::string PathOf(const std::string& name) const;
  Errno Unlink(const std::string& name) const;
  // Whose the name is; links are not followed.
  Result<uint32_t> OwnerOf(const std::string& name) const;

  // Waits until nobody else has the folder locked. Who may read the folder may lock it.
  Result<FolderLock> Lock() const;
  // The same of a file in it, that is made if it is not there. EACCES: the name is another user's, or of
  // no file.
  Result<FolderLock> LockFile(const std::string& name) const;

 private:
  Folder(OwnedDescriptor descriptor, uint32_t owner, uint32_t mode)
      : descriptor_(std::move(descriptor)), owner_(owner), mode_(mode) {}

  OwnedDescriptor descriptor_;
  uint32_t owner_ = 0, mode_ = 0;
};

// A variable of the environment, unless this program runs with more rights than its caller's
// (secure_getenv(3)); "" where it is not set.
std::string EnvironmentOf(const char* name);
// Permission bits that files do not get when this process makes them (umask(2)).
uint32_t FileCreationMask();

}  // namespace os

#endif  // OS_FOLDER_H_
