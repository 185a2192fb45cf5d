#include "benchmarks/replay.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "benchmarks/simulations.h"
#include "mpool/mpool.h"
#include "mpool/page_pool.h"

namespace benchmarks {
namespace {

constexpr uint32_t kPageBytes = 64;

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

// Without a name, and gone once it is closed.
absl::StatusOr<File> SparseFile(uint32_t pages) {
  File file(std::tmpfile(), std::fclose);
  if (file == nullptr || ftruncate(fileno(file.get()), off_t{pages} * kPageBytes) != 0) {
    return absl::InternalError(absl::StrCat("a temporary file: ", std::strerror(errno)));
  }
  return file;
}

}  // namespace

absl::StatusOr<uint64_t> PoolHits(const Trace& trace, uint32_t frames) {
  const absl::StatusOr<File> file = SparseFile(trace.pages);
  if (!file.ok()) return file.status();
  const auto pool =
      mpool::PagePool::Open(fileno(file->get()), {.page_size = kPageBytes, .pages_max = frames});
  if (!pool.ok()) return pool.status();
  for (const uint32_t page : trace.references) {
    if (const auto pin = (*pool)->Get(page); !pin.ok()) return pin.status();
  }
  const absl::StatusOr<struct mpool_stat> stat = (*pool)->stats();
  if (!stat.ok()) return stat.status();
  if (stat->frames < std::min(frames, trace.pages)) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "only ", stat->frames, " of ", frames,
        " frames could be locked; raise RLIMIT_MEMLOCK (ulimit -l) or take a smaller cache"));
  }
  return stat->hits;
}

absl::StatusOr<Replay> ReplayTrace(const Trace& trace, uint32_t frames) {
  const absl::StatusOr<uint64_t> ours = PoolHits(trace, frames);
  if (!ours.ok()) return ours.status();
  return Replay{.frames = frames,
                .references = trace.references.size(),
                .lru = LruHits(trace, frames),
                .ours = *ours,
                .opt = OptHits(trace, frames)};
}

double GapClosed(const Replay& replay) {
  if (replay.opt == replay.lru) return std::numeric_limits<double>::quiet_NaN();
  return (static_cast<double>(replay.ours) - static_cast<double>(replay.lru)) /
         (static_cast<double>(replay.opt) - static_cast<double>(replay.lru));
}

}  // namespace benchmarks
