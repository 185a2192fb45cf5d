#include "mpool/internal/shared_region.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "mpool/internal/error_text.h"
#include "mpool/internal/ghost.h"
#include "mpool/internal/kill_point.h"
#include "mpool/internal/page_table.h"
#include "os/limits.h"
#include "os/memory.h"

namespace mpool::internal {
namespace {

constexpr uint64_t kMagic = 0x6c6f6f70'6d000001;  // "m", version, "pool"
constexpr uint64_t kDoor = 0;                     // the byte of whoever comes or goes
// Where a name is somebody else's, or another key's, the next is tried.
constexpr int kNamesMax = 16;
constexpr uint64_t kAlignment = os::Memory::kHugePageBytes;

// Fowler, Noll and Vo's 64-bit hash, FNV-1a.
constexpr uint64_t Mix(uint64_t hash, uint64_t byte) { return (hash ^ byte) * 0x100000001b3; }
constexpr uint64_t kHashStart = 0xcbf29ce484222325;

uint64_t HashOf(std::span<const std::byte> bytes) {
  uint64_t hash = kHashStart;
  for (const std::byte byte : bytes) hash = Mix(hash, static_cast<uint64_t>(byte));
  return hash;
}

// Another build of the library has another one where it would understand the region differently.
constexpr uint64_t LayoutHash() {
  uint64_t hash = kHashStart;
  for (const uint64_t value : {sizeof(Superblock),
                               offsetof(Superblock, state),
                               sizeof(PoolState),
                               sizeof(MemoryState),
                               offsetof(PoolState, latch),
                               offsetof(PoolState, memory),
                               offsetof(PoolState, queues),
                               offsetof(PoolState, victims),
                               offsetof(PoolState, page_count),
                               offsetof(PoolState, stats),
                               sizeof(FrameHeader),
                               offsetof(FrameHeader, dirty),
                               offsetof(FrameHeader, pins),
                               offsetof(FrameHeader, owner),
                               offsetof(FrameHeader, next),
                               offsetof(FrameHeader, pinner),
                               sizeof(PinLine),
                               offsetof(PinLine, hits),
                               sizeof(Participant),
                               sizeof(pthread_mutex_t)}) {
    hash = Mix(hash, value);
  }
  return hash;
}

uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

std::string NameOf(std::span<const std::byte> key, int attempt) {
  char text[40];
  std::snprintf(text, sizeof(text), "%016" PRIx64 ".%d", HashOf(key), attempt);
  return SharedRegion::NamePrefix() + text;
}

bool HasParticipants(const os::SharedObject& object) {
  return object.IsLockedElsewhere(SharedRegion::PlaceByte(0), Superblock::kParticipantsMax);
}

}  // namespace

std::string SharedRegion::NamePrefix() {
  return "mpool." + std::to_string(os::CurrentUser()) + ".";
}

std::unique_ptr<const Superblock> SharedRegion::CopySuperblock(const os::SharedObject& object) {
  std::unique_ptr<Superblock> copy(new (std::nothrow) Superblock());
  if (copy == nullptr) return nullptr;
  const os::Result<size_t> read =
      object.Read(0, static_cast<void*>(copy.get()), sizeof(Superblock));
  if (!read.ok() || *read < sizeof(Superblock)) return nullptr;
  return copy;
}

SharedRegion::Layout SharedRegion::Layout::For(uint32_t page_size, uint64_t ordinary_max) {
  const uint64_t stride = StrideOf(page_size);
  Layout layout;
  layout.frames_max = 2 * ordinary_max;
  uint64_t end = RoundUp(sizeof(Superblock), 4096);
  const auto place = [&end](uint64_t size) {
    const uint64_t begin = RoundUp(end, size >= kAlignment ? kAlignment : 4096);
    end = begin + RoundUp(size, 4096);
    return begin;
  };
  layout.lines =
      place(Superblock::kParticipantsMax * Superblock::kLinesPerParticipant * sizeof(PinLine));
  // A table of n entries lies n entries from the start, behind all smaller ones. So does a ghost.
  layout.tables = place(2 * PageTable::EntriesFor(layout.frames_max) * sizeof(PageTable::Entry));
  layout.ghosts = place(2 * Ghost::EntriesFor(ordinary_max) * sizeof(uint64_t));
  layout.headers = place(layout.frames_max * sizeof(FrameHeader));
  layout.ledgers = place(layout.frames_max * sizeof(LedgerWord) * Superblock::kParticipantsMax);
  layout.frames = place(std::max(layout.frames_max * stride, kAlignment));
  layout.bytes = end;
  return layout;
}

os::Result<std::unique_ptr<SharedRegion>> SharedRegion::Attach(const Request& request) {
  if (request.key.empty() || request.key.size() > Superblock::kKeyBytesMax) {
    return Failed(os::Errno(EINVAL),
                  "the key of a shared pool has %zu bytes; 1 to %zu are possible",
                  request.key.size(), Superblock::kKeyBytesMax);
  }
  for (;;) {
    int first_free = -1;
    bool again = false;
    for (int attempt = 0; attempt < kNamesMax && !again; ++attempt) {
      os::Result<os::SharedObject> object =
          os::SharedObject::Open(request.folder, NameOf(request.key, attempt));
      if (!object.ok()) {
        const bool taken = object.error() == os::Errno(EACCES);
        if (!taken && object.error() != os::Errno(ENOENT)) {
          return Failed(object.error(), "%s cannot be searched for the pool: %s",
                        request.folder.c_str(), std::strerror(object.error().code()));
        }
        if (!taken && first_free < 0) first_free = attempt;
        continue;
      }
      std::unique_ptr<SharedRegion> region(new (std::nothrow) SharedRegion(std::move(*object)));
      if (region == nullptr) return Failed(os::Errno(ENOMEM), "no memory for a pool");
      const os::Errno error = region->Enter(request);
      if (error.ok()) return region;
      if (error == os::Errno(ENOENT)) again = true;  // it has gone meanwhile
      if (error != os::Errno(ENOENT) && error != os::Errno(EEXIST)) return error;
    }
    if (again) continue;
    if (first_free < 0) {
      return Failed(os::Errno(EACCES),
                    "the names %s* in %s are taken by other users, or open to them; remove them",
                    NameOf(request.key, 0).c_str(), request.folder.c_str());
    }
    const os::Result<os::SharedObject> made =
        os::SharedObject::Create(request.folder, NameOf(request.key, first_free));
    if (!made.ok() && made.error() != os::Errno(EEXIST)) {
      return Failed(made.error(), "a pool cannot be made in %s: %s", request.folder.c_str(),
                    std::strerror(made.error().code()));
    }
  }
}

// ENOENT: its name has been taken away. EEXIST: it is the pool of another key.
os::Errno SharedRegion::Enter(const Request& request) {
  if (const os::Errno error = object_.LockByte(kDoor); !error.ok()) {
    return Failed(error, "the pool's object cannot be locked: %s", std::strerror(error.code()));
  }
  holds_door_ = true;
  KILL_POINT("attach.at_the_door");
  if (!object_.IsLinked()) return os::Errno(ENOENT);
  is_new_ = !HasParticipants(object_);
  return is_new_ ? Make(request) : Join(request);
}

// What is there is nobody's any more, or was never finished.
os::Errno SharedRegion::Make(const Request& request) {
  const uint64_t stride = StrideOf(request.page_size);
  const uint64_t frames =
      std::min<uint64_t>(os::PhysicalMemoryBytes() / stride + 1, kFramesMax / 2);
  const Layout layout = Layout::For(request.page_size, frames);
  os::Errno error = object_.Resize(0);
  if (error.ok()) error = object_.Resize(layout.bytes);
  KILL_POINT("make.resized");
  if (error.ok()) error = object_.Allocate(0, layout.lines);
  if (error == os::Errno(EFBIG)) {
    return Failed(error,
                  "a shared pool takes a file of %llu MiB in %s, most of it never used, and "
                  "RLIMIT_FSIZE (ulimit -f) forbids that",
                  static_cast<unsigned long long>(layout.bytes >> 20), request.folder.c_str());
  }
  if (!error.ok()) {
    return Failed(error, "no room for a shared pool in %s: %s", request.folder.c_str(),
                  std::strerror(error.code()));
  }
  if (error = Map(layout); !error.ok()) return error;
  superblock_ = new (base_) Superblock();
  superblock_->magic = kMagic;
  superblock_->layout = LayoutHash();
  superblock_->page_size = request.page_size;
  superblock_->key_bytes = static_cast<uint32_t>(request.key.size());
  superblock_->ordinary_max = frames;
  std::memcpy(superblock_->key, request.key.data(), request.key.size());
  superblock_->state.latch.Share();
  KILL_POINT("make.filled");
  return os::kSuccess;
}

bool SharedRegion::IsOfThisVersion(const Superblock& there) {
  return there.magic == kMagic && there.layout == LayoutHash();
}

bool SharedRegion::IsInBounds(const Superblock& there) {
  const uint64_t ordinary_max = there.ordinary_max;
  const MemoryState& memory = there.state.memory;
  return ordinary_max > 0 && ordinary_max <= kFramesMax / 2 && memory.ordinary <= ordinary_max &&
         memory.growth_extent <= ordinary_max &&
         memory.table_entries <= PageTable::EntriesFor(2 * ordinary_max) &&
         memory.ghost_entries <= Ghost::EntriesFor(ordinary_max) &&
         there.participants_used <= Superblock::kParticipantsMax;
}

bool SharedRegion::IsComplete(const Superblock& there, const os::SharedObject& object) {
  const os::Result<uint64_t> size = object.Size();
  return size.ok() && *size == Layout::For(there.page_size, there.ordinary_max).bytes &&
         object.Blocks() >= there.blocks;
}

os::Errno SharedRegion::CheckHeader(const Request& request, uint64_t& ordinary_max) const {
  const auto damaged = [this](const char* how) {
    return Failed(
        os::Errno(EPROTO),
        "the object %s of the pool %s; close the pool in all processes, or remove it with "
        "mpool rm --force",
        object_.name().c_str(), how);
  };
  const std::unique_ptr<const Superblock> copy = CopySuperblock(object_);
  if (copy == nullptr) return damaged("has been truncated");
  const Superblock& there = *copy;
  if (!IsOfThisVersion(there)) {
    return damaged("is damaged, or of another version of this library");
  }
  if (there.key_bytes != request.key.size() ||
      std::memcmp(there.key, request.key.data(), request.key.size()) != 0) {
    return os::Errno(EEXIST);
  }
  if (there.page_size != request.page_size) {
    return Failed(os::Errno(EINVAL),
                  "the pool of this key has pages of %u bytes, and %u were asked for",
                  there.page_size, request.page_size);
  }
  ordinary_max = there.ordinary_max;
  if (!IsInBounds(there) || there.ready == 0) return damaged("is damaged");
  if (!IsComplete(there, object_)) return damaged("has been truncated");
  return os::kSuccess;
}

os::Errno SharedRegion::Join(const Request& request) {
  uint64_t ordinary_max = 0;
  if (const os::Errno error = CheckHeader(request, ordinary_max); !error.ok()) return error;
  if (const os::Errno error = Map(Layout::For(request.page_size, ordinary_max)); !error.ok()) {
    return error;
  }
  superblock_ = reinterpret_cast<Superblock*>(base_);
  return os::kSuccess;
}

os::Errno SharedRegion::Map(const Layout& layout) {
  const os::Result<void*> mapped = object_.Map(layout.bytes, kAlignment);
  if (!mapped.ok()) {
    return Failed(os::Errno(ENOMEM),
                  "no address space for a shared pool, which takes %llu MiB of it; is RLIMIT_AS "
                  "(ulimit -v) set?",
                  static_cast<unsigned long long>(layout.bytes >> 20));
  }
  layout_ = layout;
  base_ = static_cast<std::byte*>(*mapped);
  return os::kSuccess;
}

// What others look at of a participant, before it is one.
os::Errno SharedRegion::AllocatePlace(uint32_t place) {
  const MemoryState& memory = state().memory;
  const std::span<PinLine> own_lines(lines() + place * Superblock::kLinesPerParticipant,
                                     Superblock::kLinesPerParticipant);
  os::Errno error = Allocate(std::as_bytes(own_lines));
  const std::span<LedgerWord> ordinary(ledger(place), memory.ordinary);
  const std::span<LedgerWord> growth(ledger(place) + ordinary_max(), memory.growth_extent);
  for (const std::span<LedgerWord> words : {ordinary, growth}) {
    if (error.ok() && !words.empty()) error = Allocate(std::as_bytes(words));
  }
  return error;
}

// One that is not in use, or whose participant is no more and has been cleaned up after.
os::Errno SharedRegion::TakePlace(bool pins_may_write) {
  for (uint32_t i = 0; i < Superblock::kParticipantsMax; ++i) {
    Participant& participant = superblock_->participants[i];
    if (participant.in_use != 0) continue;
    // Not a place whose byte a forked child still has.
    if (!object_.TryLockByte(PlaceByte(i)).ok()) continue;
    if (const os::Errno error = AllocatePlace(i); !error.ok()) {
      object_.UnlockByte(PlaceByte(i));
      return Failed(error, "no room for one more participant of the pool: %s",
                    std::strerror(error.code()));
    }
    participant.pins_may_write = pins_may_write ? 1 : 0;
    participant.process = os::ProcessIdentity::OfThisProcess();
    participant.file_descriptor = file();
    participant.waiting_writers = 0;
    superblock_->participants_used = std::max(superblock_->participants_used, i + 1);
    InOrder();
    KILL_POINT("attach.taking_place");
    participant.in_use = 1;
    self_ = i;
    return os::kSuccess;
  }
  return Failed(os::Errno(EAGAIN), "the pool has %u participants, the most there can be",
                Superblock::kParticipantsMax);
}

void SharedRegion::Ready() {
  KILL_POINT("attach.ready");
  superblock_->ready = 1;
  object_.UnlockByte(kDoor);
  holds_door_ = false;
}

void SharedRegion::GiveUpPlace() {
  superblock_->participants[self_].in_use = 0;
  KILL_POINT("detach.left");
}

void SharedRegion::PrepareToLeave() {
  if (!holds_door_) holds_door_ = object_.LockByte(kDoor).ok();
}

SharedRegion::~SharedRegion() {
  const bool took_place = self_ < Superblock::kParticipantsMax;
  if (took_place) {
    PrepareToLeave();
    object_.UnlockByte(PlaceByte(self_));
    self_ = Superblock::kParticipantsMax;
  }
  // The last one. Where another is coming, it waits at the door, and finds the name gone.
  if (holds_door_ && (took_place || is_new_) && !IsAnyoneAlive()) (void)object_.Unlink();
  if (base_ != nullptr) os::SharedObject::Unmap(base_, layout_.bytes);
}

bool SharedRegion::IsAlive(uint32_t participant) const {
  if (participant == self_) return true;
  const Participant& other = superblock_->participants[participant];
  return other.in_use != 0 && object_.IsLockedElsewhere(PlaceByte(participant), 1) &&
         !other.process.IsGone();
}

bool SharedRegion::IsAnyoneAlive() const {
  if (superblock_ == nullptr) return false;
  for (uint32_t i = 0; i < superblock_->participants_used; ++i) {
    if (IsAlive(i)) return true;
  }
  return false;
}

bool SharedRegion::IsAnyoneDead() const {
  for (uint32_t i = 0; i < superblock_->participants_used; ++i) {
    if (superblock_->participants[i].in_use != 0 && !IsAlive(i)) return true;
  }
  return false;
}

std::span<std::byte> SharedRegion::superblock_bytes() const { return {base_, sizeof(Superblock)}; }

os::Errno SharedRegion::Allocate(std::span<const std::byte> bytes) {
  const uint64_t offset = static_cast<uint64_t>(bytes.data() - base_);
  const os::Errno error = object_.Allocate(offset, bytes.size());
  if (error.ok()) superblock_->blocks = object_.Blocks();
  return error;
}

SharedRegion::Description SharedRegion::Describe(const os::SharedObject& object) {
  Description one;
  one.name = object.name();
  one.bytes = object.Blocks() * 512;
  const std::unique_ptr<const Superblock> there = CopySuperblock(object);
  one.valid = there != nullptr && IsOfThisVersion(*there) && there->ready != 0 &&
              there->key_bytes <= Superblock::kKeyBytesMax;
  for (uint32_t i = 0; i < Superblock::kParticipantsMax; ++i) {
    if (!object.IsLockedElsewhere(PlaceByte(i), 1)) continue;
    const Participant* const participant = one.valid ? &there->participants[i] : nullptr;
    if (participant != nullptr && participant->process.IsGone()) continue;
    ++one.participants;
    if (participant == nullptr || participant->in_use == 0) continue;
    one.pids += (one.pids.empty() ? "" : ",") + std::to_string(participant->process.pid);
  }
  if (!one.valid) return one;
  one.key.assign(reinterpret_cast<const char*>(there->key), there->key_bytes);
  one.page_size = there->page_size;
  one.file.assign(there->file.path, strnlen(there->file.path, sizeof(there->file.path)));
  one.file_device = there->file.device;
  one.file_inode = there->file.inode;
  return one;
}

os::Result<std::vector<SharedRegion::Description>> SharedRegion::List(const std::string& folder) {
  const os::Result<std::vector<std::string>> names = os::SharedObject::List(folder, NamePrefix());
  if (!names.ok()) return names.error();
  std::vector<Description> all;
  for (const std::string& name : *names) {
    const os::Result<os::SharedObject> object = os::SharedObject::Open(folder, name);
    if (object.ok()) all.push_back(Describe(*object));
  }
  return all;
}

os::Errno SharedRegion::Remove(const std::string& name, bool force, const std::string& folder) {
  const os::Result<os::SharedObject> object = os::SharedObject::Open(folder, name);
  if (!object.ok()) return object.error();
  // Whoever comes or goes is quick, unless it has been stopped.
  os::Errno error = object->TryLockByte(kDoor);
  for (int tries = 0; tries < 100 && error == os::Errno(EAGAIN); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    error = object->TryLockByte(kDoor);
  }
  if (!error.ok()) return error;
  if (Describe(*object).participants > 0 && !force) return os::Errno(EBUSY);
  return object->Unlink();
}

}  // namespace mpool::internal
