#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "benchmarks/floor.h"
#include "benchmarks/hits.h"
#include "benchmarks/mpool_figures.h"
#include "benchmarks/two_threads.h"

namespace benchmarks {
namespace {

constexpr size_t kThreads = 2;

// Nanoseconds for a hit of any of the threads: what one costs, divided by how many go on at once.
double TogetherNs(const std::vector<Operation>& threads, std::chrono::nanoseconds slice) {
  double hits_per_ns = 0;
  for (const double ns : AtOnceNs(threads, slice)) hits_per_ns += 1 / ns;
  return 1 / hits_per_ns;
}

InTurn TwoAgainstOne(MakeHits* make, uint64_t pages, Keys keys, std::chrono::nanoseconds slice) {
  const auto file = std::make_shared<const PageFile>(pages, PageFile::Place::kMemory);
  const std::vector<Operation> hits = make(*file, keys, kThreads);
  return InTurn([file, hits, slice] { return TogetherNs(hits, slice); },
                [file, hits, slice] { return TogetherNs({hits.front()}, slice); });
}

// `times_min` 0: nothing is promised, as it is the machine's.
Figure ThreadFigure(const char* name, const char* title, MakeHits* make, Keys keys,
                    double times_min, const PoolScale& scale) {
  const uint64_t pages = scale.large_pages;
  Figure figure;
  figure.name = absl::StrCat("threads/", name);
  figure.title = absl::StrCat(title, ", ", FormatPages(pages), ": two threads against one");
  if (times_min > 0) figure.bounds = {{Bound::Of::kBareToOurs, times_min}};
  figure.locked_pages = Floor::LockedBytes(pages) / kPageBytes + pages / 16;
  figure.other_pages = pages;
  figure.cpus = kThreads;
  figure.prepare = [=, slice = scale.slice] { return TwoAgainstOne(make, pages, keys, slice); };
  return figure;
}

}  // namespace

std::vector<Figure> PoolThreadFigures(const PoolScale& scale) {
  return {
      ThreadFigure("random", "hits of random pages", PoolHits, Keys::kIndependent, 1.9, scale),
      ThreadFigure("same", "hits of the same page", PoolHits, Keys::kSame, 1.8, scale),
      ThreadFigure("floor", "bare lookups of random pages", FloorHits, Keys::kIndependent, 0,
                   scale),
  };
}

}  // namespace benchmarks
