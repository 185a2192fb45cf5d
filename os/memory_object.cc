#include "os/memory_object.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>

namespace os {
namespace {

// Of the thread: /proc/self is empty once the main thread has ended before the others.
constexpr char kOpenDescriptors[] = "/proc/thread-self/fd";

// Who may open it anew has a descriptor of it, and so may read it already. A process that has become
// another user since it made the object opens it for reading (ReopenForReading).
constexpr mode_t kMode = S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH;

OwnedDescriptor NewFile(const char* name) {
  // Never to be executed, which newer kernels want to be told. Newer than the headers of Debian 12.
  constexpr unsigned int kNoExecSeal = 8;
  constexpr unsigned int kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  const int descriptor = memfd_create(name, kFlags | kNoExecSeal);
  if (descriptor >= 0 || errno != EINVAL) return OwnedDescriptor(descriptor);
  return OwnedDescriptor(memfd_create(name, kFlags));
}

// Beyond RLIMIT_FSIZE the kernel sends a signal that ends the process.
bool FileMayHave(uint64_t bytes) {
  if (bytes > static_cast<uint64_t>(std::numeric_limits<off_t>::max())) return false;
  rlimit limit{};
  return getrlimit(RLIMIT_FSIZE, &limit) != 0 || bytes <= limit.rlim_cur;
}

Errno AddSeals(int descriptor, int seals) {
  return fcntl(descriptor, F_ADD_SEALS, seals) == 0 ? kSuccess : Errno::Last();
}

// The number that an entry of the folder stands for.
std::optional<int> NumberIn(const char* name) {
  int number = -1;
  const char* const end = name + std::strlen(name);
  const std::from_chars_result read = std::from_chars(name, end, number);
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return number;
}

// A copy of the descriptor, if it has the file open: another thread may have closed it by now, and
// opened something else. ENOENT: it has not.
Result<OwnedDescriptor> CopyOf(int descriptor, FileNumber file) {
  const Result<FileNumber> before = FileNumberOf(descriptor);
  if (!before.ok() || *before != file) return Errno(ENOENT);
  Result<OwnedDescriptor> copy = Duplicate(descriptor);
  if (copy.error() == Errno(EBADF)) return Errno(ENOENT);
  if (!copy.ok()) return copy;
  const Result<FileNumber> after = FileNumberOf(copy->get());
  if (!after.ok() || *after != file) return Errno(ENOENT);
  return copy;
}

}  // namespace

Result<MemoryObject> MemoryObject::Create(const char* name, uint64_t bytes) {
  if (!FileMayHave(bytes)) return Errno(EFBIG);
  OwnedDescriptor descriptor = NewFile(name);
  if (descriptor.get() < 0 || fchmod(descriptor.get(), kMode) != 0 ||
      ftruncate(descriptor.get(), static_cast<off_t>(bytes)) != 0) {
    return Errno::Last();
  }
  const Errno error = AddSeals(descriptor.get(), F_SEAL_SHRINK | F_SEAL_GROW);
  if (!error.ok()) return error;
  return MemoryObject(std::move(descriptor), bytes);
}

Errno MemoryObject::Write(uint64_t offset, const void* from, size_t bytes) const {
  if (offset > bytes_ || bytes > bytes_ - offset) return Errno(EINVAL);
  if (!FileMayHave(offset + bytes)) return Errno(EFBIG);
  const auto* rest = static_cast<const std::byte*>(from);
  while (bytes > 0) {
    const ssize_t written = pwrite(descriptor(), rest, bytes, static_cast<off_t>(offset));
    if (written <= 0) return written < 0 ? Errno::Last() : Errno(EIO);
    rest += written;
    offset += static_cast<uint64_t>(written);
    bytes -= static_cast<size_t>(written);
  }
  return kSuccess;
}

Errno MemoryObject::RefuseNewWriters() const { return AddSeals(descriptor(), F_SEAL_FUTURE_WRITE); }

Errno MemoryObject::Seal() const { return AddSeals(descriptor(), F_SEAL_SEAL); }

Result<OwnedDescriptor> ReopenForReading(int descriptor) {
  if (fcntl(descriptor, F_GETFD) < 0) return Errno::Last();
  char path[sizeof(kOpenDescriptors) + 16];
  (void)std::snprintf(path, sizeof(path), "%s/%d", kOpenDescriptors, descriptor);
  OwnedDescriptor opened(open(path, O_RDONLY | O_CLOEXEC));
  if (opened.get() < 0) return Errno::Last();
  return opened;
}

Result<FileNumber> FileNumberOf(int descriptor) {
  struct stat status {};
  if (fstat(descriptor, &status) != 0) return Errno::Last();
  return FileNumber{.device = status.st_dev, .inode = status.st_ino};
}

FileNumber FileNumberOf(const FileIdentity& mapped) {
  const dev_t device = makedev(static_cast<unsigned>(mapped.device_major),
                               static_cast<unsigned>(mapped.device_minor));
  return FileNumber{.device = device, .inode = mapped.inode};
}

bool IsFixedObject(int descriptor, uint64_t bytes) {
  const int seals = fcntl(descriptor, F_GET_SEALS);
  struct stat status {};
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0 && fstat(descriptor, &status) == 0 &&
         static_cast<uint64_t>(status.st_size) >= bytes;
}

Result<OwnedDescriptor> FindOpenDescriptor(FileNumber file) {
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(kOpenDescriptors), closedir);
  if (entries == nullptr) return Errno::Last();
  Errno error(ENOENT);
  OwnedDescriptor for_reading;
  while (const dirent* const entry = readdir(entries.get())) {
    const std::optional<int> number = NumberIn(entry->d_name);
    if (!number.has_value()) continue;
    Result<OwnedDescriptor> copy = CopyOf(*number, file);
    if (copy.error() == Errno(ENOENT)) continue;
    if (!copy.ok()) {
      error = copy.error();
      continue;
    }
    const Result<DescriptorTraits> traits = TraitsOf(copy->get());
    if (!traits.ok() || !traits->readable) continue;
    if (traits->writable) return copy;
    for_reading = *std::move(copy);
  }
  if (for_reading.get() < 0) return error;
  return for_reading;
}

}  // namespace os
