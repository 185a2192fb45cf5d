#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "benchmarks/bare.h"
#include "benchmarks/pinlock_figures.h"
#include "benchmarks/pinned_area.h"
#include "benchmarks/pins.h"
#include "benchmarks/system_calls.h"
#include "benchmarks/two_threads.h"

namespace benchmarks {
namespace {

using Of = Bound::Of;
using Leaves = PinnedArea::Leaves;
using SharedArea = std::shared_ptr<PinnedArea>;

// Two leaves, one page of each pinned twice: the larger range that the small ones lie in.
constexpr uint64_t kSurroundingPages = 1024;
// Where they begin: in the second leaf, and at a cache line of its counters.
constexpr uint64_t kFirstPage = 640;

SharedArea SplitArea() { return std::make_shared<PinnedArea>(kSurroundingPages, Leaves::kSplit); }

Operation PinAndUnpin(SharedArea area, uint64_t first, uint64_t pages) {
  return [area, begin = area->page(first), bytes = pages * PageSize()](uint64_t times) {
    for (uint64_t i = 0; i < times; ++i) {
      Pin(begin, bytes);
      Unpin(begin, bytes);
    }
  };
}

Operation Lock(SharedArea area, uint64_t first, uint64_t pages) {
  return [area, begin = area->page(first), bytes = pages * PageSize()](uint64_t times) {
    for (uint64_t i = 0; i < times; ++i) BareLock(begin, bytes);
  };
}

// Of a pair, the mean of both.
Side HalfOf(Side pair) {
  return [pair = std::move(pair)] { return pair() / 2; };
}

InTurn NestedInTurn(const SharedArea& area, uint64_t first, uint64_t pages, const Scale& scale) {
  const Operation ours = PinAndUnpin(area, first, pages);
  ours(1);  // the first pair in a leaf may have to split it
  return InTurn(HalfOf(ForSlice(ours, scale.slice)),
                ForSlice(Lock(area, first, pages), scale.slice));
}

Figure SmallFigure(uint64_t pages, double bound_ns, double times_faster, const Scale& scale) {
  Figure figure;
  figure.name = absl::StrCat("nested/", pages);
  figure.title = "nested pin, " + FormatPages(pages);
  figure.bounds = {{Of::kOurs, bound_ns}, {Of::kBareToOurs, times_faster}};
  figure.locked_pages = kSurroundingPages;
  figure.prepare = [=] { return NestedInTurn(SplitArea(), kFirstPage, pages, scale); };
  return figure;
}

// `offset`: by how many pages the range is away from the beginning of a leaf.
Figure LargeFigure(uint64_t offset, const Scale& scale) {
  Figure figure;
  figure.name = absl::StrCat("nested/", scale.large_pages, offset == 0 ? "/aligned" : "/unaligned");
  figure.title = absl::StrCat("nested pin, ", FormatPages(scale.large_pages),
                              offset == 0 ? ", " : ", not ", "2 MiB aligned");
  figure.bounds = {{Of::kOurs, 3000}, {Of::kBareToOurs, 3000}};
  const uint64_t surrounding = scale.large_pages + (offset == 0 ? 0 : 512);
  figure.locked_pages = surrounding;
  figure.prepare = [=] {
    const auto area = std::make_shared<PinnedArea>(surrounding, Leaves::kUniform);
    return NestedInTurn(area, offset, scale.large_pages, scale);
  };
  return figure;
}

// Counted in a child, which begins without locks: so it makes its own area.
double CallsOfPairs(uint64_t pairs) {
  const auto calls = CountSystemCalls([pairs]() -> std::function<void()> {
    const Operation operation = PinAndUnpin(SplitArea(), kFirstPage, 1);
    operation(1);
    return [operation, pairs] { operation(pairs); };
  });
  return calls ? static_cast<double>(*calls) : std::numeric_limits<double>::quiet_NaN();
}

Figure SystemCallFigure(const Scale& scale) {
  Figure figure;
  figure.name = "nested/system_calls";
  figure.title = absl::StrCat("system calls of ", WithCommas(scale.nested_pairs), " nested pairs");
  figure.unit = Unit::kCalls;
  figure.bounds = {{Of::kOurs, 0}};
  figure.locked_pages = kSurroundingPages;
  figure.once = true;
  figure.prepare = [pairs = scale.nested_pairs] {
    return InTurn([pairs] { return CallsOfPairs(pairs); }, nullptr);
  };
  return figure;
}

// The second thread's page: `distance` pages behind the first one's.
Figure TwoThreadFigure(const char* name, const char* title, int64_t distance, const Scale& scale) {
  Figure figure;
  figure.name = absl::StrCat("two_threads/", name);
  figure.title = absl::StrCat("nested pin, two threads, ", title);
  figure.bounds = {{Of::kOurs, 60}};
  figure.locked_pages = kSurroundingPages;
  figure.cpus = 2;
  figure.prepare = [=] {
    const SharedArea area = SplitArea();
    const uint64_t second = kFirstPage + static_cast<uint64_t>(distance);
    return InTurn(HalfOf([=] {
                    return SlowerOfTwoNs(PinAndUnpin(area, kFirstPage, 1),
                                         PinAndUnpin(area, second, 1), scale.slice);
                  }),
                  [=] {
                    return SlowerOfTwoNs(Lock(area, kFirstPage, 1), Lock(area, second, 1),
                                         scale.slice);
                  });
  };
  return figure;
}

}  // namespace

std::vector<Figure> NestedPinFigures(const Scale& scale) {
  return {SmallFigure(1, 25, 10, scale), SmallFigure(256, 60, 130, scale), LargeFigure(0, scale),
          LargeFigure(1, scale), SystemCallFigure(scale)};
}

std::vector<Figure> TwoThreadFigures(const Scale& scale) {
  return {TwoThreadFigure("same_leaf", "pages 1 MiB apart in one leaf", 256, scale),
          TwoThreadFigure("other_leaf", "pages of two leaves", -512, scale)};
}

}  // namespace benchmarks
