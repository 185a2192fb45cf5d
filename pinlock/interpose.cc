// The functions by which a program takes memory away, in the place of the C library's: munmap,
// mmap, mremap and madvise. They do what those do, and keep the lock counters true while they do
// it, for code that has never heard of this library.
//
// Part of libpinlock, and of a program that links //pinlock:interpose. Seen are calls from the
// program and from shared libraries. Not seen are those that the C library makes by itself (free(3)
// of a large block, the end of a thread), system calls made directly, shmdt(2), shmat(2) with
// SHM_REMAP, remap_file_pages(2), process_madvise(2), and brk(2).

#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "os/raw_memory.h"
#include "pinlock/internal/process_locker.h"

namespace {

using pinlock::internal::ByteRange;
using pinlock::internal::PageLocker;
using pinlock::internal::ProcessLockerInUse;

ByteRange RangeOf(void* address, size_t bytes) {
  return {reinterpret_cast<uintptr_t>(address), bytes};
}

}  // namespace

extern "C" {

int munmap(void* address, size_t bytes) noexcept {
  std::optional<PageLocker> locker = ProcessLockerInUse();
  if (!locker) return os::RawMunmap(address, bytes);
  const auto call = [&] { return os::RawMunmap(address, bytes) == 0; };
  return locker->Replacing(RangeOf(address, bytes), false, call) ? 0 : -1;
}

void* mmap64(void* address, size_t bytes, int protection, int flags, int descriptor,
             int64_t offset) noexcept {
  const auto map = [&](int with) {
    return os::RawMmap(address, bytes, protection, with, descriptor, offset);
  };
  if (!os::ReplacesMappings(flags)) return map(flags);
  std::optional<PageLocker> locker = ProcessLockerInUse();
  if (!locker) return map(flags);
  void* mapped = os::kMmapFailed;
  // Other threads' first pins wait for this call, so it reads nothing in.
  const auto call = [&] { return (mapped = map(os::WithoutPopulating(flags))) != os::kMmapFailed; };
  if (!locker->Replacing(RangeOf(address, bytes), false, call)) return os::kMmapFailed;
  os::PopulateIfAsked(mapped, bytes, protection, flags);
  return mapped;
}

void* mmap(void* address, size_t bytes, int protection, int flags, int descriptor,
           int64_t offset) noexcept {
  return mmap64(address, bytes, protection, flags, descriptor, offset);
}

void* mremap(void* address, size_t bytes, size_t new_bytes, int flags, ...) noexcept {
  va_list arguments;
  va_start(arguments, flags);
  void* new_address = os::HasNewAddress(flags) ? va_arg(arguments, void*) : nullptr;
  va_end(arguments);
  const auto remap = [&] { return os::RawMremap(address, bytes, new_bytes, flags, new_address); };
  std::optional<PageLocker> locker = ProcessLockerInUse();
  if (!locker) return remap();
  const auto call = [&]() -> uintptr_t {
    void* moved = remap();
    return moved == os::kMmapFailed ? 0 : reinterpret_cast<uintptr_t>(moved);
  };
  std::optional<uintptr_t> place;
  if (os::ReplacesWhereItMoves(flags)) place = reinterpret_cast<uintptr_t>(new_address);
  const uintptr_t moved = locker->Remapping(RangeOf(address, bytes), new_bytes, place, call);
  return moved == 0 ? os::kMmapFailed : reinterpret_cast<void*>(moved);
}

int madvise(void* address, size_t bytes, int advice) noexcept {
  if (!os::DropsLockedPages(advice)) return os::RawMadvise(address, bytes, advice);
  std::optional<PageLocker> locker = ProcessLockerInUse();
  if (!locker) return os::RawMadvise(address, bytes, advice);
  const auto call = [&] { return os::RawMadvise(address, bytes, advice) == 0; };
  return locker->Replacing(RangeOf(address, bytes), true, call) ? 0 : -1;
}

// The C library's symbols have versions, for which a symbol with a version of ours would not do. In
// the shared library they are exported without one, past the version script.
#ifdef PINLOCK_EXPORT_UNVERSIONED
__asm__(".symver munmap, munmap@@");
__asm__(".symver mmap64, mmap64@@");
__asm__(".symver mmap, mmap@@");
__asm__(".symver mremap, mremap@@");
__asm__(".symver madvise, madvise@@");
#endif

}  // extern "C"
