#include <functional>
#include <memory>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "benchmarks/filled_pool.h"
#include "benchmarks/floor.h"
#include "benchmarks/keys.h"
#include "benchmarks/latency.h"
#include "benchmarks/mpool_figures.h"

namespace benchmarks {
namespace {

// A full pool, of which only some pages are read again and again: the popular ones. The floor is as
// large.
struct Subjects {
  explicit Subjects(const PoolScale& scale)
      : popular(scale.large_pages / 4),
        file(scale.large_pages * 2, PageFile::Place::kMemory),
        pool(OpenPool(file, scale.large_pages)),
        floor(file, scale.large_pages),
        busy_page(static_cast<uint32_t>(popular)) {
    Fill(*pool, popular);
    for (uint64_t i = popular; i < file.pages(); ++i) Disturb();
    Fill(*pool, popular);
  }

  // Gets the next one of the other pages, which evicts one; every eighth becomes dirty. Now and
  // then a sync.
  void Disturb() {
    if (busy_page % 8 != 0) {
      (void)ReadPage(*pool, busy_page);
    } else {
      mpool::PagePin pin = Must(pool->GetForWrite(busy_page));
      pin.bytes().back() ^= std::byte{1};
      pin.MarkDirty();
    }
    if (busy_page % 2048 == 0) Must(pool->Sync());
    if (++busy_page == file.pages()) busy_page = static_cast<uint32_t>(popular);
  }

  const uint64_t popular;
  const PageFile file;
  const Pool pool;
  const Floor floor;
  uint32_t busy_page;
};

template <typename Read>
Side Latency(const std::shared_ptr<Subjects>& subjects, bool busy, std::chrono::nanoseconds slice,
             Read read) {
  const std::function<void()> beside = [subjects] {
    for (int i = 0; i < 64; ++i) subjects->Disturb();
  };
  return [=, random = RandomKeys(subjects->popular)]() mutable {
    const auto measure = [&] {
      return P999Ns(slice, [&] { benchmark::DoNotOptimize(read(random.Next())); });
    };
    return InThread(measure, busy ? beside : nullptr);
  };
}

InTurn LatencyInTurn(bool busy, const PoolScale& scale) {
  const auto subjects = std::make_shared<Subjects>(scale);
  return InTurn(Latency(subjects, busy, scale.slice,
                        [subjects](uint32_t page) { return ReadPage(*subjects->pool, page); }),
                Latency(subjects, busy, scale.slice,
                        [subjects](uint32_t page) { return subjects->floor.Read(page); }));
}

Figure LatencyFigure(const char* name, const char* title, bool busy, double max,
                     const PoolScale& scale) {
  Figure figure;
  figure.name = absl::StrCat("p999/", name);
  figure.title =
      absl::StrCat("p99.9 of single hits, ", FormatPages(scale.large_pages), ", ", title);
  figure.bounds = {{Bound::Of::kOursToBare, max}};
  figure.locked_pages = scale.large_pages * 2 + scale.large_pages / 16;
  figure.other_pages = scale.large_pages * 2;
  figure.cpus = busy ? 2 : 1;
  figure.prepare = [=] { return LatencyInTurn(busy, scale); };
  return figure;
}

}  // namespace

std::vector<Figure> LatencyFigures(const PoolScale& scale) {
  return {LatencyFigure("quiet", "quiet", false, 1.15, scale),
          LatencyFigure("busy", "beside sync and eviction", true, 2, scale)};
}

}  // namespace benchmarks
