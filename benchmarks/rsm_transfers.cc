// What importers do with a segment of another process, against memcpy(3).

#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "benchmarks/bare.h"
#include "benchmarks/exporter.h"
#include "benchmarks/rsm_figures.h"

namespace benchmarks {
namespace {

constexpr double kReadMin = 0.90;
constexpr double kCopyMax = 1.25;
constexpr double kWordMaxNs = 25;
constexpr size_t kCopyBytes = 4096;

// A segment of another process, and memory of this one of the same length: two areas of it, so that
// copying from one to the other is what a program without segments would do.
struct Both {
  explicit Both(uint64_t bytes)
      : exporter(Sleeper::Kind::kExporter, bytes / PageSize()),
        import(exporter.segment(), bytes),
        from(bytes / PageSize(), Area::Fill::kResident),
        to(bytes / PageSize(), Area::Fill::kResident) {}

  const Sleeper exporter;
  const Import import;
  const Area from, to;
};

// memcpy(3) that the compiler leaves as it is.
Operation Copies(void* to, const void* from, size_t bytes) {
  return [=](uint64_t times) {
    for (uint64_t i = 0; i < times; ++i) {
      std::memcpy(to, from, bytes);
      benchmark::ClobberMemory();
    }
  };
}

// Where in the segment transfers of 4 KiB go: all to the same place, so that it is in the CPU's
// nearest cache, or to one after the other.
enum class Places { kSame, kAll };

// Repeats `transfer`, which takes an offset into the segment and returns an RSMERR_ code.
template <typename Transfer>
Operation Transfers(const Both& both, Places places, Transfer transfer) {
  const uint64_t end = places == Places::kAll ? both.from.bytes() : kCopyBytes;
  return [=, at = uint64_t{0}](uint64_t times) mutable {
    int error = RSM_SUCCESS;
    for (uint64_t i = 0; i < times; ++i) {
      error |= transfer(at);
      benchmark::ClobberMemory();
      at += kCopyBytes;
      if (at == end) at = 0;
    }
    MustRsm(error, "a get or put");
  };
}

template <Places kPlaces>
Operation Gets(const Both& both) {
  return Transfers(both, kPlaces, [segment = both.import.get(), to = both.to.page(0)](uint64_t at) {
    return rsm_memseg_import_get(segment, static_cast<off_t>(at), to, kCopyBytes);
  });
}
template <Places kPlaces>
Operation BareGets(const Both& both) {
  return Transfers(both, kPlaces, [from = both.from.page(0), to = both.to.page(0)](uint64_t at) {
    std::memcpy(to, from + at, kCopyBytes);
    return RSM_SUCCESS;
  });
}
template <Places kPlaces>
Operation Puts(const Both& both) {
  return Transfers(
      both, kPlaces, [segment = both.import.get(), from = both.from.page(0)](uint64_t at) {
        return rsm_memseg_import_put(segment, static_cast<off_t>(at), from, kCopyBytes);
      });
}
template <Places kPlaces>
Operation BarePuts(const Both& both) {
  return Transfers(both, kPlaces, [from = both.from.page(0), to = both.import.map()](uint64_t at) {
    std::memcpy(to + at, from, kCopyBytes);
    return RSM_SUCCESS;
  });
}

Operation WordGets(const Import& import) {
  return [segment = import.get()](uint64_t times) {
    int error = RSM_SUCCESS;
    uint64_t word = 0;
    for (uint64_t i = 0; i < times; ++i) {
      error |= rsm_memseg_import_get64(segment, 0, &word, 1);
      benchmark::DoNotOptimize(word);
    }
    MustRsm(error, "rsm_memseg_import_get64");
  };
}

Operation WordCopies(const Import& import) {
  return [map = import.map()](uint64_t times) {
    uint64_t word = 0;
    for (uint64_t i = 0; i < times; ++i) {
      std::memcpy(&word, map, sizeof(word));
      benchmark::DoNotOptimize(word);
    }
  };
}

Figure TransferFigure(std::string name, std::string title, uint64_t bytes, Bound bound,
                      std::chrono::nanoseconds slice, Operation (*ours)(const Both&),
                      Operation (*bare)(const Both&)) {
  Figure figure;
  figure.name = std::move(name);
  figure.title = std::move(title);
  figure.bounds = {bound};
  figure.overhead = bound.of != Bound::Of::kBareToOurs;
  figure.locked_pages = bytes / PageSize();
  figure.other_pages = 3 * bytes / PageSize();
  figure.prepare = [=] {
    const auto both = std::make_shared<const Both>(bytes);
    // The operations point into it.
    const auto keep = [both](Side side) { return [both, side] { return side(); }; };
    return InTurn(keep(ForSlice(ours(*both), slice)), keep(ForSlice(bare(*both), slice)));
  };
  return figure;
}

std::string MiB(uint64_t bytes) { return absl::StrCat(bytes >> 20, " MiB"); }

Figure ReadFigure(uint64_t bytes, std::chrono::nanoseconds slice) {
  return TransferFigure(
      absl::StrCat("read/", bytes >> 20, "MiB"),
      absl::StrCat("reading ", MiB(bytes), " through a map, against memcpy of own memory"), bytes,
      {Bound::Of::kBareToOurs, kReadMin}, slice,
      [](const Both& both) { return Copies(both.to.page(0), both.import.map(), both.to.bytes()); },
      [](const Both& both) { return Copies(both.to.page(0), both.from.page(0), both.to.bytes()); });
}

}  // namespace

std::vector<Figure> TransferFigures(const SegmentScale& scale) {
  const uint64_t bytes = scale.segment_bytes;
  const Bound copy = {Bound::Of::kOursToBare, kCopyMax};
  const auto copies = [&](const char* name, const char* title, Operation (*ours)(const Both&),
                          Operation (*bare)(const Both&)) {
    return TransferFigure(name, title, bytes, copy, scale.slice, ours, bare);
  };
  return {ReadFigure(bytes, scale.slice),
          ReadFigure(scale.large_bytes, scale.slice),
          copies("get/4KiB/all", "get of 4 KiB after 4 KiB, against memcpy of own memory",
                 Gets<Places::kAll>, BareGets<Places::kAll>),
          copies("get/4KiB/same", "get of the same 4 KiB, against memcpy of own memory",
                 Gets<Places::kSame>, BareGets<Places::kSame>),
          copies("put/4KiB/all", "put of 4 KiB after 4 KiB, against memcpy into the map",
                 Puts<Places::kAll>, BarePuts<Places::kAll>),
          copies("put/4KiB/same", "put of the same 4 KiB, against memcpy into the map",
                 Puts<Places::kSame>, BarePuts<Places::kSame>),
          TransferFigure(
              "get64", "get64 of one value, against memcpy of 8 bytes from the map", bytes,
              {Bound::Of::kOursLessBare, kWordMaxNs}, scale.slice,
              [](const Both& both) { return WordGets(both.import); },
              [](const Both& both) { return WordCopies(both.import); })};
}

}  // namespace benchmarks
