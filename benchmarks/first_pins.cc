#include <memory>

#include "absl/strings/str_cat.h"
#include "benchmarks/bare.h"
#include "benchmarks/pinlock_figures.h"
#include "benchmarks/pins.h"

namespace benchmarks {
namespace {

// What the range lies in.
enum class Place {
  kInside,   // in the middle of a larger mapping, which has to be split
  kMapping,  // it is a mapping of its own
};

// The larger mapping, and where the range begins in it.
constexpr uint64_t kSurroundingPages = 2048;
constexpr uint64_t kFirstPage = 640;

InTurn FirstAndLast(uint64_t pages, Place place, const Scale& scale) {
  const bool inside = place == Place::kInside;
  const auto area =
      std::make_shared<Area>(inside ? kSurroundingPages : pages, Area::Fill::kResident);
  std::byte* const begin = area->page(inside ? kFirstPage : 0);
  const size_t bytes = pages * PageSize();
  const Operation ours = [area, begin, bytes](uint64_t times) {
    for (uint64_t i = 0; i < times; ++i) {
      Pin(begin, bytes);
      Unpin(begin, bytes);
    }
  };
  const Operation bare = [area, begin, bytes](uint64_t times) {
    for (uint64_t i = 0; i < times; ++i) {
      BareLock(begin, bytes);
      BareUnlock(begin, bytes);
    }
  };
  return InTurn(ForSlice(ours, scale.slice), ForSlice(bare, scale.slice));
}

Figure FirstPinFigure(uint64_t pages, Place place, double bound, const Scale& scale) {
  Figure figure;
  const bool inside = place == Place::kInside;
  figure.name = absl::StrCat("first/", pages, inside ? "/inside" : "/mapping");
  figure.title = absl::StrCat("first and last pin, ", FormatPages(pages),
                              inside ? " in a larger mapping" : ", a mapping of its own");
  figure.bounds = {{Bound::Of::kOursToBare, bound}};
  figure.locked_pages = pages;
  figure.prepare = [=] { return FirstAndLast(pages, place, scale); };
  return figure;
}

}  // namespace

std::vector<Figure> FirstPinFigures(const Scale& scale) {
  return {FirstPinFigure(1, Place::kInside, 1.20, scale),
          FirstPinFigure(1, Place::kMapping, 1.45, scale),
          FirstPinFigure(256, Place::kInside, 1.10, scale),
          FirstPinFigure(scale.large_pages, Place::kMapping, 1.10, scale)};
}

}  // namespace benchmarks
