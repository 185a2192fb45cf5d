#include <functional>

#include "absl/strings/str_cat.h"
#include "benchmarks/bare.h"
#include "benchmarks/pinlock_figures.h"
#include "benchmarks/pins.h"
#include "benchmarks/two_threads.h"

namespace benchmarks {
namespace {

// The longest time that mmap(2) or munmap(2) of a page takes beside `work`.
double LongestWaitNs(const std::function<void()>& work) {
  void* page = nullptr;
  return LongestCallNs(work, {[&page] { page = MapPage(); }, [&page] { UnmapPage(page); }});
}

// Locking changes what is resident, so each side of each round has a fresh area.
double WaitWhilePinning(uint64_t pages, Area::Fill fill) {
  const Area area(pages, fill);
  const double ns = LongestWaitNs([&area] { Pin(area.page(0), area.bytes()); });
  Unpin(area.page(0), area.bytes());
  return ns;
}

double WaitWhileLocking(uint64_t pages, Area::Fill fill) {
  const Area area(pages, fill);
  return LongestWaitNs([&area] { BareLock(area.page(0), area.bytes()); });
}

double WaitWhileUnpinning(uint64_t pages) {
  const Area area(pages, Area::Fill::kResident);
  Pin(area.page(0), area.bytes());
  return LongestWaitNs([&area] { Unpin(area.page(0), area.bytes()); });
}

double WaitWhileUnlocking(uint64_t pages) {
  const Area area(pages, Area::Fill::kResident);
  BareLock(area.page(0), area.bytes());
  return LongestWaitNs([&area] { BareUnlock(area.page(0), area.bytes()); });
}

Figure WaitFigure(const char* name, const char* title, const Scale& scale) {
  Figure figure;
  figure.name = absl::StrCat("wait/", name);
  figure.title =
      absl::StrCat("longest mmap or munmap beside ", title, " of ", FormatPages(scale.large_pages));
  figure.locked_pages = scale.large_pages;
  figure.cpus = 2;
  return figure;
}

Figure PinningFigure(const char* name, const char* title, Area::Fill fill, const Scale& scale) {
  Figure figure = WaitFigure(name, title, scale);
  figure.bounds = {{Bound::Of::kOurs, 5e6}};
  figure.prepare = [pages = scale.large_pages, fill] {
    return InTurn([=] { return WaitWhilePinning(pages, fill); },
                  [=] { return WaitWhileLocking(pages, fill); });
  };
  return figure;
}

// Nothing is promised of this one.
Figure UnpinningFigure(const Scale& scale) {
  Figure figure = WaitFigure("unpin", "the unpin", scale);
  figure.prepare = [pages = scale.large_pages] {
    return InTurn([=] { return WaitWhileUnpinning(pages); },
                  [=] { return WaitWhileUnlocking(pages); });
  };
  return figure;
}

}  // namespace

std::vector<Figure> WaitFigures(const Scale& scale) {
  return {PinningFigure("cold", "a cold pin", Area::Fill::kCold, scale),
          PinningFigure("resident", "a resident pin", Area::Fill::kResident, scale),
          UnpinningFigure(scale)};
}

}  // namespace benchmarks
