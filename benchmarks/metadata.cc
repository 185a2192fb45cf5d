#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "benchmarks/bare.h"
#include "benchmarks/pinlock_figures.h"
#include "benchmarks/pins.h"

namespace benchmarks {
namespace {

constexpr uint64_t kLeafPages = 512;

// Bytes of anonymous memory that this process has: of its areas, and of the tables behind them.
double AnonymousBytes() {
  std::FILE* file = std::fopen("/proc/self/smaps_rollup", "r");
  unsigned long long kib = 0;
  bool found = false;
  char line[256];
  while (file != nullptr && !found && std::fgets(line, sizeof(line), file) != nullptr) {
    found = std::sscanf(line, "Anonymous: %llu kB", &kib) == 1;
  }
  if (!found) {
    std::perror("benchmark: /proc/self/smaps_rollup");
    std::exit(1);
  }
  std::fclose(file);
  return static_cast<double>(kib) * 1024;
}

void PinAsOne(const Area& area) { Pin(area.page(0), area.bytes()); }

// The first page of each leaf twice, so that the counts of no leaf are all the same.
void PinEachPage(const Area& area) {
  for (uint64_t i = 0; i < area.pages(); ++i) {
    Pin(area.page(i), PageSize());
    if (i % kLeafPages == 0) Pin(area.page(i), PageSize());
  }
}

// By how much the memory of a process grows that pins for the first time, in per cent of the area.
// In a child, whose table is empty, whatever was pinned in this process before.
double GrowthInPercent(uint64_t pages, void (*pin)(const Area&)) {
  return InChild([=] {
    const Area area(pages, Area::Fill::kResident);
    (void)AnonymousBytes();  // gets its own buffers
    const double before = AnonymousBytes();
    pin(area);
    return 100 * (AnonymousBytes() - before) / static_cast<double>(area.bytes());
  });
}

Figure MetadataFigure(const char* name, const char* title, void (*pin)(const Area&),
                      const Scale& scale) {
  Figure figure;
  figure.name = absl::StrCat("metadata/", name);
  figure.title =
      absl::StrCat("memory of the counters, ", FormatPages(scale.large_pages), " pinned ", title);
  figure.unit = Unit::kPercent;
  figure.bounds = {{Bound::Of::kOurs, 0.06}};
  figure.locked_pages = scale.large_pages;
  figure.once = true;
  figure.prepare = [pages = scale.large_pages, pin] {
    return InTurn([=] { return GrowthInPercent(pages, pin); }, nullptr);
  };
  return figure;
}

}  // namespace

std::vector<Figure> MetadataFigures(const Scale& scale) {
  return {MetadataFigure("each_page", "one by one", PinEachPage, scale),
          MetadataFigure("one_range", "as one range", PinAsOne, scale)};
}

}  // namespace benchmarks
