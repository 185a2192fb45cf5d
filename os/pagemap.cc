#include "os/pagemap.h"

#include <fcntl.h>
#include <linux/types.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "os/descriptor.h"
#include "os/positioned_io.h"

namespace os {
namespace {

// The ioctl's arguments as the kernel's ABI lays them out; Debian 12's headers are older than it.
struct Region {
  __u64 begin;
  __u64 end;
  __u64 categories;
};
struct ScanArguments {
  __u64 size;
  __u64 flags;
  __u64 begin;
  __u64 end;
  __u64 walk_end;
  __u64 regions;
  __u64 regions_count;
  __u64 pages_max;
  __u64 category_inverted;
  __u64 category_mask;
  __u64 category_any_of;
  __u64 return_mask;
};
static_assert(sizeof(ScanArguments) == 96);

constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArguments);
constexpr __u64 kPresentCategory = 1 << 3;
constexpr __u64 kAddressesEnd = __u64{1} << 47;  // every process has addresses up to here

// Opened at each call: a descriptor from before a fork would go on describing the parent.
OwnedDescriptor OpenPagemap() {
  return OwnedDescriptor(open("/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC));
}

// nullopt: the kernel does not know the call, or not the range.
std::optional<PageCount> Scan(int pagemap, PageRange pages, size_t page_size) {
  std::array<Region, 32> regions;
  ScanArguments scan{};
  scan.size = sizeof(scan);
  scan.end = pages.end().address(page_size);
  scan.regions = reinterpret_cast<uintptr_t>(regions.data());
  scan.regions_count = regions.size();
  scan.category_mask = kPresentCategory;
  scan.return_mask = kPresentCategory;
  // The end of the address space is told by reading: here it would pass for a hole.
  if (pages.end().value() > kAddressesEnd / page_size) return std::nullopt;
  uint64_t present = 0;
  for (scan.begin = pages.begin().address(page_size); scan.begin < scan.end;
       scan.begin = scan.walk_end) {
    const int count = ioctl(pagemap, kPagemapScan, &scan);
    if (count < 0 || scan.walk_end <= scan.begin) return std::nullopt;
    for (const Region& region : std::span(regions).first(static_cast<size_t>(count))) {
      present += (region.end - region.begin) / page_size;
    }
  }
  return PageCount(present);
}

// Bits of an entry.
constexpr uint64_t kPresent = uint64_t{1} << 63;
constexpr uint64_t kFileOrShared = uint64_t{1} << 61;
constexpr uint64_t kMappedOnce = uint64_t{1} << 56;

// How many entries have all the bits of `value` among those of `mask`, and none of the others.
Result<PageCount> Read(int pagemap, PageRange pages, uint64_t mask, uint64_t value) {
  std::array<uint64_t, 1024> entries;
  uint64_t count = 0;
  for (PageNumber page = pages.begin(); page < pages.end();) {
    const uint64_t wanted = std::min<uint64_t>(entries.size(), (pages.end() - page).value());
    const std::span<uint64_t> part = std::span(entries).first(wanted);
    const Result<size_t> bytes =
        ReadFully(pagemap, std::as_writable_bytes(part), page.value() * sizeof(uint64_t));
    if (!bytes.ok()) return bytes.error();
    if (*bytes != part.size_bytes()) return Errno(EINVAL);  // beyond the address space
    count += static_cast<uint64_t>(std::count_if(
        part.begin(), part.end(), [&](uint64_t entry) { return (entry & mask) == value; }));
    page = page + PageCount(wanted);
  }
  return PageCount(count);
}

Result<PageCount> Read(PageRange pages, uint64_t mask, uint64_t value) {
  if (pages.empty()) return PageCount(0);
  const OwnedDescriptor pagemap = OpenPagemap();
  if (pagemap.get() < 0) return Errno::Last();
  return Read(pagemap.get(), pages, mask, value);
}

}  // namespace

Result<PageCount> CountPresentPages(PageRange pages, size_t page_size) {
  if (pages.empty()) return PageCount(0);
  const OwnedDescriptor pagemap = OpenPagemap();
  if (pagemap.get() < 0) return Errno::Last();
  if (const std::optional<PageCount> present = Scan(pagemap.get(), pages, page_size)) {
    return *present;
  }
  return Read(pagemap.get(), pages, kPresent, kPresent);
}

Result<PageCount> CountPresentEntries(PageRange pages) { return Read(pages, kPresent, kPresent); }

Result<PageCount> CountOwnPages(PageRange pages) {
  return Read(pages, kPresent | kFileOrShared | kMappedOnce, kPresent | kMappedOnce);
}

}  // namespace os
