#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "benchmarks/bare.h"
#include "benchmarks/filled_pool.h"
#include "benchmarks/huge_area.h"
#include "benchmarks/locked_bytes.h"
#include "benchmarks/mpool_figures.h"

namespace benchmarks {
namespace {

constexpr int kCalls = 15;           // of which the median is taken
constexpr size_t kHeaderBytes = 32;  // of a frame, at most

// From here on this thread can lock no more than the process has locked. For good.
void ForbidLocking() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  Must(syscall(SYS_capget, &header, data) == 0, "capget");
  data[CAP_IPC_LOCK / 32].effective &= ~(1u << CAP_IPC_LOCK % 32);
  Must(syscall(SYS_capset, &header, data) == 0, "capset");
  rlimit limit{};
  Must(getrlimit(RLIMIT_MEMLOCK, &limit) == 0, "getrlimit");
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, LockedBytes());
  Must(setrlimit(RLIMIT_MEMLOCK, &limit) == 0, "setrlimit");
}

// Pins pages, one after the other, until one cannot be had.
std::vector<mpool::PagePin> PinAll(mpool::PagePool& pool, uint64_t pages) {
  std::vector<mpool::PagePin> pins;
  for (uint32_t page = 0; page < pages; ++page) {
    absl::StatusOr<mpool::PagePin> pin = pool.Get(page);
    if (!pin.ok()) return pins;
    pins.push_back(*std::move(pin));
  }
  Fail("mpool", "there was a frame for every page, though no more could be locked");
}

// The median time of a get while all frames are pinned. In a child, which alone loses the right to
// lock more.
double FailingGetNs(uint64_t pages) {
  return InChild([pages] {
    const PageFile file(2 * pages, PageFile::Place::kMemory);
    const Pool pool = OpenPool(file, pages);
    Fill(*pool, pages);
    ForbidLocking();
    const std::vector<mpool::PagePin> pins = PinAll(*pool, 2 * pages);
    std::vector<double> ns;
    for (int i = 0; i < kCalls; ++i) {
      const double begin = ThreadCpuNs();
      const bool had = pool->Get(static_cast<uint32_t>(pins.size())).ok();
      ns.push_back(ThreadCpuNs() - begin);
      if (had) Fail("mpool", "a page was had though all frames are pinned");
    }
    return Median(ns);
  });
}

// Looks once at a header of each frame.
double ScanNs(const HugeArea& headers) {
  const double begin = ThreadCpuNs();
  uint64_t sum = 0;
  for (size_t offset = 0; offset < headers.bytes(); offset += kHeaderBytes) {
    sum += FirstWord(headers.begin() + offset);
  }
  benchmark::DoNotOptimize(sum);
  return ThreadCpuNs() - begin;
}

}  // namespace

std::vector<Figure> FullPoolFigures(const PoolScale& scale) {
  const uint64_t pages = scale.large_pages;
  Figure figure;
  figure.name = "all_pinned";
  figure.title = absl::StrCat("get that fails, ", FormatPages(pages),
                              " pinned, against a scan of so many headers");
  figure.bounds = {{Bound::Of::kOursToBare, 2}};
  figure.locked_pages = pages + pages / 16;
  figure.other_pages = 2 * pages;
  figure.once = true;
  figure.prepare = [pages] {
    const auto headers = std::make_shared<const HugeArea>(pages * kHeaderBytes);
    return InTurn([pages] { return FailingGetNs(pages); }, [headers] { return ScanNs(*headers); });
  };
  return {figure};
}

}  // namespace benchmarks
