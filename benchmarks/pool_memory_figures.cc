#include <memory>

#include "absl/strings/str_cat.h"
#include "benchmarks/filled_pool.h"
#include "benchmarks/keys.h"
#include "benchmarks/locked_bytes.h"
#include "benchmarks/mpool_figures.h"
#include "os/fault_count.h"

namespace benchmarks {
namespace {

double FaultsOfHits(uint64_t pages, uint64_t hits) {
  const PageFile file(pages, PageFile::Place::kMemory);
  const Pool pool = FilledPool(file);
  const Operation read = ReadInOrder(Keys::kIndependent, pages, 1,
                                     [&pool](uint32_t page) { return ReadPage(*pool, page); });
  constexpr uint64_t kWarmUp = 1000;  // the program's own code is not locked
  read(kWarmUp);
  const os::FaultCount before = os::FaultCount::OfThisThread();
  read(hits);
  return static_cast<double>((os::FaultCount::OfThisThread() - before).total());
}

// What is locked for a full pool besides its frames, for each of them.
double MetadataBytes(uint64_t pages) {
  const PageFile file(pages, PageFile::Place::kMemory);
  const uint64_t before = LockedBytes();
  const Pool pool = FilledPool(file);
  const uint64_t frames = Must(pool->stats()).frames;
  const uint64_t locked = LockedBytes() - before;
  return static_cast<double>(locked - frames * kPageBytes) / static_cast<double>(frames);
}

Figure OnceFigure(const PoolScale& scale) {
  Figure figure;
  figure.locked_pages = scale.large_pages + scale.large_pages / 16;
  figure.other_pages = scale.large_pages;
  figure.once = true;
  return figure;
}

}  // namespace

std::vector<Figure> PoolMemoryFigures(const PoolScale& scale) {
  Figure faults = OnceFigure(scale);
  faults.name = "faults";
  faults.title = absl::StrCat("page faults of ", WithCommas(scale.fault_hits), " hits, ",
                              FormatPages(scale.large_pages));
  faults.unit = Unit::kFaults;
  faults.bounds = {{Bound::Of::kOurs, 0}};
  faults.prepare = [pages = scale.large_pages, hits = scale.fault_hits] {
    return InTurn([=] { return FaultsOfHits(pages, hits); }, nullptr);
  };

  Figure metadata = OnceFigure(scale);
  metadata.name = "metadata";
  metadata.title =
      absl::StrCat("locked memory besides the frames, for each of ", WithCommas(scale.large_pages));
  metadata.unit = Unit::kBytes;
  metadata.bounds = {{Bound::Of::kOurs, 96}};
  metadata.prepare = [pages = scale.large_pages] {
    return InTurn([=] { return MetadataBytes(pages); }, nullptr);
  };
  return {faults, metadata};
}

}  // namespace benchmarks
