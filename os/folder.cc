#include "os/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "os/line_reader.h"

namespace os {
namespace {

Errno WaitForLock(const OwnedDescriptor& descriptor) {
  while (flock(descriptor.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return Errno::Last();
  }
  return kSuccess;
}

}  // namespace

FolderLock::~FolderLock() {
  if (descriptor_.get() >= 0) (void)flock(descriptor_.get(), LOCK_UN);
}

Result<Folder> Folder::Open(const std::string& path) {
  OwnedDescriptor descriptor(open(path.c_str(), O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_RDONLY));
  if (descriptor.get() < 0) return errno == ELOOP ? Errno(ENOTDIR) : Errno::Last();
  struct stat status;
  if (fstat(descriptor.get(), &status) != 0) return Errno::Last();
  return Folder(std::move(descriptor), status.st_uid, status.st_mode & 07777);
}

Result<Folder> Folder::OpenPrivate(const std::string& path) {
  Result<Folder> folder = Open(path);
  if (folder.error() == Errno(ENOENT)) {
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return Errno::Last();
    folder = Open(path);
  }
  if (folder.ok() && (folder->owner() != geteuid() || (folder->mode() & 0077) != 0)) {
    return Errno(EACCES);
  }
  return folder;
}

Result<std::vector<std::string>> Folder::List() const {
  // A description of its own, as reading moves its place.
  const int descriptor = openat(descriptor_.get(), ".", O_DIRECTORY | O_CLOEXEC | O_RDONLY);
  if (descriptor < 0) return Errno::Last();
  DIR* const stream = fdopendir(descriptor);
  if (stream == nullptr) {
    const Errno error = Errno::Last();
    (void)close(descriptor);
    return error;
  }
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> closed(stream, closedir);
  for (errno = 0; const dirent* entry = readdir(stream); errno = 0) {
    if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) continue;
    names.emplace_back(entry->d_name);
  }
  if (errno != 0) return Errno::Last();
  return names;
}

std::string Folder::PathOf(const std::string& name) const {
  return "/proc/thread-self/fd/" + std::to_string(descriptor_.get()) + "/" + name;
}

Errno Folder::Unlink(const std::string& name) const {
  return unlinkat(descriptor_.get(), name.c_str(), 0) == 0 ? kSuccess : Errno::Last();
}

Result<uint32_t> Folder::OwnerOf(const std::string& name) const {
  struct stat status;
  if (fstatat(descriptor_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    return Errno::Last();
  }
  return static_cast<uint32_t>(status.st_uid);
}

Result<FolderLock> Folder::Lock() const {
  OwnedDescriptor folder(openat(descriptor_.get(), ".", O_DIRECTORY | O_CLOEXEC | O_RDONLY));
  if (folder.get() < 0) return Errno::Last();
  if (const Errno error = WaitForLock(folder); !error.ok()) return error;
  return FolderLock(std::move(folder));
}

Result<FolderLock> Folder::LockFile(const std::string& name) const {
  OwnedDescriptor file(openat(descriptor_.get(), name.c_str(),
                              O_CREAT | O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600));
  if (file.get() < 0) return errno == ELOOP ? Errno(EACCES) : Errno::Last();
  struct stat status;
  if (fstat(file.get(), &status) != 0) return Errno::Last();
  if (status.st_uid != geteuid() || !S_ISREG(status.st_mode)) return Errno(EACCES);
  if (const Errno error = WaitForLock(file); !error.ok()) return error;
  return FolderLock(std::move(file));
}

std::string EnvironmentOf(const char* name) {
  const char* const value = secure_getenv(name);
  return value == nullptr ? "" : value;
}

// umask(2) can only be read by setting it, which other threads would see.
uint32_t FileCreationMask() {
  LineReader status("/proc/thread-self/status");
  while (const std::optional<std::string_view> line = status.Next()) {
    const std::optional<std::string_view> text = ValueOf(*line, "Umask");
    if (!text) continue;
    const std::optional<uint64_t> mask = ParseNumber(*text, 8);
    if (mask) return static_cast<uint32_t>(*mask) & 0777;
  }
  return 0077;  // it cannot be told
}

}  // namespace os
