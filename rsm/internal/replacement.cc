#include "rsm/internal/replacement.h"

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "os/memory.h"
#include "os/shared_mapping.h"
#include "os/thread_sanitizer.h"
#include "pinlock/mpin.h"
#include "rsm/internal/error.h"

namespace rsm::internal {
namespace {

// What writers that cannot be stopped write to an object after it was copied. It is there still when the
// copy has taken its place; what it holds then that it did not hold before is carried over.
class LateWrites {
 public:
  LateWrites(void* range, size_t bytes)
      : bytes_(bytes), object_(os::Duplicate(range, bytes)), seen_(os::MapPrivate(bytes)) {}
  LateWrites(const LateWrites&) = delete;
  LateWrites& operator=(const LateWrites&) = delete;
  ~LateWrites() {
    if (object_.ok()) (void)os::UnmapShared(*object_, bytes_);
    if (seen_.ok()) (void)os::UnmapShared(*seen_, bytes_);
  }

  // False: there is no memory for it.
  bool CopyTo(void* copy) {
    if (!object_.ok() || !seen_.ok()) return false;
    CopyLive(*seen_, *object_, bytes_);
    std::memcpy(copy, *seen_, bytes_);
    return true;
  }
  void CarryOverTo(void* range) const {
    const auto* const last = static_cast<const uint64_t*>(*object_);
    auto* const seen = static_cast<uint64_t*>(*seen_);
    auto* const now = static_cast<uint64_t*>(range);
    for (size_t i = 0; i < bytes_ / sizeof(uint64_t); ++i) {
      const uint64_t word = __atomic_load_n(&last[i], __ATOMIC_RELAXED);
      if (word == seen[i]) continue;
      (void)__atomic_compare_exchange_n(&now[i], &seen[i], word, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED);
    }
  }

 private:
  size_t bytes_;
  os::Result<void*> object_;  // another view of it
  os::Result<void*> seen_;
};

}  // namespace

os::PageRange PagesOf(void* address, size_t bytes) {
  return *os::PageRange::Covering(reinterpret_cast<uintptr_t>(address), bytes,
                                  os::RealMemory().page_size());
}

int FailWith(int code, const char* what, os::Errno error) {
  return Fail(code, "%s: %s", what, std::strerror(error.code()));
}

int FailToStopWriters(os::Errno error) {
  if (error == os::Errno(ENOMEM)) return FailWith(RSMERR_INSUFFICIENT_MEM, "userfaultfd(2)", error);
  if (error == os::Errno(EMFILE) || error == os::Errno(ENFILE)) {
    return FailWith(RSMERR_INSUFFICIENT_RESOURCES, "userfaultfd(2)", error);
  }
  return Fail(RSMERR_INSUFFICIENT_RESOURCES,
              "writes of other threads to the segment could be lost, as userfaultfd(2) cannot stop "
              "them (%s); create segments before other threads are started, in memory of no file, "
              "or allow userfaultfd(2) in the container's seccomp profile",
              std::strerror(error.code()));
}

#if OS_THREAD_SANITIZER
__attribute__((no_sanitize("thread"))) void CopyLive(void* to, const void* from, size_t bytes) {
  auto* const words = static_cast<uint64_t*>(to);
  for (size_t i = 0; i < bytes / sizeof(uint64_t); ++i) {
    words[i] = static_cast<const uint64_t*>(from)[i];
  }
}
#else
void CopyLive(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
#endif

bool HasOtherPins(void* address, size_t bytes) {
  mpin_info info = {};
  return mpin_query(address, bytes, &info) != 0 || info.count_max > 1;
}

Replacement::~Replacement() {
  if (!has_moved()) (void)os::UnmapShared(view_, bytes_);
}

int Replacement::CheckRoom() {
  is_admitted_ = mpin_check(view_, bytes_) == 0;
  if (is_admitted_ || errno == ENOMEM) return RSM_SUCCESS;
  return Fail(RSMERR_INSUFFICIENT_MEM, "there is no memory for the segment: %s", mpin_error());
}

void Replacement::LockIfAdmitted() {
  is_locked_ = is_admitted_ && os::RealMemory().Lock(PagesOf(view_, bytes_)).ok();
}

int Replacement::LockIfPossible() {
  const int error = CheckRoom();
  if (error == RSM_SUCCESS) LockIfAdmitted();
  return error;
}

os::Errno Replacement::MoveTo(os::LiveReplacement& place, void* address) {
  if (const os::Errno error = place.MoveHere(view_); !error.ok()) return error;
  address_ = address;
  return os::kSuccess;
}

os::Errno Replacement::Settle(bool must_be_locked) {
  if (is_locked_ || !must_be_locked) return os::kSuccess;
  return os::RealMemory().Lock(PagesOf(address_, bytes_));
}

void MoveWhileWriting(Replacement& replacement, os::LiveReplacement& place, void* range,
                      size_t bytes) {
  LateWrites late(range, bytes);
  const bool is_kept = late.CopyTo(replacement.view());
  if (!is_kept) CopyLive(replacement.view(), range, bytes);
  if (replacement.MoveTo(place, range).ok() && is_kept) late.CarryOverTo(range);
}

}  // namespace rsm::internal
