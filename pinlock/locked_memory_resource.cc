#include "pinlock/locked_memory_resource.h"

#include <string.h>

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "os/latch.h"
#include "os/memory.h"
#include "pinlock/internal/process_locker.h"
#include "pinlock/region_heap.h"

namespace pinlock {
namespace {

// Larger blocks go to the heap. The largest chunk of a pool is then about 256 KiB long.
constexpr size_t kPooledBytesMax = 1024;
constexpr size_t kBlocksPerChunkMax = 256;

// Whether the pools take a block. Those of some versions of the C++ library align a block to less
// than was asked for where its size is not a multiple of the alignment (GCC bug 118681); here it
// always is (PooledBytes), and larger alignments are the heap's.
bool IsPooled(size_t bytes, size_t alignment) {
  return bytes <= kPooledBytesMax && alignment <= alignof(std::max_align_t);
}

size_t PooledBytes(size_t bytes, size_t alignment) {
  return (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
}

}  // namespace

// Lies in locked memory itself.
class LockedMemoryResource::State {
 public:
  State(const LockedMemoryResourceOptions& options, absl::Span<std::byte> rest, size_t locked_bytes)
      : zero_freed_(options.zero_freed),
        heap_({options.maximum_bytes, options.growth_bytes, options.region}),
        pools_({kBlocksPerChunkMax, kPooledBytesMax}, Lent(heap_, rest, locked_bytes)) {}

  void* Allocate(size_t bytes, size_t alignment) {
    const os::LatchHolder hold(latch_);
    if (!IsPooled(bytes, alignment)) return heap_.allocate(bytes, alignment);
    return pools_.allocate(PooledBytes(bytes, alignment), alignment);
  }

  void Deallocate(void* block, size_t bytes, size_t alignment) {
    if (zero_freed_) explicit_bzero(block, bytes);
    const os::LatchHolder hold(latch_);
    if (!IsPooled(bytes, alignment)) return heap_.deallocate(block, bytes, alignment);
    pools_.deallocate(block, PooledBytes(bytes, alignment), alignment);
  }

  absl::Status last_error() {
    const os::LatchHolder hold(latch_);
    return heap_.last_error();
  }
  size_t locked_bytes() {
    const os::LatchHolder hold(latch_);
    return heap_.locked_bytes();
  }

 private:
  // The pools take about 1 KiB for themselves when they are made, which the initial bytes have.
  static std::pmr::memory_resource* Lent(internal::RegionHeap& heap, absl::Span<std::byte> bytes,
                                         size_t locked_bytes) {
    heap.Lend(bytes, locked_bytes);
    return &heap;
  }

  os::Latch latch_;
  const bool zero_freed_;
  internal::RegionHeap heap_ ABSL_GUARDED_BY(latch_);
  std::pmr::unsynchronized_pool_resource pools_ ABSL_GUARDED_BY(latch_);
};

LockedMemoryResource::LockedMemoryResource(const LockedMemoryResourceOptions& options) {
  const size_t page_size = os::RealMemory().page_size();
  const size_t wanted = std::max(options.initial_bytes, sizeof(State));
  // Where it cannot be rounded it cannot be locked either.
  const size_t partial = wanted % page_size;
  const size_t bytes =
      partial == 0 || wanted > ~size_t{0} - page_size ? wanted : wanted - partial + page_size;
  if (bytes > options.maximum_bytes) {
    constructor_error_ = absl::ResourceExhaustedError(absl::StrCat(
        "the first ", bytes, " bytes are more than maximum_bytes, ", options.maximum_bytes));
    return;
  }
  absl::StatusOr<LockedRegion> home = LockedRegion::Allocate(bytes, options.region);
  if (!home.ok()) {
    constructor_error_ = home.status();
    return;
  }
  home_ = *std::move(home);
  const bool copied = options.region.fork == LockedRegionOptions::Fork::kCopy;
  generation_ = copied ? 0 : internal::ProcessGeneration();
  state_ = new (home_.bytes().data()) State(options, home_.bytes().subspan(sizeof(State)), bytes);
}

LockedMemoryResource::~LockedMemoryResource() {
  if (Here()) std::destroy_at(state_);
}

bool LockedMemoryResource::Here() const {
  return state_ != nullptr && (generation_ == 0 || generation_ == internal::ProcessGeneration());
}

absl::Status LockedMemoryResource::last_error() const {
  if (state_ == nullptr) return constructor_error_;
  if (Here()) return state_->last_error();
  return absl::FailedPreconditionError("this process is a child, which has not got the memory");
}

size_t LockedMemoryResource::locked_bytes() const { return Here() ? state_->locked_bytes() : 0; }

void* LockedMemoryResource::do_allocate(size_t bytes, size_t alignment) {
  if (!Here()) throw std::bad_alloc();
  return state_->Allocate(bytes, alignment);
}

void LockedMemoryResource::do_deallocate(void* block, size_t bytes, size_t alignment) {
  if (Here()) state_->Deallocate(block, bytes, alignment);
}

bool LockedMemoryResource::do_is_equal(const std::pmr::memory_resource& other) const noexcept {
  return this == &other;
}

}  // namespace pinlock
