#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmarks/floor.h"
#include "benchmarks/hits.h"
#include "benchmarks/mpool_figures.h"

namespace benchmarks {
namespace {

struct Subject {
  const char* name;
  const char* title;
  MakeHits* hits;
  // Of the largest pool, against the floor; 0: nothing is promised.
  double independent_max;
  double dependent_max;
};

constexpr Subject kPool = {"pool", "hit, C++", PoolHits, 1.45, 1.08};
constexpr Subject kTries = {"try", "hit, C++, TryGet", PoolTries, 1.45, 1.08};
constexpr Subject kLibrary = {"library", "hit, C, libmpool.so", LibraryHits, 1.75, 1.08};
constexpr Subject kBerkeleyDb = {"berkeley_db", "hit, Berkeley DB 5.3", BerkeleyDbHits, 0, 0};

constexpr double kGrowthMax = 1.10;

const char* NameOf(Keys keys) { return keys == Keys::kIndependent ? "independent" : "dependent"; }

using File = std::shared_ptr<const PageFile>;

File MakeFile(uint64_t pages) {
  return std::make_shared<const PageFile>(pages, PageFile::Place::kMemory);
}

// One kind of hits of a pool, and the file beneath it.
class Hits {
 public:
  Hits(MakeHits* make, File file, Keys keys, std::chrono::nanoseconds slice)
      : file_(std::move(file)), side_(ForSlice(make(*file_, keys, 1).front(), slice)) {}

  double operator()() { return side_(); }

 private:
  File file_;  // outlives the side
  Side side_;
};

// Fills in what a figure of hits needs of the machine: a pool, a floor and their file.
void SetMemory(Figure& figure, uint64_t pages) {
  figure.locked_pages = pages + Floor::LockedBytes(pages) / kPageBytes + pages / 16;
  figure.other_pages = pages;
}

Figure HitFigure(const Subject& subject, uint64_t pages, Keys keys, const PoolScale& scale) {
  Figure figure;
  figure.name = absl::StrCat("hit/", subject.name, "/", NameOf(keys), "/", pages);
  figure.title = absl::StrCat(subject.title, ", ", NameOf(keys), " keys, ", FormatPages(pages));
  figure.overhead = true;
  const double max = keys == Keys::kIndependent ? subject.independent_max : subject.dependent_max;
  if (pages == scale.large_pages && max > 0) figure.bounds = {{Bound::Of::kOursToBare, max}};
  SetMemory(figure, pages);
  figure.prepare = [=, slice = scale.slice, hits = subject.hits] {
    const File file = MakeFile(pages);
    return InTurn(Hits(hits, file, keys, slice), Hits(FloorHits, file, keys, slice));
  };
  return figure;
}

// How many times as much a hit in the large pool costs as one in the small one.
Side Growth(Hits small, Hits large) {
  return [small = std::move(small), large = std::move(large)]() mutable {
    const double small_ns = small();
    return large() / small_ns;
  };
}

Figure GrowthFigure(const Subject& subject, Keys keys, const PoolScale& scale) {
  Figure figure;
  figure.name = absl::StrCat("growth/", subject.name, "/", NameOf(keys));
  figure.title =
      absl::StrCat(subject.title, ", ", NameOf(keys), " keys, growth from ",
                   FormatPages(scale.small_pages), " to ", FormatPages(scale.large_pages));
  figure.unit = Unit::kTimes;
  figure.bounds = {{Bound::Of::kOursToBare, kGrowthMax}};
  SetMemory(figure, scale.small_pages + scale.large_pages);
  figure.prepare = [=, hits = subject.hits] {
    const File small = MakeFile(scale.small_pages);
    const File large = MakeFile(scale.large_pages);
    return InTurn(
        Growth(Hits(hits, small, keys, scale.slice), Hits(hits, large, keys, scale.slice)),
        Growth(Hits(FloorHits, small, keys, scale.slice),
               Hits(FloorHits, large, keys, scale.slice)));
  };
  return figure;
}

}  // namespace

std::vector<Figure> HitFigures(const PoolScale& scale) {
  std::vector<Figure> figures;
  for (const Keys keys : {Keys::kIndependent, Keys::kDependent}) {
    for (const Subject& subject : {kPool, kTries, kLibrary, kBerkeleyDb}) {
      for (const uint64_t pages : {scale.small_pages, scale.middle_pages, scale.large_pages}) {
        figures.push_back(HitFigure(subject, pages, keys, scale));
      }
    }
    for (const Subject& subject : {kPool, kLibrary}) {
      figures.push_back(GrowthFigure(subject, keys, scale));
    }
  }
  return figures;
}

}  // namespace benchmarks
