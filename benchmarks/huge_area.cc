#include "benchmarks/huge_area.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>

#include "benchmarks/bare.h"
#include "benchmarks/must.h"

namespace benchmarks {
namespace {

constexpr size_t kHugeBytes = size_t{2} << 20;

}  // namespace

HugeArea::HugeArea(size_t bytes) : bytes_(bytes) {
  reservation_ = mmap(nullptr, bytes + kHugeBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  Must(reservation_ != MAP_FAILED, "mmap");
  const uintptr_t address = reinterpret_cast<uintptr_t>(reservation_);
  begin_ = static_cast<std::byte*>(reservation_) + (kHugeBytes - address % kHugeBytes) % kHugeBytes;
  (void)madvise(begin_, bytes, MADV_HUGEPAGE);  // EINVAL: a kernel without huge pages
  std::memset(begin_, 0, bytes);
  BareLock(begin_, bytes);
}

HugeArea::~HugeArea() { Must(munmap(reservation_, bytes_ + kHugeBytes) == 0, "munmap"); }

}  // namespace benchmarks
