#include "rsm/internal/binding.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "os/live_replace.h"
#include "os/memory.h"
#include "os/memory_object.h"
#include "os/shared_mapping.h"
#include "pinlock/mpin.h"
#include "rsm/internal/error.h"
#include "rsm/internal/generation.h"
#include "rsm/internal/memory_kind.h"
#include "rsm/internal/replacement.h"
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

  os::FileNumber file;       // of the first two
  uint64_t offset = 0;       // of `address` in it
  bool is_sealed = false;    // against new writers
  bool is_given_up = false;  // it had an object of its own
};

namespace {

std::vector<std::weak_ptr<Binding>>& Bindings() {
  static auto* const bindings = new std::vector<std::weak_ptr<Binding>>();
  return *bindings;
}

int Pin(void* address, size_t bytes) {
  if (mpin(address, bytes) == 0) return RSM_SUCCESS;
  const int code = errno == EINVAL ? RSMERR_BAD_ADDR : RSMERR_INSUFFICIENT_MEM;
  return Fail(code, "the segment cannot be locked: %s", mpin_error());
}

// Copies the range to an object, past the object's views: to write to a file costs much less than to touch
// pages that were mapped just now. By way of a buffer, as pages that only the program has used may be as
// new to the kernel (docs/design/exported-segments.md).
os::Errno Fill(const os::MemoryObject& object, const void* from, size_t bytes) {
  static std::byte buffer[64 << 10];
  for (size_t done = 0; done < bytes;) {
    const size_t count = std::min(bytes - done, sizeof(buffer));
    CopyLive(buffer, static_cast<const std::byte*>(from) + done, count);
    if (const os::Errno error = object.Write(done, buffer, count); !error.ok()) return error;
    done += count;
  }
  return os::kSuccess;
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
      os::MapUntouched(object->descriptor(), 0, bytes, os::View::kReadWrite);
  if (!view.ok()) return FailWith(RSMERR_INSUFFICIENT_MEM, "mmap(2)", view.error());
  Replacement replacement(*view, bytes);
  if (const int error = replacement.CheckRoom(); error != RSM_SUCCESS) return error;
  {
    os::LiveReplacement place(address, bytes);
    if (const os::Errno error = place.StopWriters(service_threads.load()); !error.ok())
      return FailToStopWriters(error);
    if (const os::Errno error = Fill(*object, address, bytes); !error.ok()) {
      return FailWith(RSMERR_INSUFFICIENT_MEM, "pwrite(2)", error);
    }
    replacement.LockIfAdmitted();
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

int CheckMemoryOf(const Binding& binding) {
  return CheckMaps(binding.address, binding.bytes, binding.file, binding.offset);
}

// Puts private memory with the same contents in the place of a part of the object's memory. Where there is
// no memory for it, that stays as it is.
void MakePartPrivate(void* address, size_t bytes, bool stays_pinned) {
  const os::Result<void*> copy = os::MapPrivate(bytes);
  if (!copy.ok()) {
    (void)os::SetInherited(address, bytes, true);
    return;
  }
  Replacement replacement(*copy, bytes);
  const bool must_lock = stays_pinned || HasOtherPins(address, bytes);
  if (must_lock) (void)replacement.LockIfPossible();
  {
    os::LiveReplacement place(address, bytes);
    if (place.StopWriters(service_threads.load()).ok()) {
      CopyLive(replacement.view(), address, bytes);
      (void)replacement.MoveTo(place, address);
    } else {
      MoveWhileWriting(replacement, place, address, bytes);
    }
  }
  if (replacement.has_moved()) (void)replacement.Settle(must_lock);
}

// All of it that the program has not unmapped or replaced meanwhile. `stays_pinned`: by the segment.
void MakePrivate(const Binding& binding, bool stays_pinned) {
  (void)ForEachPartThatMaps(
      binding.address, binding.bytes, binding.file, binding.offset,
      [&](void* address, size_t bytes) { MakePartPrivate(address, bytes, stays_pinned); });
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
  Bindings().push_back(binding);
  binding->foreign = std::move(*descriptor);
  return RSM_SUCCESS;
}

int BindPrivate(void* address, size_t bytes, std::shared_ptr<Binding>& binding) {
  binding = std::make_shared<Binding>();
  binding->address = address;
  binding->bytes = bytes;
  Bindings().push_back(binding);
  const int error = PutIntoObject(address, bytes, binding->own, binding->file);
  if (binding->own && error != RSM_SUCCESS) MakePrivate(*binding, false);
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
    MakePrivate(binding, false);
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

void GiveUp(BoundRange& bound) {
  Binding& binding = *bound.binding;
  binding.is_given_up = true;
  binding.own = std::nullopt;
  MakePrivate(binding, true);
}

int CheckNotGivenUp(const BoundRange& bound) {
  if (!bound.binding->is_given_up) return RSM_SUCCESS;
  return Fail(RSMERR_BAD_ADDR,
              "the program had unmapped or replaced a part of the segment's memory when it was "
              "unpublished; destroy the segment, and create it anew");
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

// What the child keeps of a segment is its handle. The parent's object must not live on with the child.
void ForgetBindings() {
  for (const std::weak_ptr<Binding>& one : Bindings()) {
    const std::shared_ptr<Binding> binding = one.lock();
    if (binding == nullptr) continue;
    binding->own = std::nullopt;
    binding->foreign = os::OwnedDescriptor();
  }
  Bindings().clear();
}

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
  // By a view that is there already, where the object is sealed, or RLIMIT_FSIZE has become lower.
  if (!Fill(*binding.own, address, binding.bytes).ok()) {
    CopyLive(object.view(), address, binding.bytes);
  }
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
  if (const int error = CheckNotGivenUp(bound); error != RSM_SUCCESS) return error;
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
    if (must_lock) error = old_copy.LockIfPossible();
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
