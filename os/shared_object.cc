#include "os/shared_object.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>

#include "os/raw_memory.h"

namespace os {
namespace {

// ftruncate(2), fallocate(2) and fcntl(2) may be interrupted, and then have done nothing.
template <typename Call>
Errno Repeated(Call call) {
  for (;;) {
    if (call() != -1) return kSuccess;
    if (errno != EINTR) return Errno::Last();
  }
}

// All signals of this thread, for a scope.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { (void)pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

struct flock LockOf(short type, uint64_t first, uint64_t bytes) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(first);
  lock.l_len = static_cast<off_t>(bytes);
  return lock;
}

// Beyond RLIMIT_FSIZE the kernel sends a signal that ends the process.
Errno CheckFileLimit(uint64_t bytes) {
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || bytes <= limit.rlim_cur) return kSuccess;
  return Errno(EFBIG);
}

}  // namespace

uint32_t CurrentUser() { return geteuid(); }
uint32_t CurrentGroup() { return getegid(); }

Result<SharedObject> SharedObject::Open(const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  // Not to wait for what only looks like a file (O_NONBLOCK).
  OwnedDescriptor descriptor(
      open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (descriptor.get() < 0) {
    const Errno error = Errno::Last();
    return error == Errno(ENOENT) || error == Errno(EMFILE) || error == Errno(ENFILE) ||
                   error == Errno(ENOMEM)
               ? error
               : Errno(EACCES);
  }
  struct stat status {};
  if (fstat(descriptor.get(), &status) != 0) return Errno::Last();
  const bool ours = S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
                    (status.st_mode & (S_IRWXG | S_IRWXO)) == 0 && status.st_nlink <= 1;
  if (!ours) return Errno(EACCES);
  return SharedObject(std::move(descriptor), folder, name);
}

Result<SharedObject> SharedObject::Create(const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  OwnedDescriptor descriptor(
      open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (descriptor.get() < 0) return Errno::Last();
  return SharedObject(std::move(descriptor), folder, name);
}

Result<std::vector<std::string>> SharedObject::List(const std::string& folder,
                                                    const std::string& prefix) {
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(folder.c_str()), closedir);
  if (entries == nullptr) return Errno::Last();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(entries.get());
    if (entry == nullptr) break;
    if (std::string_view(entry->d_name).starts_with(prefix)) names.emplace_back(entry->d_name);
  }
  if (errno != 0) return Errno::Last();
  return names;
}

bool SharedObject::IsLinked() const {
  struct stat mine {
  }, there{};
  return fstat(descriptor(), &mine) == 0 && lstat(path().c_str(), &there) == 0 &&
         mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

Errno SharedObject::Unlink() const {
  if (!IsLinked()) return Errno(ENOENT);
  return unlink(path().c_str()) == 0 ? kSuccess : Errno::Last();
}

Result<uint64_t> SharedObject::Size() const {
  struct stat status {};
  if (fstat(descriptor(), &status) != 0) return Errno::Last();
  return static_cast<uint64_t>(status.st_size);
}

uint64_t SharedObject::Blocks() const {
  struct stat status {};
  return fstat(descriptor(), &status) == 0 ? static_cast<uint64_t>(status.st_blocks) : 0;
}

Errno SharedObject::Resize(uint64_t bytes) const {
  if (const Errno error = CheckFileLimit(bytes); !error.ok()) return error;
  return Repeated([&] { return ftruncate(descriptor(), static_cast<off_t>(bytes)); });
}

Errno SharedObject::Allocate(uint64_t offset, uint64_t bytes) const {
  const auto allocate = [&] {
    return fallocate(descriptor(), 0, static_cast<off_t>(offset), static_cast<off_t>(bytes));
  };
  if (allocate() == 0) return kSuccess;
  if (errno != EINTR) return Errno::Last();
  // Before Linux 6.11 any signal makes it give everything back and begin again: where a timer's
  // come faster than it is done, for ever.
  const SignalsBlocked blocked;
  return Repeated(allocate);
}

Result<size_t> SharedObject::Read(uint64_t offset, void* buffer, size_t bytes) const {
  const ssize_t length = pread(descriptor(), buffer, bytes, static_cast<off_t>(offset));
  if (length < 0) return Errno::Last();
  return static_cast<size_t>(length);
}

// Reserves more than is needed, puts the object at the first aligned place and gives the rest back.
Result<void*> SharedObject::Map(uint64_t bytes, uint64_t alignment) const {
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  bytes = (bytes + page - 1) / page * page;
  void* const reserved = RawMmap(nullptr, bytes + alignment, PROT_NONE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == kMmapFailed) return Errno::Last();
  auto* const begin = static_cast<std::byte*>(reserved);
  const uint64_t past = reinterpret_cast<uintptr_t>(reserved) % alignment;
  std::byte* const place = begin + (past == 0 ? 0 : alignment - past);
  void* const mapped = RawMmap(place, bytes, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_NORESERVE | MAP_FIXED, descriptor(), 0);
  if (mapped == kMmapFailed || RawMadvise(mapped, bytes, MADV_DONTFORK) != 0) {
    const Errno error = Errno::Last();
    (void)RawMunmap(reserved, bytes + alignment);
    return error;
  }
  if (place > begin) (void)RawMunmap(begin, static_cast<size_t>(place - begin));
  std::byte* const end = place + bytes;
  (void)RawMunmap(end, static_cast<size_t>(begin + bytes + alignment - end));
  return mapped;
}

void SharedObject::Unmap(void* address, uint64_t bytes) { (void)RawMunmap(address, bytes); }

Errno SharedObject::LockByte(uint64_t byte) const {
  struct flock lock = LockOf(F_WRLCK, byte, 1);
  return Repeated([&] { return fcntl(descriptor(), F_OFD_SETLKW, &lock); });
}

Errno SharedObject::TryLockByte(uint64_t byte) const {
  struct flock lock = LockOf(F_WRLCK, byte, 1);
  const Errno error = Repeated([&] { return fcntl(descriptor(), F_OFD_SETLK, &lock); });
  return error == Errno(EACCES) ? Errno(EAGAIN) : error;
}

void SharedObject::UnlockByte(uint64_t byte) const {
  struct flock lock = LockOf(F_UNLCK, byte, 1);
  (void)fcntl(descriptor(), F_OFD_SETLK, &lock);
}

bool SharedObject::IsLockedElsewhere(uint64_t first, uint64_t bytes) const {
  struct flock lock = LockOf(F_WRLCK, first, bytes);
  return fcntl(descriptor(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

}  // namespace os
