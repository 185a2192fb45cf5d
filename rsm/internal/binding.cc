#include "rsm/internal/binding.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "os/live_replace.h"
#include "os/memory.h"
#include "os/memory_object.h"
#include "os/shared_mapping.h"
#include "os/thread_sanitizer.h"
#include "pinlock/mpin.h"
#include "rsm/internal/error.h"
#include "rsm/internal/generation.h"
#include "rsm/internal/memory_kind.h"
#include "rsm/internal/unpin.h"

namespace rsm::internal {

class Binding {
 public:
  void* address = nullptr;
  size_t bytes = 0;
  int segments = 0;  // that are bound to it
  // One of the three.
  std::optional<os::MemoryObject> own;
  os::OwnedDescriptor foreign;
  int sysv = -1;

  os::FileNumber file;     // of the first two
  uint64_t offset = 0;     // of `address` in it
  bool is_sealed = false;  // against new writers
};

namespace {

std::vector<std::weak_ptr<Binding>>& Bindings() {
  static auto* const bindings = new std::vector<std::weak_ptr<Binding>>();
  return *bindings;
}

os::PageRange PagesOf(void* address, size_t bytes) {
  return *os::PageRange::Covering(reinterpret_cast<uintptr_t>(address), bytes,
                                  os::RealMemory().page_size());
}

int FailWith(int code, const char* what, os::Errno error) {
  return Fail(code, "%s: %s", what, std::strerror(error.code()));
}

// Copies memory that other threads use. Those that write are stopped, or what they write is carried over
// later (LateWrites); ThreadSanitizer knows of neither.
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

int Pin(void* address, size_t bytes) {
  if (mpin(address, bytes) == 0) return RSM_SUCCESS;
  const int code = errno == EINVAL ? RSMERR_BAD_ADDR : RSMERR_INSUFFICIENT_MEM;
  return Fail(code, "the segment cannot be locked: %s", mpin_error());
}

// Fresh memory that will be moved to where pages are pinned, so it must be locked by then. It is locked
// at once where the limit admits both for a moment, and else only when it is there.
class Replacement {
 public:
  // Owns the mapping.
  Replacement(void* view, size_t bytes) : view_(view), bytes_(bytes) {}
  Replacement(const Replacement&) = delete;
  Replacement& operator=(const Replacement&) = delete;
  ~Replacement() {
    if (has_moved()) return;
    if (is_pinned_) (void)munpin(view_, bytes_);
    (void)os::UnmapShared(view_, bytes_);
  }

  void* view() const { return view_; }
  // INSUFFICIENT_MEM: the machine has no room for it.
  int PinIfPossible() {
    is_pinned_ = mpin(view_, bytes_) == 0;
    if (is_pinned_ || errno == ENOMEM) return RSM_SUCCESS;
    return Fail(RSMERR_INSUFFICIENT_MEM, "there is no memory for the segment: %s", mpin_error());
  }
  os::Errno MoveTo(os::LiveReplacement& place, void* address) {
    if (const os::Errno error = place.MoveHere(view_); !error.ok()) return error;
    address_ = address;
    return os::kSuccess;
  }
  bool has_moved() const { return address_ != nullptr; }
  // After MoveTo, once writers go on: it is locked where it is now, if it must be.
  os::Errno Settle(bool must_be_locked) {
    if (is_pinned_) (void)mpin_forget(view_, bytes_);
    if (is_pinned_ || !must_be_locked) return os::kSuccess;
    return os::RealMemory().Lock(PagesOf(address_, bytes_));
  }

 private:
  void* view_;
  size_t bytes_;
  bool is_pinned_ = false;
  void* address_ = nullptr;
};

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

// Maps a new object with a copy of the range in its place. `out` and `file` are set if that was done, even
// if it could not be locked then.
int PutIntoObject(void* address, size_t bytes, std::optional<os::MemoryObject>& out,
                  os::FileNumber& file) {
  os::Result<os::MemoryObject> object = os::MemoryObject::Create("rsm", bytes);
  if (!object.ok()) {
    const bool none_left =
        object.error() == os::Errno(EMFILE) || object.error() == os::Errno(ENFILE);
    return FailWith(none_left ? RSMERR_INSUFFICIENT_RESOURCES : RSMERR_INSUFFICIENT_MEM,
                    "no object for the segment", object.error());
  }
  const os::Result<os::FileNumber> number = os::FileNumberOf(object->descriptor());
  if (!number.ok()) return FailWith(RSMERR_INSUFFICIENT_MEM, "fstat(2)", number.error());
  const os::Result<void*> view =
      os::MapShared(object->descriptor(), 0, bytes, os::View::kReadWrite);
  if (!view.ok()) return FailWith(RSMERR_INSUFFICIENT_MEM, "mmap(2)", view.error());
  Replacement replacement(*view, bytes);
  if (const int error = replacement.PinIfPossible(); error != RSM_SUCCESS) return error;
  {
    os::LiveReplacement place(address, bytes);
    if (const os::Errno error = place.StopWriters(service_threads.load()); !error.ok())
      return FailToStopWriters(error);
    CopyLive(replacement.view(), address, bytes);
    if (const os::Errno error = replacement.MoveTo(place, address); !error.ok()) {
      return FailWith(RSMERR_INSUFFICIENT_MEM, "mremap(2)", error);
    }
  }
  out.emplace(std::move(*object));
  file = *number;
  (void)os::SetInherited(address, bytes, false);
  if (const os::Errno error = replacement.Settle(true); !error.ok()) {
    return FailWith(RSMERR_INSUFFICIENT_MEM, "the limit was used up meanwhile; mlock(2)", error);
  }
  return RSM_SUCCESS;
}

// True where it cannot be told, as for want of a descriptor: whoever has pins must keep the locks.
bool HasOtherPins(void* address, size_t bytes) {
  mpin_info info = {};
  return mpin_query(address, bytes, &info) != 0 || info.count_max > 1;
}

int CheckMemoryOf(const Binding& binding) {
  return CheckMaps(binding.address, binding.bytes, binding.file, binding.offset);
}

// For when writers cannot be stopped: what they write to the object after it was copied. The object is there
// still when the copy has taken its place, and what it holds then that it did not hold before is carried
// over, word by word, where the program has not written something newer.
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

void MoveWhileWriting(Replacement& replacement, os::LiveReplacement& place,
                      const Binding& binding) {
  LateWrites late(binding.address, binding.bytes);
  const bool is_kept = late.CopyTo(replacement.view());
  if (!is_kept) CopyLive(replacement.view(), binding.address, binding.bytes);
  if (replacement.MoveTo(place, binding.address).ok() && is_kept) late.CarryOverTo(binding.address);
}

// Puts private memory with the same contents in the place of the object. Where there is no memory for
// it, or the program has unmapped the range meanwhile, all stays as it is.
void MakePrivate(const Binding& binding) {
  if (CheckMemoryOf(binding) != RSM_SUCCESS) return;
  const os::Result<void*> copy = os::MapPrivate(binding.bytes);
  if (!copy.ok()) {
    (void)os::SetInherited(binding.address, binding.bytes, true);
    return;
  }
  Replacement replacement(*copy, binding.bytes);
  const bool must_lock = HasOtherPins(binding.address, binding.bytes);
  if (must_lock) (void)replacement.PinIfPossible();
  {
    os::LiveReplacement place(binding.address, binding.bytes);
    if (place.StopWriters(service_threads.load()).ok()) {
      CopyLive(replacement.view(), binding.address, binding.bytes);
      (void)replacement.MoveTo(place, binding.address);
    } else {
      MoveWhileWriting(replacement, place, binding);
    }
  }
  if (replacement.has_moved()) (void)replacement.Settle(must_lock);
}

std::shared_ptr<Binding> FindBinding(os::FileNumber file) {
  std::erase_if(Bindings(), [](const std::weak_ptr<Binding>& one) { return one.expired(); });
  for (const std::weak_ptr<Binding>& one : Bindings()) {
    std::shared_ptr<Binding> binding = one.lock();
    if (binding != nullptr && binding->own && binding->file == file) return binding;
  }
  return nullptr;
}

// The memory is shared already.
int BindShared(const MemoryKind& kind, void* address, size_t bytes,
               std::shared_ptr<Binding>& binding) {
  if (kind.type == MemoryKind::Type::kFile) {
    binding = FindBinding(kind.file);
    if (binding != nullptr) return RSM_SUCCESS;
  }
  binding = std::make_shared<Binding>();
  binding->address = address;
  binding->bytes = bytes;
  binding->offset = kind.offset;
  if (kind.type == MemoryKind::Type::kSysV) {
    binding->sysv = kind.sysv;
    return RSM_SUCCESS;
  }
  binding->file = kind.file;
  os::Result<os::OwnedDescriptor> descriptor = os::FindOpenDescriptor(kind.file);
  if (!descriptor.ok()) {
    if (descriptor.error() != os::Errno(ENOENT)) {
      return FailWith(RSMERR_INSUFFICIENT_RESOURCES, "the memory's open descriptor",
                      descriptor.error());
    }
    return Fail(RSMERR_BAD_ADDR,
                "the object at %p has no open descriptor in this process; keep that of "
                "memfd_create(2) open until the segment is created",
                address);
  }
  binding->foreign = std::move(*descriptor);
  return RSM_SUCCESS;
}

int BindPrivate(void* address, size_t bytes, std::shared_ptr<Binding>& binding) {
  binding = std::make_shared<Binding>();
  binding->address = address;
  binding->bytes = bytes;
  Bindings().push_back(binding);
  const int error = PutIntoObject(address, bytes, binding->own, binding->file);
  if (binding->own && error != RSM_SUCCESS) MakePrivate(*binding);
  return error;
}

}  // namespace

Source BoundRange::source() const {
  Source source;
  source.sysv = binding->sysv;
  if (binding->own) source.descriptor = binding->own->descriptor();
  if (!binding->own && binding->sysv < 0) source.descriptor = binding->foreign.get();
  source.offset = offset;
  return source;
}

bool BoundRange::is_separate() const { return binding->own && binding->segments == 1; }

int Bind(void* address, size_t bytes, BoundRange& bound) {
  MemoryKind kind;
  if (const int error = KindOfMemory(address, bytes, kind); error != RSM_SUCCESS) return error;
  if (const int error = Pin(address, bytes); error != RSM_SUCCESS) return error;
  std::shared_ptr<Binding> binding;
  const int error = kind.type == MemoryKind::Type::kPrivate
                        ? BindPrivate(address, bytes, binding)
                        : BindShared(kind, address, bytes, binding);
  if (error != RSM_SUCCESS) {
    (void)munpin(address, bytes);
    return error;
  }
  ++binding->segments;
  bound = {std::move(binding), address, bytes, kind.offset};
  return RSM_SUCCESS;
}

void Unbind(BoundRange& bound) {
  if (bound.binding == nullptr) return;
  Binding& binding = *bound.binding;
  if (--binding.segments == 0 && binding.own) {
    binding.own = std::nullopt;  // its descriptor may be the only one to be had for what follows
    MakePrivate(binding);
  }
  Unpin(bound.address, bound.bytes);
  bound.binding = nullptr;
}

int Renew(BoundRange& bound) {
  Binding& binding = *bound.binding;
  if (const int error = CheckMemoryOf(binding); error != RSM_SUCCESS) return error;
  std::optional<os::MemoryObject> fresh;
  const int error = PutIntoObject(binding.address, binding.bytes, fresh, binding.file);
  if (!fresh) return error;  // what could not be locked is in its place all the same
  binding.own = std::move(fresh);
  binding.offset = 0;
  binding.is_sealed = false;
  return RSM_SUCCESS;
}

bool RefuseNewWriters(BoundRange& bound) {
  Binding& binding = *bound.binding;
  if (!binding.own) return false;
  binding.is_sealed = binding.own->RefuseNewWriters().ok();
  return binding.is_sealed;
}

bool refuses_new_writers(const BoundRange& bound) { return bound.binding->is_sealed; }

void Seal(BoundRange& bound) {
  // EPERM: it is sealed already.
  if (bound.binding->own) (void)bound.binding->own->Seal();
}

void ForgetBindings() { Bindings().clear(); }

namespace {

// A second view of the object, that is locked if the first one is. Where the lock limit does not admit
// both for a moment the first one is unlocked, for as long as that takes.
os::Result<void*> SecondView(const Binding& binding, bool& was_unlocked) {
  os::Result<void*> view = os::Duplicate(binding.address, binding.bytes);
  was_unlocked = false;
  if (view.ok()) return view;
  const os::PageRange pages = PagesOf(binding.address, binding.bytes);
  (void)os::RealMemory().Unlock(pages);
  was_unlocked = true;
  view = os::Duplicate(binding.address, binding.bytes);
  if (!view.ok()) (void)os::RealMemory().Lock(pages);
  return view;
}

// With writers stopped at both places. `old_copy` goes to where the binding was, and `object`, a view of
// it, to `address`, each with a copy of what is there.
os::Errno MoveBoth(const Binding& binding, void* address, Replacement& old_copy,
                   Replacement& object, os::LiveReplacement& old_place,
                   os::LiveReplacement& new_place) {
  CopyLive(old_copy.view(), binding.address, binding.bytes);
  os::Errno error = old_copy.MoveTo(old_place, binding.address);
  if (!error.ok()) return error;
  // Not earlier: who reads at the old place must not see what comes to the new one.
  CopyLive(object.view(), address, binding.bytes);
  error = object.MoveTo(new_place, address);
  if (error.ok()) return error;
  // Too many mappings, as `address` lies within a larger one. Back; if that is too much as well, the
  // program keeps its memory, and importers what they have.
  os::LiveReplacement back(binding.address, binding.bytes);
  (void)back.StopWriters(service_threads.load());
  CopyLive(object.view(), binding.address, binding.bytes);
  (void)object.MoveTo(back, binding.address);
  return error;
}

// Exchanges what is mapped at both places. `old_copy` goes to where the binding was, and a view of the
// object, filled with what is at `address`, there.
int Exchange(Binding& binding, void* address, Replacement& old_copy) {
  bool was_unlocked = false;
  const os::Result<void*> view = SecondView(binding, was_unlocked);
  if (!view.ok()) return FailWith(RSMERR_INSUFFICIENT_MEM, "mremap(2)", view.error());
  Replacement object(*view, binding.bytes);
  int result = RSM_SUCCESS;
  {
    os::LiveReplacement old_place(binding.address, binding.bytes);
    os::LiveReplacement new_place(address, binding.bytes);
    os::Errno error = old_place.StopWriters(service_threads.load());
    if (error.ok()) error = new_place.StopWriters(service_threads.load());
    if (!error.ok()) {
      result = FailToStopWriters(error);
    } else {
      error = MoveBoth(binding, address, old_copy, object, old_place, new_place);
      if (!error.ok()) result = FailWith(RSMERR_INSUFFICIENT_MEM, "mremap(2)", error);
    }
  }
  // The room for it was there a moment ago.
  if (was_unlocked) {
    (void)os::RealMemory().Lock(
        PagesOf(result == RSM_SUCCESS ? address : binding.address, binding.bytes));
  }
  return result;
}

}  // namespace

int Rebind(BoundRange& bound, void* address) {
  Binding& binding = *bound.binding;
  if (!binding.own) {
    return Fail(RSMERR_REBIND_NOT_ALLOWED,
                "the segment is memory that was shared before it was exported, and its importers "
                "share that; it cannot be bound to other memory");
  }
  if (!bound.is_separate() || bound.bytes != binding.bytes) {
    return Fail(RSMERR_INSUFFICIENT_RESOURCES,
                "another segment has, or had, a part of the same memory; destroy all that do, and "
                "create this one anew");
  }
  MemoryKind kind;
  if (const int error = KindOfMemory(address, bound.bytes, kind); error != RSM_SUCCESS)
    return error;
  if (kind.type != MemoryKind::Type::kPrivate) {
    return Fail(RSMERR_BAD_ADDR, "memory at %p is shared or exported already", address);
  }
  if (const int error = CheckMemoryOf(binding); error != RSM_SUCCESS) return error;
  if (const int error = Pin(address, bound.bytes); error != RSM_SUCCESS) return error;
  const os::Result<void*> copy = os::MapPrivate(bound.bytes);
  int error = copy.ok() ? RSM_SUCCESS
                        : FailWith(RSMERR_INSUFFICIENT_MEM, "no memory for a copy", copy.error());
  if (copy.ok()) {
    Replacement old_copy(*copy, bound.bytes);
    const bool must_lock = HasOtherPins(binding.address, binding.bytes);
    if (must_lock) error = old_copy.PinIfPossible();
    if (error == RSM_SUCCESS) error = Exchange(binding, address, old_copy);
    if (old_copy.has_moved()) (void)old_copy.Settle(must_lock);
  }
  if (error != RSM_SUCCESS) {
    (void)munpin(address, bound.bytes);
    return error;
  }
  (void)munpin(binding.address, bound.bytes);
  (void)os::SetInherited(address, bound.bytes, false);
  binding.address = bound.address = address;
  return RSM_SUCCESS;
}

}  // namespace rsm::internal
