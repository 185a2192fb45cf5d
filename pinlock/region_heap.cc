#include "pinlock/region_heap.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "os/memory.h"

namespace pinlock::internal {
namespace {

// Lengths and addresses of all blocks are multiples of it: a line of the cache.
constexpr size_t kUnit = 64;
constexpr size_t kMax = std::numeric_limits<size_t>::max();

// The next multiple of `unit`, a power of two; 0 where it cannot be represented.
constexpr size_t RoundUp(size_t bytes, size_t unit) {
  return bytes > kMax - (unit - 1) ? 0 : (bytes + unit - 1) / unit * unit;
}

size_t PageSize() { return os::RealMemory().page_size(); }

// Bytes from the address up to the next multiple of `alignment`.
size_t Gap(const void* address, size_t alignment) {
  return (alignment - reinterpret_cast<uintptr_t>(address) % alignment) % alignment;
}

}  // namespace

// Lies at the beginning of the free bytes that it stands for.
struct RegionHeap::FreeBlock {
  size_t bytes;
  FreeBlock* next;  // behind this one, and not its neighbour

  std::byte* begin() { return reinterpret_cast<std::byte*>(this); }
  std::byte* end() { return begin() + bytes; }
};

// Lies at the end of its region, so that the region's own alignment is that of its first block.
struct RegionHeap::Region {
  LockedRegion memory;  // holds nothing where the bytes were lent
  std::byte* begin;     // of its blocks; they end where this begins
  FreeBlock* free;      // by address
  Region* next;

  std::byte* end() { return reinterpret_cast<std::byte*>(this); }
  bool owned() const { return !memory.bytes().empty(); }
  bool unused() { return free != nullptr && free->begin() == begin && free->end() == end(); }

  void* Take(size_t bytes, size_t alignment);
  void Give(std::byte* address, size_t bytes);
};

// First fit. Cuts what is before the aligned block, and what is behind it, into blocks of their own.
void* RegionHeap::Region::Take(size_t bytes, size_t alignment) {
  for (FreeBlock** link = &free; *link != nullptr; link = &(*link)->next) {
    FreeBlock* const block = *link;
    const size_t before = Gap(block, alignment);
    if (before > block->bytes || block->bytes - before < bytes) continue;
    const size_t after = block->bytes - before - bytes;
    FreeBlock* rest = block->next;
    std::byte* const taken = block->begin() + before;
    if (after > 0) rest = new (taken + bytes) FreeBlock{after, rest};
    if (before > 0) {
      block->bytes = before;
      block->next = rest;
    } else {
      *link = rest;
    }
    return taken;
  }
  return nullptr;
}

void RegionHeap::Region::Give(std::byte* address, size_t bytes) {
  FreeBlock* previous = nullptr;
  FreeBlock* following = free;
  while (following != nullptr && following->begin() < address) {
    previous = std::exchange(following, following->next);
  }
  auto* block = new (address) FreeBlock{bytes, following};
  if (following != nullptr && block->end() == following->begin()) {
    block->bytes += following->bytes;
    block->next = following->next;
  }
  if (previous == nullptr) {
    free = block;
  } else if (previous->end() == address) {
    previous->bytes += block->bytes;
    previous->next = block->next;
  } else {
    previous->next = block;
  }
}

RegionHeap::~RegionHeap() {
  while (regions_ != nullptr) Remove(*regions_);
}

void RegionHeap::Lend(absl::Span<std::byte> bytes, size_t locked_bytes) {
  locked_bytes_ += locked_bytes;
  const size_t gap = Gap(bytes.data(), kUnit);
  if (bytes.size() < gap + kUnit + RoundUp(sizeof(Region), kUnit)) return;
  AddRegion(bytes.subspan(gap), LockedRegion());
}

// REQUIRES: it begins at a multiple of kUnit, and the header and one unit fit into it.
RegionHeap::Region& RegionHeap::AddRegion(absl::Span<std::byte> bytes, LockedRegion memory) {
  static_assert(alignof(Region) <= kUnit && sizeof(FreeBlock) <= kUnit);
  const size_t header = RoundUp(sizeof(Region), kUnit);
  const size_t blocks = (bytes.size() - header) / kUnit * kUnit;
  auto* first = new (bytes.data()) FreeBlock{blocks, nullptr};
  regions_ = new (bytes.data() + blocks) Region{std::move(memory), bytes.data(), first, regions_};
  return *regions_;
}

void* RegionHeap::do_allocate(size_t bytes, size_t alignment) {
  const size_t wanted = RoundUp(std::max<size_t>(bytes, 1), kUnit);
  const size_t aligned = std::max(alignment, kUnit);
  if (wanted == 0) {
    last_error_ = absl::ResourceExhaustedError(absl::StrCat(bytes, " bytes were asked for"));
    throw std::bad_alloc();
  }
  for (Region* region = regions_; region != nullptr; region = region->next) {
    if (void* taken = region->Take(wanted, aligned); taken != nullptr) return taken;
  }
  Region* const fresh = Grow(wanted, aligned);
  if (fresh == nullptr) throw std::bad_alloc();
  return fresh->Take(wanted, aligned);
}

void RegionHeap::do_deallocate(void* address, size_t bytes, size_t) {
  auto* const block = static_cast<std::byte*>(address);
  Region* region = regions_;
  while (block < region->begin || block >= region->end()) region = region->next;
  region->Give(block, RoundUp(std::max<size_t>(bytes, 1), kUnit));
  if (!region->owned() || !region->unused()) return;
  bool keep = region->memory.bytes().size() <= RoundUp(options_.growth_bytes, PageSize());
  for (Region* other = regions_; other != nullptr; other = other->next) {
    keep = keep && (other == region || !other->owned() || !other->unused());
  }
  if (!keep) Remove(*region);
}

// A region with room for the block; nullptr: last_error_ says why not.
RegionHeap::Region* RegionHeap::Grow(size_t bytes, size_t alignment) {
  const size_t header = RoundUp(sizeof(Region), kUnit);
  const size_t least = bytes > kMax - header ? 0 : RoundUp(bytes + header, PageSize());
  if (least == 0) {
    last_error_ = absl::ResourceExhaustedError(absl::StrCat(bytes, " bytes were asked for"));
    return nullptr;
  }
  const size_t usual = RoundUp(options_.growth_bytes, PageSize());
  absl::StatusOr<LockedRegion> memory = AllocateRegion(std::max(least, usual), alignment);
  if (!memory.ok() && usual > least) memory = AllocateRegion(least, alignment);
  // A spare region is too short for the block, else it would have been taken from there.
  if (!memory.ok() && RemoveSpare()) memory = AllocateRegion(least, alignment);
  if (!memory.ok()) {
    last_error_ = memory.status();
    return nullptr;
  }
  const absl::Span<std::byte> all = memory->bytes();
  locked_bytes_ += all.size();
  return &AddRegion(all, *std::move(memory));
}

absl::StatusOr<LockedRegion> RegionHeap::AllocateRegion(size_t bytes, size_t alignment) {
  if (locked_bytes_ > options_.bytes_max || bytes > options_.bytes_max - locked_bytes_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        bytes, " more bytes do not fit: ", locked_bytes_, " are locked of ", options_.bytes_max,
        " that LockedMemoryResourceOptions::maximum_bytes allows"));
  }
  LockedRegionOptions options = options_.region;
  options.alignment = std::max(options.alignment, alignment);
  return LockedRegion::Allocate(bytes, options);
}

bool RegionHeap::RemoveSpare() {
  for (Region* region = regions_; region != nullptr; region = region->next) {
    if (!region->owned() || !region->unused()) continue;
    Remove(*region);
    return true;
  }
  return false;
}

// Its memory ends here, if it was not lent.
void RegionHeap::Remove(Region& region) {
  Region** link = &regions_;
  while (*link != &region) link = &(*link)->next;
  *link = region.next;
  const LockedRegion memory = std::move(region.memory);
  locked_bytes_ -= memory.bytes().size();
  std::destroy_at(&region);
}

}  // namespace pinlock::internal
