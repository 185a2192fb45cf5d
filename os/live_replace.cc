#include "os/live_replace.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "os/raw_memory.h"
#include "os/result.h"
#include "os/shared_mapping.h"

namespace os {
namespace {

// UFFD_FEATURE_WP_UNPOPULATED, newer than the headers of Debian 12: private pages that are absent
// are protected too.
constexpr uint64_t kProtectsAbsent = uint64_t{1} << 13;

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

Result<OwnedDescriptor> OpenFaults() {
  constexpr int kFlags = O_CLOEXEC | O_NONBLOCK;
  OwnedDescriptor faults(static_cast<int>(syscall(SYS_userfaultfd, kFlags)));
  // Without privilege only for writes that the program itself makes, not for those of system calls.
  if (faults.get() < 0 && errno == EPERM) {
    faults =
        OwnedDescriptor(static_cast<int>(syscall(SYS_userfaultfd, kFlags | UFFD_USER_MODE_ONLY)));
  }
  if (faults.get() < 0) return Errno::Last();
  return faults;
}

// Agrees with the kernel on as much as it can do; returns that. EINVAL: it cannot protect at all.
Result<uint64_t> AgreeOnFeatures(int faults) {
  constexpr uint64_t kPrivate = UFFD_FEATURE_PAGEFAULT_FLAG_WP;
  constexpr uint64_t kShared = kPrivate | UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
  for (const uint64_t features : {kShared | kProtectsAbsent, kShared, kPrivate}) {
    uffdio_api agreement{.api = UFFD_API, .features = features, .ioctls = 0};
    if (ioctl(faults, UFFDIO_API, &agreement) == 0) return features;
  }
  return Errno::Last();
}

// Protects a registered range (UFFDIO_WRITEPROTECT_MODE_WP) or no longer (0).
Errno Protect(int faults, uffdio_range range, uint64_t mode) {
  uffdio_writeprotect request{.range = range, .mode = mode};
  do {
    if (ioctl(faults, UFFDIO_WRITEPROTECT, &request) == 0) return kSuccess;
  } while (errno == EAGAIN);
  // Kernels as old as 6.1 take no more than one mapping: then the range is halved until it is one.
  const Errno error = Errno::Last();
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t half = range.len / 2 / page * page;
  if (error != Errno(ENOENT) || half == 0) return error;
  const Errno first = Protect(faults, {.start = range.start, .len = half}, mode);
  if (!first.ok()) return first;
  return Protect(faults, {.start = range.start + half, .len = range.len - half}, mode);
}

uffdio_range RangeOf(void* address, size_t bytes) {
  return {.start = reinterpret_cast<uintptr_t>(address), .len = bytes};
}

}  // namespace

LiveReplacement::~LiveReplacement() { LetWritersGo(); }

Errno LiveReplacement::StopWriters(size_t harmless) {
  if (!HasOtherThreads(harmless)) return kSuccess;
  Result<OwnedDescriptor> faults = OpenFaults();
  if (!faults.ok()) return faults.error();
  const Result<uint64_t> features = AgreeOnFeatures(faults->get());
  if (!features.ok()) return features.error();
  if ((*features & kProtectsAbsent) == 0 && RawMadvise(range_, bytes_, MADV_POPULATE_READ) != 0) {
    return Errno::Last();
  }

  // After an error nothing is protected yet, and what is registered already is given up with the
  // descriptor. It may be registered by somebody else: hands off.
  uffdio_register registration{
      .range = RangeOf(range_, bytes_), .mode = UFFDIO_REGISTER_MODE_WP, .ioctls = 0};
  if (ioctl(faults->get(), UFFDIO_REGISTER, &registration) != 0) return Errno::Last();

  sigset_t all;
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &signals_);
  faults_ = *std::move(faults);
  const Errno error = Protect(faults_.get(), registration.range, UFFDIO_WRITEPROTECT_MODE_WP);
  if (!error.ok()) LetWritersGo();
  return error;
}

Errno LiveReplacement::MoveHere(void* copy) {
  const Errno error = Move(copy, bytes_, range_);
  moved_ = error.ok();
  return error;
}

// Closing the descriptor alone would not do: a child that was forked meanwhile has it open too.
void LiveReplacement::LetWritersGo() {
  if (faults_.get() < 0) return;
  uffdio_range range = RangeOf(range_, bytes_);
  // What has been moved here was never protected.
  if (!moved_) {
    (void)Protect(faults_.get(), range, 0);
    (void)ioctl(faults_.get(), UFFDIO_UNREGISTER, &range);
  }
  // At last, as a writer who has found a page protected may have begun to wait after that was over.
  (void)ioctl(faults_.get(), UFFDIO_WAKE, &range);
  faults_ = OwnedDescriptor();
  (void)pthread_sigmask(SIG_SETMASK, &signals_, nullptr);
}

// The kernel counts the threads as links of the folder, beside "." and "..".
bool HasOtherThreads(size_t harmless) {
  struct stat status {};
  return stat("/proc/self/task", &status) != 0 || status.st_nlink != 3 + harmless;
}

}  // namespace os
