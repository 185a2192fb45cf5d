#include "os/shared_mapping.h"

#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "os/raw_memory.h"

namespace os {
namespace {

Errno FromCall(long result) { return result == 0 ? kSuccess : Errno::Last(); }

int ProtectionOf(View view) { return view == View::kReadOnly ? PROT_READ : PROT_READ | PROT_WRITE; }

// MS_ASYNC has had no effect since Linux 2.6.19, but the range is checked.
bool IsMapped(void* address, size_t bytes) { return msync(address, bytes, MS_ASYNC) == 0; }

// Address space without memory: where nothing is mapped (MAP_FIXED_NOREPLACE), or something
// (MAP_FIXED).
Errno ReserveAt(void* address, size_t bytes, int how) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* const mapped = RawMmap(address, bytes, PROT_NONE, kFlags | how, -1, 0);
  return mapped == kMmapFailed ? Errno::Last() : kSuccess;
}

// A segment as a whole, somewhere.
class Attachment {
 public:
  Attachment(int segment, View view)
      : address_(reinterpret_cast<std::byte*>(
            syscall(SYS_shmat, segment, nullptr, view == View::kReadOnly ? SHM_RDONLY : 0))) {
    if (address_ == kMmapFailed) {
      error_ = errno == EIDRM ? Errno(EINVAL) : Errno::Last();
      return;
    }
    // Asked now, as from now on it cannot be replaced by another segment of the same number.
    shmid_ds status{};
    error_ = FromCall(shmctl(segment, IPC_STAT, &status));
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    if (error_.ok()) bytes_ = (status.shm_segsz + page - 1) / page * page;
    permissions_ = status.shm_perm;
  }
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;
  ~Attachment() {
    if (address_ != kMmapFailed && !kept_) (void)syscall(SYS_shmdt, address_);
  }

  Errno error() const { return error_; }
  bool Has(uint64_t offset, size_t bytes) const {
    return bytes > 0 && offset <= bytes_ && bytes <= bytes_ - offset;
  }
  // By its mode, as ipc_permissions does; of the user's groups it knows one.
  bool MayBeWrittenBy(const SysVUser& user) const {
    constexpr unsigned kReadWrite = 6;
    const unsigned mode = permissions_.mode;
    if (user.user == 0) return true;
    if (user.user == permissions_.uid || user.user == permissions_.cuid) {
      return (mode >> 6 & kReadWrite) == kReadWrite;
    }
    if (user.group == permissions_.gid || user.group == permissions_.cgid) {
      return (mode >> 3 & kReadWrite) == kReadWrite;
    }
    return (mode & kReadWrite) == kReadWrite;
  }
  std::byte* at(uint64_t offset) const { return address_ + offset; }
  // Unmaps what lies before and behind a part, which stays; it may have been moved away.
  void KeepOnly(uint64_t offset, size_t bytes) {
    kept_ = true;
    if (offset > 0) (void)RawMunmap(address_, offset);
    const uint64_t end = offset + bytes;
    if (end < bytes_) (void)RawMunmap(address_ + end, bytes_ - end);
  }

 private:
  std::byte* address_;
  size_t bytes_ = 0;
  ipc_perm permissions_{};
  Errno error_;
  bool kept_ = false;
};

}  // namespace

Result<void*> MapShared(int descriptor, uint64_t offset, size_t bytes, View view, Place place,
                        void* address) {
  const int protection = ProtectionOf(view);
  const int flags = MAP_SHARED | (place == Place::kFree ? MAP_FIXED_NOREPLACE : 0);
  void* mapped = RawMmap(place == Place::kFree ? address : nullptr, bytes, protection, flags,
                         descriptor, static_cast<int64_t>(offset));
  if (mapped == kMmapFailed) return Errno::Last();
  // Made elsewhere and moved, as mmap(2) with MAP_FIXED may unmap the place and then fail.
  if (place == Place::kReplace) {
    if (const Errno error = Move(mapped, bytes, address); !error.ok()) {
      (void)RawMunmap(mapped, bytes);
      return error;
    }
    mapped = address;
  }
  PopulateIfAsked(mapped, bytes, protection, MAP_SHARED | MAP_POPULATE);
  return mapped;
}

Result<void*> MapUntouched(int descriptor, uint64_t offset, size_t bytes, View view) {
  void* const mapped = RawMmap(nullptr, bytes, ProtectionOf(view), MAP_SHARED, descriptor,
                               static_cast<int64_t>(offset));
  if (mapped == kMmapFailed) return Errno::Last();
  return mapped;
}

Result<void*> MapSysV(int segment, uint64_t offset, size_t bytes, View view, Place place,
                      void* address, const SysVUser* on_behalf_of) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (offset % page != 0 || bytes > SIZE_MAX - page) return Errno(EINVAL);
  bytes = (bytes + page - 1) / page * page;
  // First of all: the segment might be attached just there.
  if (place == Place::kFree) {
    const Errno error = ReserveAt(address, bytes, MAP_FIXED_NOREPLACE);
    if (!error.ok()) return error;
  }
  Attachment whole(segment, view);
  Errno error = whole.error();
  if (error.ok() && !whole.Has(offset, bytes)) error = Errno(EINVAL);
  if (error.ok() && on_behalf_of != nullptr && !whole.MayBeWrittenBy(*on_behalf_of)) {
    error = Errno(EACCES);
  }
  if (error.ok() && place != Place::kAnywhere) error = Move(whole.at(offset), bytes, address);
  if (!error.ok()) {
    if (place == Place::kFree) (void)RawMunmap(address, bytes);
    return error;
  }
  void* const mapped = place == Place::kAnywhere ? whole.at(offset) : address;
  whole.KeepOnly(offset, bytes);
  PopulateIfAsked(mapped, bytes, ProtectionOf(view), MAP_SHARED | MAP_POPULATE);
  return mapped;
}

uint64_t SysVNamespace() {
  struct stat status {};
  return stat("/proc/thread-self/ns/ipc", &status) == 0 ? status.st_ino : 0;
}

Result<void*> MapPrivate(size_t bytes) {
  void* const mapped =
      RawMmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == kMmapFailed) return Errno::Last();
  return mapped;
}

// mremap(2) of 0 bytes leaves the shared mapping where it is.
Result<void*> Duplicate(void* address, size_t bytes) {
  void* const copy = RawMremap(address, 0, bytes, MREMAP_MAYMOVE, nullptr);
  if (copy == kMmapFailed) return Errno::Last();
  return copy;
}

Errno Move(void* from, size_t bytes, void* to) {
  const bool was_mapped = IsMapped(to, bytes);
  if (RawMremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to) return kSuccess;
  const Errno error = Errno::Last();
  // What was there may be unmapped by now, which nobody could make good.
  if (was_mapped && !IsMapped(to, bytes)) {
    std::fputs("mremap(2) has unmapped memory that it could not replace\n", stderr);
    std::abort();
  }
  return error;
}

Errno ReserveAgain(void* address, size_t bytes) { return ReserveAt(address, bytes, MAP_FIXED); }

Errno UnmapShared(void* address, size_t bytes) { return FromCall(RawMunmap(address, bytes)); }

Errno SetInherited(void* address, size_t bytes, bool inherited) {
  return FromCall(RawMadvise(address, bytes, inherited ? MADV_DOFORK : MADV_DONTFORK));
}

}  // namespace os
