#include "cli/bench/area.h"

#include <algorithm>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cli/size_text.h"
#include "mpool/mpool.h"
#include "mpool/page_pool.h"
#include "os/file.h"
#include "os/limits.h"
#include "os/memory.h"

namespace cli::bench {
namespace {

absl::Status Error(os::Errno error, const std::string& what) {
  return absl::ErrnoToStatus(error.code(), what);
}

// The pages in plain memory. The loop is the same for all, and so is what it costs.
class MappedArea final : public Area {
 public:
  MappedArea(Mode mode, uint32_t pages) : Area(mode, pages) {}
  ~MappedArea() override { (void)os::RealMemory().Unmap(range_); }

  absl::Status Init(int file) {
    const absl::Status made = mode_ == Mode::kMmap ? MapFile(file) : CopyFile(file);
    if (!made.ok()) return made;
    const auto* begin = static_cast<const std::byte*>(range_.address(os::RealMemory().page_size()));
    for (size_t page = 0; page < pages_; ++page) {
      addresses_.push_back(begin + page * kPageBytes);
      [[maybe_unused]] const std::byte touched =
          *static_cast<const volatile std::byte*>(addresses_.back());
    }
    memory_bytes_ = bytes();
    return absl::OkStatus();
  }

  absl::Status TouchPages(TouchProbe& probe) override {
    for (bool more = true; more;) {
      const uint32_t page = probe.Random(pages_);
      const volatile std::byte* address = addresses_[page];
      const Clock::time_point begin = Clock::now();
      (void)*address;
      more = probe.Took(page, begin, Clock::now());
    }
    return absl::OkStatus();
  }

 private:
  size_t bytes() const { return size_t{pages_} * kPageBytes; }

  absl::Status MapFile(int file) {
    const os::Result<std::span<const std::byte>> mapping = os::MapFile(file, bytes());
    if (!mapping.ok()) return Error(mapping.error(), "cannot map the file");
    const size_t page_size = os::RealMemory().page_size();
    range_ =
        *os::PageRange::Covering(reinterpret_cast<uintptr_t>(mapping->data()), bytes(), page_size);
    (void)os::RealMemory().OmitFromFork(range_);  // a child that has it too does no harm
    return absl::OkStatus();
  }

  absl::Status CopyFile(int file) {
    os::Memory& memory = os::RealMemory();
    const size_t page_size = memory.page_size();
    const os::Result<os::PageRange> range =
        memory.Map(os::PageCount((bytes() + page_size - 1) / page_size),
                   os::Memory::Access::kReadWrite, os::Memory::Fork::kOmit);
    if (!range.ok()) return Error(range.error(), "no address space for a copy of the file");
    range_ = *range;
    if (mode_ == Mode::kMlock) {
      if (const os::Errno error = memory.Lock(range_); !error.ok()) {
        return Error(error, absl::StrCat("mlock of ", SizeText(bytes()),
                                         " is refused; raise the lock limit (ulimit -l)"));
      }
    }
    const std::span copy(static_cast<std::byte*>(range_.address(page_size)), bytes());
    const os::Result<size_t> read = os::BorrowFile(file)->ReadAt(copy, 0);
    if (!read.ok()) return Error(read.error(), "cannot read the file");
    if (*read < copy.size()) return absl::OutOfRangeError("the file got shorter meanwhile");
    return absl::OkStatus();
  }

  os::PageRange range_;
};

class PoolArea final : public Area {
 public:
  explicit PoolArea(uint32_t pages) : Area(Mode::kPool, pages) {}

  absl::Status Init(int file) {
    absl::StatusOr<std::unique_ptr<mpool::PagePool>> pool = mpool::PagePool::Open(
        file, {.page_size = kPageBytes, .pages_max = pages_, .prelock = true});
    if (!pool.ok()) return pool.status();
    pool_ = *std::move(pool);
    for (uint32_t page = 0; page < pages_; ++page) {
      const absl::StatusOr<mpool::PagePin> pin = pool_->Get(page);
      if (!pin.ok()) return pin.status();
      addresses_.push_back(pin->bytes().data());
    }
    page_ins_ = PageIns();
    return absl::OkStatus();
  }

  absl::Status TouchPages(TouchProbe& probe) override {
    for (bool more = true; more;) {
      const uint32_t page = probe.Random(pages_);
      const Clock::time_point begin = Clock::now();
      {
        const absl::StatusOr<mpool::PagePin> pin = pool_->Get(page);
        if (!pin.ok()) return pin.status();
        (void)*static_cast<const volatile std::byte*>(pin->bytes().data());
      }
      more = probe.Took(page, begin, Clock::now());
    }
    return absl::OkStatus();
  }

  std::optional<uint64_t> misses() const override { return PageIns() - page_ins_; }

 private:
  uint64_t PageIns() const {
    const absl::StatusOr<struct mpool_stat> stats = pool_->stats();
    return stats.ok() ? stats->page_ins : 0;
  }

  std::unique_ptr<mpool::PagePool> pool_;
  uint64_t page_ins_ = 0;  // when all pages had been read once
};

}  // namespace

std::vector<os::PageRange> Area::Ranges(size_t first, size_t last) const {
  const size_t page_size = os::RealMemory().page_size();
  std::vector<os::PageRange> ranges;
  for (size_t page = first; page < last; ++page) {
    const os::PageRange next = *os::PageRange::Covering(
        reinterpret_cast<uintptr_t>(addresses_[page]), kPageBytes, page_size);
    if (!ranges.empty() && ranges.back().end() >= next.begin() &&
        ranges.back().begin() <= next.begin()) {
      ranges.back() =
          os::PageRange(ranges.back().begin(), std::max(ranges.back().end(), next.end()));
    } else {
      ranges.push_back(next);
    }
  }
  return ranges;
}

bool Area::PageOut() {
  bool all_refused = true;
  for (const os::PageRange range : Ranges(0, addresses_.size())) {
    if (os::RealMemory().PageOut(range) != os::Errno(EINVAL)) all_refused = false;
  }
  return all_refused;
}

std::vector<double> Area::Residency(size_t parts) const {
  parts = std::min<size_t>(parts, pages_);
  std::vector<double> shares;
  for (size_t part = 0; part < parts; ++part) {
    os::PageCount present;
    os::PageCount all;
    for (const os::PageRange range : Ranges(part * pages_ / parts, (part + 1) * pages_ / parts)) {
      const os::Result<os::PageCount> count = os::RealMemory().CountPresent(range);
      if (!count.ok()) return {};
      present += *count;
      all += range.count();
    }
    shares.push_back(static_cast<double>(present.value()) / static_cast<double>(all.value()));
  }
  return shares;
}

std::optional<uint64_t> Area::PresentPages() const {
  uint64_t present = 0;
  for (const os::PageRange range : Ranges(0, addresses_.size())) {
    const os::Result<os::PageCount> count = os::RealMemory().CountPresent(range);
    if (!count.ok()) return std::nullopt;
    present += count->value();
  }
  return present;
}

absl::StatusOr<std::unique_ptr<Area>> MakeArea(Mode mode, int file, uint32_t pages) {
  const uint64_t locked_before = os::RealLimits().LockedBytes();
  std::unique_ptr<Area> area;
  absl::Status made;
  if (mode == Mode::kPool) {
    auto pool = std::make_unique<PoolArea>(pages);
    made = pool->Init(file);
    area = std::move(pool);
  } else {
    auto mapped = std::make_unique<MappedArea>(mode, pages);
    made = mapped->Init(file);
    area = std::move(mapped);
  }
  if (!made.ok()) return made;
  area->locked_bytes_ = os::RealLimits().LockedBytes() - locked_before;
  if (mode == Mode::kPool) area->memory_bytes_ = area->locked_bytes_;
  return area;
}

}  // namespace cli::bench
