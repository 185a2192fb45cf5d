#include "pinlock/locked_region.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "os/memory.h"
#include "os/page_range.h"
#include "pinlock/internal/process_locker.h"
#include "pinlock/locked_mapping.h"

namespace pinlock {
namespace {

// Of x86-64, and of arm64 with pages of 4 KiB. Elsewhere it is an alignment like any other.
constexpr size_t kHugePageBytes = size_t{2} << 20;

os::Memory::Fork ToOs(LockedRegionOptions::Fork fork) {
  switch (fork) {
    case LockedRegionOptions::Fork::kCopy:
      return os::Memory::Fork::kInherit;
    case LockedRegionOptions::Fork::kWipe:
      return os::Memory::Fork::kWipe;
    case LockedRegionOptions::Fork::kOmit:
      break;
  }
  return os::Memory::Fork::kOmit;
}

// How many whole pages hold that many bytes. Cannot overflow.
os::PageCount PagesFor(size_t bytes, size_t page_size) {
  return os::PageCount(bytes / page_size + (bytes % page_size != 0 ? 1 : 0));
}

}  // namespace

absl::StatusOr<LockedRegion> LockedRegion::Allocate(size_t bytes,
                                                    const LockedRegionOptions& options) {
  if (bytes == 0) return absl::InvalidArgumentError("a locked region of 0 bytes was asked for");
  if (!std::has_single_bit(options.alignment)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the alignment ", options.alignment, " is not a power of two"));
  }
  os::Memory& memory = os::RealMemory();
  const size_t page_size = memory.page_size();
  const size_t least = bytes >= kHugePageBytes ? std::max(page_size, kHugePageBytes) : page_size;
  const size_t alignment = std::max(options.alignment, least);
  const absl::StatusOr<os::PageRange> pages =
      internal::MapLocked(memory, {.count = PagesFor(bytes, page_size),
                                   .alignment = PagesFor(alignment, page_size),
                                   .fork = ToOs(options.fork),
                                   .omit_from_dumps = options.omit_from_dumps});
  if (!pages.ok()) return pages.status();
  auto* const begin = static_cast<std::byte*>(pages->address(page_size));
  return LockedRegion(absl::MakeSpan(begin, bytes), internal::ProcessGeneration(), options.fork);
}

LockedRegion::LockedRegion(LockedRegion&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})), generation_(other.generation_), fork_(other.fork_) {}

LockedRegion& LockedRegion::operator=(LockedRegion&& other) noexcept {
  if (this != &other) {
    Release();
    bytes_ = std::exchange(other.bytes_, {});
    generation_ = other.generation_;
    fork_ = other.fork_;
  }
  return *this;
}

LockedRegion::~LockedRegion() { Release(); }

void LockedRegion::Release() {
  const absl::Span<std::byte> bytes = std::exchange(bytes_, {});
  if (bytes.empty()) return;
  // A child holds no pins of its parent. What it may have mapped at the addresses of a region that
  // it was not given is not this region.
  const bool inherited = generation_ != internal::ProcessGeneration();
  if (inherited && fork_ == Fork::kOmit) return;
  os::Memory& memory = os::RealMemory();
  const os::PageNumber begin(reinterpret_cast<uintptr_t>(bytes.data()) / memory.page_size());
  const os::PageRange pages(begin, PagesFor(bytes.size(), memory.page_size()));
  if (inherited && fork_ == Fork::kWipe) {
    (void)memory.Unmap(pages);  // zeros, perhaps not even there
  } else {
    internal::WipeAndUnmap(memory, pages, !inherited);
  }
}

}  // namespace pinlock
