// PinnedArea: an Area that is pinned as a whole, so that any pin in it is a nested one.

#ifndef BENCHMARKS_PINNED_AREA_H_
#define BENCHMARKS_PINNED_AREA_H_

#include <cstddef>
#include <cstdint>

#include "benchmarks/bare.h"
#include "benchmarks/pins.h"

namespace benchmarks {

class PinnedArea {
 public:
  // Whether the counts of each leaf are all the same, or one page of it is pinned once more.
  enum class Leaves { kUniform, kSplit };

  PinnedArea(uint64_t pages, Leaves leaves) : area_(pages, Area::Fill::kResident), leaves_(leaves) {
    Pin(area_.page(0), area_.bytes());
    ForEachSplit([](std::byte* page) { Pin(page, PageSize()); });
  }
  PinnedArea(const PinnedArea&) = delete;
  PinnedArea& operator=(const PinnedArea&) = delete;
  ~PinnedArea() {
    ForEachSplit([](std::byte* page) { Unpin(page, PageSize()); });
    Unpin(area_.page(0), area_.bytes());
  }

  std::byte* page(uint64_t index) const { return area_.page(index); }

 private:
  // The last page of each leaf.
  template <typename Visit>
  void ForEachSplit(Visit visit) {
    constexpr uint64_t kLeafPages = 512;
    if (leaves_ == Leaves::kUniform) return;
    for (uint64_t i = kLeafPages; i <= area_.pages(); i += kLeafPages) visit(area_.page(i - 1));
  }

  Area area_;
  Leaves leaves_;
};

}  // namespace benchmarks

#endif  // BENCHMARKS_PINNED_AREA_H_
